//! Many texts through the text tower: equal ones once, those of one length together, and what they begin with once.
//!
//! Prompts of a classifier are the same sentences around other names. A causal tower's output for the beginning of a text does not depend on
//! what follows, so "a photo of a" is computed once for all classes.

use std::collections::BTreeMap;

use tch::{Device, Tensor};
use vlhub_core::{Encoded, Error, InputSpec, Modality, Result};
use vlhub_torch_ext::span;

use crate::data::batch::TokenRows;
use crate::engine::towers::Towers;

/// Texts that must begin alike before their beginning is computed by itself: below it, small products cost more than they save.
const FEWEST: usize = 64;

/// Ids of a beginning that is worth it. The start token alone saves less than laying keys and values together costs.
const SHORTEST: usize = 2;

/// Token ids of one pass through the tower.
const TOKENS: usize = 8192;

/// Texts that are encoded together.
#[derive(Debug, PartialEq, Eq)]
struct PrefixGroup {
    /// Ids that they have in common; 0 where nothing is shared.
    shared: usize,
    /// Their places among the rows, the shortest first.
    rows: Vec<usize>,
}

/// Cuts rows of ids into groups with common beginnings. Every row is in one of them, and keeps at least one id of its own.
fn group(rows: &[&[i64]]) -> Vec<PrefixGroup> {
    let mut sorted: Vec<usize> = (0..rows.len()).collect();
    sorted.sort_by_key(|row| rows[*row]);
    let mut groups = Vec::new();
    let rest = split(rows, &sorted, 0, &mut groups);
    if !rest.is_empty() {
        groups.push(PrefixGroup { shared: 0, rows: rest });
    }
    for group in &mut groups {
        group.rows.sort_by_key(|row| rows[*row].len());
    }
    groups
}

/// Groups of `sorted`, rows that have their first `depth` ids in common; returns those that are left for a shorter beginning.
fn split(rows: &[&[i64]], sorted: &[usize], depth: usize, groups: &mut Vec<PrefixGroup>) -> Vec<usize> {
    let mut left = Vec::new();
    for same in sorted.chunk_by(|a, b| rows[*a].get(depth) == rows[*b].get(depth)) {
        // A row must keep an id for itself; the first of sorted rows with one beginning is the shortest.
        let deeper = same.len() >= FEWEST && same.iter().all(|row| rows[*row].len() > depth + 1);
        if deeper { left.extend(split(rows, same, depth + 1, groups)) } else { left.extend(same) }
    }
    if depth >= SHORTEST && left.len() >= FEWEST {
        groups.push(PrefixGroup { shared: depth, rows: std::mem::take(&mut left) });
    }
    left
}

/// Embeddings of rows of token ids, `[N, D]` in the order of the rows, without token outputs: equal to encoding them one by one. And how many
/// tokens went through the tower for them.
///
/// # Errors
/// No text tower, ids that it does not take, or a row that is longer than its context.
pub(super) fn encode(towers: &Towers, rows: &[Vec<i64>]) -> Result<(Encoded, u64)> {
    let InputSpec::Text { context, pad, truncates, .. } = towers.net(Modality::Text)?.input else {
        return Err(Error::invalid("the text tower reads no texts"));
    };
    let _no_grad = tch::no_grad_guard();
    let device = towers.vars.device();
    let fill = |truncate, context| TokenRows { context, pad, truncate };
    let mut places: BTreeMap<&[i64], usize> = BTreeMap::new();
    let mut unique: Vec<&[i64]> = Vec::new();
    let place: Vec<usize> = rows
        .iter()
        .map(|row| {
            *places.entry(row).or_insert_with(|| {
                unique.push(row);
                unique.len() - 1
            })
        })
        .collect();
    let groups = if truncates { group(&unique) } else { vec![PrefixGroup { shared: 0, rows: (0..unique.len()).collect() }] };
    let (mut embed, mut pooled, mut order): (_, _, Vec<usize>) = (Vec::new(), Vec::new(), Vec::new());
    let mut computed = 0;
    for PrefixGroup { shared, rows } in &groups {
        for chunk in chunks(rows, |row| if truncates { unique[row].len() - shared } else { context as usize }) {
            let whole: Vec<&[i64]> = chunk.iter().map(|row| unique[*row]).collect();
            let mut encoded = None;
            if *shared > 0 {
                let (prefix, own): (&[i64], Vec<&[i64]>) = (&whole[0][..*shared], whole.iter().map(|row| &row[*shared..]).collect());
                let rest = fill(true, context as usize - shared).tensor(&own)?.f_to_device(device)?;
                let prefix = Tensor::f_from_slice(prefix)?.f_to_device(device)?;
                encoded = span(c"eval/forward text", || towers.encode_after(&prefix, &rest))?;
                if encoded.is_some() {
                    computed += shared + rest.numel();
                }
            }
            let encoded = match encoded {
                Some(encoded) => encoded,
                None => {
                    let input = fill(truncates, context as usize).tensor(&whole)?.f_to_device(device)?;
                    computed += input.numel();
                    span(c"eval/forward text", || towers.encode(Modality::Text, &input, false, None))?
                }
            };
            embed.push(encoded.embed);
            pooled.push(encoded.pooled);
            order.extend(chunk);
        }
    }
    // Where each of the unique texts came out.
    let mut came = vec![0i64; unique.len()];
    for (at, row) in order.iter().zip(0..) {
        came[*at] = row;
    }
    let index = Tensor::f_from_slice(&place.iter().map(|row| came[*row]).collect::<Vec<_>>())?.f_to_device(device)?;
    let in_order = |parts: &[Tensor]| -> Result<Tensor> { Ok(Tensor::f_cat(parts, 0)?.f_index_select(0, &index)?) };
    Ok((Encoded { embed: in_order(&embed)?, pooled: in_order(&pooled)?, tokens: None }, computed as u64))
}

