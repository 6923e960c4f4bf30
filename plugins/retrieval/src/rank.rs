//! Ranks of right answers, in tiles of the score matrix.
//!
//! The rank of an answer is the number of others with a strictly greater score, plus the number with an equal score and a lower index. So
//! duplicates and models that find everything alike gain nothing, and the order does not depend on a sort.

use vlhub_sdk::prelude::*;

use crate::pool::{Chunk, Measure, Pool};

/// Ranks from 0.
#[derive(Debug)]
pub(crate) struct Ranks {
    /// For each picture, of the best of its texts among all texts.
    pub images: Vec<i64>,
    /// For each text, of its picture among all pictures.
    pub texts: Vec<i64>,
}

/// Ranks both ways. `owner[t]` is the picture of text `t`, and does not decrease.
pub(crate) fn ranks(measure: &Measure<'_>, images: &Pool, texts: &Pool, owner: &[i64]) -> Result<Ranks> {
    // The best text of each picture (score and index), and the score of each text with its picture.
    let mut best = vec![(f32::NEG_INFINITY, -1i64); images.rows as usize];
    let mut own = vec![0f32; texts.rows as usize];
    for_tiles(images, texts, |rows, columns| {
        let pairs: Vec<_> = (columns.start..columns.start + columns.rows)
            .filter(|text| (rows.start..rows.start + rows.rows).contains(&owner[*text as usize]))
            .collect();
        if pairs.is_empty() {
            return Ok(());
        }
        let at: Vec<_> = pairs.iter().map(|text| (owner[*text as usize] - rows.start) * columns.rows + text - columns.start).collect();
        let scores = measure.scores(rows, columns)?;
        let right = scores.reshape([-1]).index_select(0, &Tensor::from_slice(&at).to_device(scores.device()));
        for (text, score) in pairs.iter().zip(Vec::<f32>::try_from(right.to_kind(Kind::Float).to_device(Device::Cpu))?) {
            own[*text as usize] = score;
            let best = &mut best[owner[*text as usize] as usize];
            // Texts come in order, so of equal ones the first stays.
            if score > best.0 || best.1 < 0 {
                *best = (score, *text);
            }
        }
        Ok(())
    })?;

    let mut found = Ranks { images: vec![0; images.rows as usize], texts: vec![0; texts.rows as usize] };
    for_tiles(images, texts, |rows, columns| {
        let scores = measure.scores(rows, columns)?.to_kind(Kind::Float);
        let device = scores.device();
        let index = |chunk: &Chunk| Tensor::arange_start(chunk.start, chunk.start + chunk.rows, (Kind::Int64, device));
        let (picture, text) = (index(rows).unsqueeze(1), index(columns).unsqueeze(0));

        let mine = &best[span(rows)];
        let score = Tensor::from_slice(&mine.iter().map(|(score, _)| *score).collect::<Vec<_>>()).to_device(device).unsqueeze(1);
        let place = Tensor::from_slice(&mine.iter().map(|(_, text)| *text).collect::<Vec<_>>()).to_device(device).unsqueeze(1);
        add(&mut found.images[span(rows)], &ahead(&scores, &score, &text, &place), 1)?;

        let score = Tensor::from_slice(&own[span(columns)]).to_device(device).unsqueeze(0);
        let place = Tensor::from_slice(&owner[span(columns)]).to_device(device).unsqueeze(0);
        add(&mut found.texts[span(columns)], &ahead(&scores, &score, &picture, &place), 0)
    })?;
    Ok(found)
}

/// Where a candidate comes before the right answer.
fn ahead(scores: &Tensor, right: &Tensor, index: &Tensor, place: &Tensor) -> Tensor {
    scores.gt_tensor(right).logical_or(&scores.eq_tensor(right).logical_and(&index.lt_tensor(place)))
}

fn add(ranks: &mut [i64], ahead: &Tensor, dim: i64) -> Result<()> {
    let counts = ahead.sum_dim_intlist([dim].as_slice(), false, Kind::Int64).to_device(Device::Cpu);
    for (rank, count) in ranks.iter_mut().zip(Vec::<i64>::try_from(counts)?) {
        *rank += count;
    }
    Ok(())
}

fn span(chunk: &Chunk) -> std::ops::Range<usize> {
    chunk.start as usize..(chunk.start + chunk.rows) as usize
}

fn for_tiles(images: &Pool, texts: &Pool, mut each: impl FnMut(&Chunk, &Chunk) -> Result<()>) -> Result<()> {
    for rows in &images.chunks {
        for columns in &texts.chunks {
            each(rows, columns)?;
        }
    }
    Ok(())
}

/// Mean of the ranks, from 1.
pub(crate) fn mean(ranks: &[i64]) -> f64 {
    ranks.iter().sum::<i64>() as f64 / ranks.len() as f64 + 1.0
}

/// Median of the ranks as open_clip has it: rounded down, then from 1.
pub(crate) fn median(ranks: &[i64]) -> f64 {
    let mut sorted = ranks.to_vec();
    sorted.sort_unstable();
    let half = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]).div_euclid(2) };
    median as f64 + 1.0
}

/// Share of ranks below `k`.
pub(crate) fn recall(ranks: &[i64], k: i64) -> f64 {
    ranks.iter().filter(|rank| **rank < k).count() as f64 / ranks.len() as f64
}

/// How probable it is that a random order of `all` has one of `right` among its first `k`.
pub(crate) fn chance(all: i64, right: i64, k: i64) -> f64 {
    let miss: f64 = (0..k.min(all)).map(|at| ((all - right - at).max(0)) as f64 / (all - at) as f64).product();
    1.0 - miss
}
