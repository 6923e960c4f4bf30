//! Greedy decoding and sampling of captions.

use vlhub_sdk::prelude::*;
use vlhub_sdk::random::{SplitMix64, uniform};
use vlhub_sdk::{Captioning, Decoding};

use crate::writer::Writer;

/// A caption for each image. As in open_clip, a caption also ends with padding, and the last of `longest` tokens is the end token.
///
/// # Errors
/// What the text tower refuses.
pub(crate) fn captions(writer: &Writer<'_>, seeds: &[u64], how: &Captioning) -> Result<Vec<Vec<i64>>> {
    let end = writer.text.end;
    let mut captions = vec![vec![writer.text.start]; seeds.len()];
    let mut draws: Vec<SplitMix64> = seeds.iter().map(|seed| SplitMix64(*seed)).collect();
    let mut open: Vec<usize> = (0..captions.len()).collect();
    for length in 1..how.longest {
        if length + 1 == how.longest {
            open.iter().for_each(|row| captions[*row].push(end));
            break;
        }
        let rows: Vec<(usize, &[i64])> = open.iter().map(|row| (*row, captions[*row].as_slice())).collect();
        if rows.is_empty() {
            break;
        }
        let logits = writer.next(&rows, how)?;
        for (row, logits) in open.iter().zip(&logits) {
            let next = match how.method {
                Decoding::Sample { temperature, top_k, top_p } => draw(logits, temperature, top_k as usize, top_p, &mut draws[*row]),
                Decoding::Greedy | Decoding::Beam { .. } => ranked(logits, 1)[0],
            };
            captions[*row].push(next as i64);
        }
        open.retain(|row| captions[*row].last().is_some_and(|last| *last != end && *last != writer.pad));
    }
    Ok(captions)
}

/// The `count` largest logits from the largest on, of equal ones that of the lowest id first.
pub(crate) fn ranked(logits: &[f32], count: usize) -> Vec<usize> {
    let order = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    if count < ids.len() {
        ids.select_nth_unstable_by(count, order);
        ids.truncate(count);
    }
    ids.sort_unstable_by(order);
    ids
}

/// Draws an id. As in open_clip, what is left out is decided before the temperature is applied.
fn draw(logits: &[f32], temperature: f64, top_k: usize, top_p: f64, rng: &mut dyn RngCore) -> usize {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |id: &usize, temperature: f64| (f64::from(logits[*id] - largest) / temperature).exp();
    let mut ids = if top_k == 0 { (0..logits.len()).collect() } else { ranked(logits, top_k) };
    if top_p < 1.0 {
        let total: f64 = ids.iter().map(|id| weight(id, 1.0)).sum();
        // What is less likely than this is left out even if all of it is taken together, and need not be sorted.
        let least = (1.0 - top_p) * total / ids.len() as f64;
        ids.retain(|id| weight(id, 1.0) > least);
        ids.sort_unstable_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
        let mut sum = 0.0;
        // The one that reaches the share is the last that stays.
        let kept = ids.iter().take_while(|id| {
            let open = sum < top_p * total;
            sum += weight(id, 1.0);
            open
        });
        let kept = kept.count();
        ids.truncate(kept);
    }
    let weights: Vec<f64> = ids.iter().map(|id| weight(id, temperature)).collect();
    let mut rest = uniform(rng) * weights.iter().sum::<f64>();
    for (id, weight) in ids.iter().zip(&weights) {
        rest -= weight;
        if rest < 0.0 {
            return *id;
        }
    }
    // Rounding may leave a little of the last one's share.
    ids.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_of_equal_ones_the_first() {
        let logits = [0.5, 2.0, -1.0, 2.0, f32::NEG_INFINITY];
        assert_eq!(ranked(&logits, 3), [1, 3, 0]);
        assert_eq!(ranked(&logits, 9), [1, 3, 0, 2, 4]);
    }

    /// How often each of four ids is drawn.
    fn shares(temperature: f64, top_k: usize, top_p: f64) -> [f64; 4] {
        let logits = [0.1f32.ln(), 0.4f32.ln(), 0.2f32.ln(), 0.3f32.ln()];
        let mut rng = SplitMix64(7);
        let mut counts = [0.0; 4];
        for _ in 0..20_000 {
            counts[draw(&logits, temperature, top_k, top_p, &mut rng)] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn ids_are_drawn_as_often_as_their_probability_says() {
        for (temperature, top_k, top_p, expected, why) in [
            (1.0, 0, 1.0, [0.1, 0.4, 0.2, 0.3], "all of them"),
            (1.0, 2, 1.0, [0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0], "the two likeliest"),
            (1.0, 0, 0.75, [0.0, 4.0 / 9.0, 2.0 / 9.0, 3.0 / 9.0], "the likeliest that together have three quarters"),
            (1.0, 0, 0.01, [0.0, 1.0, 0.0, 0.0], "one stays"),
            (0.5, 0, 1.0, [1.0 / 30.0, 16.0 / 30.0, 4.0 / 30.0, 9.0 / 30.0], "squared"),
            (0.5, 0, 0.75, [0.0, 16.0 / 29.0, 4.0 / 29.0, 9.0 / 29.0], "the share is taken before the temperature"),
        ] {
            let found = shares(temperature, top_k, top_p);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 0.015, "{why}: {found} for {expected}");
            }
        }
    }
}