/// Cuts rows, the shortest first, so that a chunk filled up to its longest has at most [`TOKENS`] ids.
fn chunks(rows: &[usize], length: impl Fn(usize) -> usize) -> Vec<&[usize]> {
    let (mut cut, mut start) = (Vec::new(), 0);
    for at in 0..rows.len() {
        if at > start && (at + 1 - start) * length(rows[at]) > TOKENS {
            cut.push(&rows[start..at]);
            start = at;
        }
    }
    if start < rows.len() {
        cut.push(&rows[start..]);
    }
    cut
}

/// The name of a device in a key: numbers of one device are not those of another to the last bit.
pub(super) fn device_name(device: Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        _ => "gpu",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_a_common_beginning_are_grouped_by_the_longest_that_enough_of_them_have() {
        // 100 prompts of one sentence, 70 of another with the same first word, and a few that share nothing.
        let sentence = |first: &[i64], count: i64| (0..count).map(|class| [first, &[100 + class, 7, 9]].concat()).collect::<Vec<_>>();
        let mut rows = sentence(&[1, 2, 3], 100);
        rows.extend(sentence(&[1, 2, 4, 5], 70));
        rows.extend(sentence(&[1, 6], 5));
        rows.push(vec![1, 9]);
        let views: Vec<&[i64]> = rows.iter().map(Vec::as_slice).collect();
        let groups = group(&views);
        let mut shown: Vec<(usize, usize)> = groups.iter().map(|group| (group.shared, group.rows.len())).collect();
        shown.sort_unstable();
        assert_eq!(shown, [(0, 6), (3, 100), (4, 70)]);
        let mut all: Vec<usize> = groups.iter().flat_map(|group| group.rows.clone()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..rows.len()).collect::<Vec<_>>(), "every row is in one group");
        for group in &groups {
            assert!(group.rows.iter().all(|row| views[*row][..group.shared] == views[group.rows[0]][..group.shared]));
        }
    }

    #[test]
    fn a_text_that_is_the_beginning_of_others_keeps_an_id_of_its_own() {
        let mut rows: Vec<Vec<i64>> = (0..80).map(|at| vec![1, 2, 3, at]).collect();
        rows.push(vec![1, 2]);
        let views: Vec<&[i64]> = rows.iter().map(Vec::as_slice).collect();
        assert!(group(&views).iter().all(|group| group.rows.iter().all(|row| views[*row].len() > group.shared)));
    }

    #[test]
    fn texts_come_out_as_they_do_one_by_one() {
        use vlhub_core::Registry;

        use crate::config::RunConfig;
        use crate::config::document::Document;

        // The end token is the largest id. Causal, and with what makes a tower look at padding or at everything.
        for extra in [
            "",
            "no_causal_mask = true\n",
            "no_causal_mask = true\nuse_pad_mask = true\n",
            "embed_cls = true\n",
            "pool = \"eos\"\neos_id = 31\n",
        ] {
            let text = format!(
                "embed = 8\n[backbone.text]\nuse = \"text_transformer\"\ncontext = 9\nvocab = 32\nwidth = 16\nlayers = 2\nheads = 2\n{extra}"
            );
            let document = Document::parse(&text, "test", ".".into()).expect("it is TOML");
            let config = RunConfig::of(&document, &Registry::linked().expect("no duplicates")).expect("it is right");
            let towers = crate::session::build_trained(&config, Device::Cpu, None).expect("it builds").towers;
            // 150 prompts of two sentences, some twice, and some short ones.
            let mut rows: Vec<Vec<i64>> =
                (0..150).map(|at| vec![30, 1 + at % 2, 3, 4 + at % 13, 5 + at % 17, 6, 31][..].to_vec()).collect();
            rows.extend([vec![30, 31], vec![30, 2, 31], vec![30, 1, 3, 31], vec![30, 1, 2, 3, 4, 5, 6, 7, 31]]);
            let (got, computed) = encode(&towers, &rows).map(|(encoded, computed)| (encoded.embed, computed)).expect("it encodes");
            let given = rows.iter().map(|row| row.len() as u64).sum::<u64>();
            // Equal rows are computed once, and a causal tower computes what they have in common once; another one may compute padding.
            assert!(computed > 0 && (computed < given || !extra.is_empty()), "{extra}{computed} of {given}");
            let InputSpec::Text { pad, truncates, .. } = towers.net(Modality::Text).expect("a text tower").input else { panic!("texts") };
            for (row, ids) in rows.iter().enumerate() {
                let input = TokenRows { context: 9, pad, truncate: truncates }.tensor(&[ids]).expect("it fits");
                let alone = tch::no_grad(|| towers.encode(Modality::Text, &input, false, None)).expect("it encodes").embed;
                let apart = (got.get(row as i64) - alone.get(0)).abs().max().double_value(&[]);
                assert!(apart < 1e-5, "{extra}row {row}: {apart}");
            }
        }
    }

    #[test]
    fn chunks_hold_at_most_so_many_ids() {
        let rows: Vec<usize> = (0..5000).collect();
        let length = |row: usize| 2 + row / 1000;
        let cut = chunks(&rows, length);
        assert_eq!(cut.concat(), rows);
        assert!(cut.iter().all(|chunk| chunk.len() * length(chunk[chunk.len() - 1]) <= TOKENS));
        assert_eq!(chunks(&[3], |_| 2 * TOKENS), [&[3][..]], "one text is always a chunk");
    }
}
