//! Texts of one batch by length: where trailing padding changes nothing, short texts are encoded without the padding that the longest brings.
//!
//! The batch and its loss stay the same, so unlike batches of one length this does not make negatives alike.

use tch::{Device, Kind, Tensor};
use vlhub_core::{Encoded, Result};

/// Rows that are encoded together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LengthGroup {
    /// Their places in the batch.
    pub rows: Vec<i64>,
    /// Tokens of the longest.
    pub length: i64,
}

/// The tokens that take as long as encoding one group more: on a CPU products of few rows are slower, on a GPU each kernel waits for its launch.
fn tokens_of_a_group(device: Device) -> i64 {
    if device == Device::Cpu { 48 } else { 16_384 }
}

/// Groups of the rows of `ids` `[B, L]`, filled up with `pad`; one group where cutting does not pay.
pub(super) fn groups(ids: &Tensor, pad: i64) -> Result<Vec<LengthGroup>> {
    // The last place that is not padding; counting it would miss padding ids within a text.
    let places = Tensor::arange_start(1, ids.size()[1] + 1, (Kind::Int64, ids.device()));
    let last = (ids.not_equal(pad).to_kind(Kind::Int64) * places).f_amax([-1], false)?;
    let lengths = Vec::<i64>::try_from(&last.f_to_device(Device::Cpu)?)?;
    Ok(cut(&lengths, tokens_of_a_group(ids.device())))
}

/// Cuts rows, sorted by length, so that tokens and `overhead` of each group together are the fewest.
fn cut(lengths: &[i64], overhead: i64) -> Vec<LengthGroup> {
    let mut sorted: Vec<(i64, i64)> = lengths.iter().map(|length| (*length).max(1)).zip(0..).collect();
    sorted.sort_unstable();
    // The places in `sorted` behind the last row of each length: only there may a group end.
    let ends: Vec<usize> = (1..=sorted.len()).filter(|end| *end == sorted.len() || sorted[*end].0 != sorted[end - 1].0).collect();
    // For each end, the least cost of all rows before it and the end at which its last group begins.
    let mut best: Vec<(i64, usize)> = vec![(0, 0)];
    for end in &ends {
        let begins = std::iter::once(0).chain(ends.iter().copied()).zip(0..).take_while(|(begin, _)| begin < end);
        let cost = |(begin, place): (usize, usize)| (best[place].0 + (end - begin) as i64 * sorted[end - 1].0 + overhead, place);
        best.extend(begins.map(cost).min());
    }
    let (mut groups, mut place) = (Vec::new(), ends.len());
    while place > 0 {
        let (end, before) = (ends[place - 1], best[place].1);
        let begin = if before == 0 { 0 } else { ends[before - 1] };
        groups.push(LengthGroup { rows: sorted[begin..end].iter().map(|(_, row)| *row).collect(), length: sorted[end - 1].0 });
        place = before;
    }
    groups.reverse();
    groups
}

/// Encodes each group by itself, and puts the rows back in their order.
pub(super) fn encode(ids: &Tensor, groups: &[LengthGroup], mut run: impl FnMut(&Tensor, &[i64]) -> Result<Encoded>) -> Result<Encoded> {
    let (mut embed, mut pooled) = (Vec::new(), Vec::new());
    for LengthGroup { rows, length } in groups {
        let index = Tensor::f_from_slice(rows)?.f_to_device(ids.device())?;
        let encoded = run(&ids.f_index_select(0, &index)?.f_narrow(1, 0, *length)?, rows)?;
        embed.push(encoded.embed);
        pooled.push(encoded.pooled);
    }
    let order: Vec<i64> = groups.iter().flat_map(|group| group.rows.iter().copied()).collect();
    let back = Tensor::f_from_slice(&order)?.f_argsort(-1, false)?.f_to_device(ids.device())?;
    let in_order = |parts: &[Tensor]| -> Result<Tensor> { Ok(Tensor::f_cat(parts, 0)?.f_index_select(0, &back)?) };
    Ok(Encoded { embed: in_order(&embed)?, pooled: in_order(&pooled)?, tokens: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lengths: &[i64], overhead: i64) -> Vec<(Vec<i64>, i64)> {
        cut(lengths, overhead).into_iter().map(|group| (group.rows, group.length)).collect()
    }

    #[test]
    fn one_long_text_does_not_make_the_others_long() {
        assert_eq!(shown(&[10, 77, 9, 10], 48), [(vec![2, 0, 3], 10), (vec![1], 77)]);
        assert_eq!(shown(&[10, 12, 9, 10], 48), [(vec![2, 0, 3, 1], 12)], "what is saved is less than a group costs");
        assert_eq!(shown(&[5, 5, 5], 0), [(vec![0, 1, 2], 5)]);
        assert_eq!(shown(&[0, 3], 0), [(vec![0], 1), (vec![1], 3)], "a text of padding alone keeps a token");
        assert_eq!(shown(&[], 48), []);
    }

    #[test]
    fn the_cut_is_the_cheapest_of_all() {
        let overhead = 7;
        let lengths = [3i64, 9, 4, 4, 30, 12, 11, 29, 3];
        let cost = |groups: &[(usize, i64)]| groups.iter().map(|(rows, length)| *rows as i64 * length + overhead).sum::<i64>();
        let mut sorted = lengths;
        sorted.sort_unstable();
        // Every way to cut nine rows: a bit for each gap.
        let every = (0..1 << 8).map(|gaps: u32| {
            let mut groups = vec![(0, 0)];
            for (at, length) in sorted.iter().enumerate() {
                if at > 0 && gaps & (1 << (at - 1)) != 0 {
                    groups.push((0, 0));
                }
                let last = groups.len() - 1;
                groups[last] = (groups[last].0 + 1, *length);
            }
            cost(&groups)
        });
        let ours: Vec<_> = cut(&lengths, overhead).iter().map(|group| (group.rows.len(), group.length)).collect();
        assert_eq!(Some(cost(&ours)), every.min());
    }

    #[test]
    fn padding_within_a_text_is_part_of_it() {
        let ids = Tensor::from_slice2(&[[5i64, 0, 7, 0, 0, 0], [5, 7, 0, 0, 0, 0]]);
        let lengths: Vec<_> = groups(&ids.repeat([40, 1]), 0).expect("it cuts").iter().map(|group| group.length).collect();
        assert_eq!(lengths, [3], "two tokens apart: not worth a group");
    }
}
