//! Ranks of right answers, in tiles of the score matrix.
//!
//! The rank of an answer is the number of others with a strictly greater score, plus the number with an equal score and a lower index. So
//! duplicates and models that find everything alike gain nothing, and the order does not depend on a sort. Each tile is computed once, so a score
//! is compared with the very bits that it has.

use vlhub_sdk::prelude::*;

use crate::pool::{Chunk, Measure, Pool};

/// Ranks from 0.
#[derive(Debug)]
pub(crate) struct Ranks {
    /// For each picture, of the best of its texts among all texts.
    pub images: Vec<i64>,
    /// For each text, of its picture among all pictures.
    pub texts: Vec<i64>,
    /// For each picture, which of all texts is the best of its own.
    pub best: Vec<i64>,
}

/// What is compared with: right answers and their scores.
struct Right {
    /// For each picture, the score and the place of the best of its texts.
    best: Vec<(f32, i64)>,
    /// For each text, its score with its picture.
    own: Vec<f32>,
    /// The first text of each picture, and how many there are.
    first: Vec<i64>,
}

/// Ranks both ways. `counts` says how many texts each picture has: at least one, in the order of the pictures.
pub(crate) fn ranks(measure: &Measure<'_>, pool: &Pool, counts: &[i64]) -> Result<Ranks> {
    let mut first = vec![0];
    counts.iter().for_each(|count| first.push(first[first.len() - 1] + count));
    let (images, texts) = (pool.images as usize, pool.texts as usize);
    let mut right = Right { best: vec![(f32::NEG_INFINITY, -1); images], own: vec![0.0; texts], first };
    let mut found = Counts { images: vec![0; images], texts: vec![0; texts] };
    // A picture and its texts are in one block: these tiles tell what is right, and all others are compared with that.
    for block in &pool.blocks {
        let tiles: Vec<_> = block.texts.iter().map(|texts| measure.scores(&block.images, texts)).collect::<Result<_>>()?;
        for (texts, tile) in block.texts.iter().zip(&tiles) {
            right.take(tile, &block.images, texts);
        }
        for (texts, tile) in block.texts.iter().zip(&tiles) {
            found.count(&right, tile, &block.images, texts);
        }
    }
    for (at, block) in pool.blocks.iter().enumerate() {
        let others = pool.blocks.iter().enumerate().filter(|(other, _)| *other != at);
        for texts in others.flat_map(|(_, other)| &other.texts) {
            let tile = measure.scores(&block.images, texts)?;
            found.count(&right, &tile, &block.images, texts);
        }
    }
    let wide = |counts: Vec<u32>| counts.into_iter().map(i64::from).collect();
    let best = right.best.into_iter().map(|(_, text)| text).collect();
    Ok(Ranks { images: wide(found.images), texts: wide(found.texts), best })
}

/// Scores that come before each right answer, as far as they were counted. As narrow as the scores, so that both fill a vector alike.
struct Counts {
    images: Vec<u32>,
    texts: Vec<u32>,
}

impl Right {
    /// Takes what a tile has of right answers.
    fn take(&mut self, tile: &[f32], images: &Chunk, texts: &Chunk) {
        for (row, image) in tile.chunks(texts.rows as usize).zip(images.start as usize..) {
            let own = self.first[image].max(texts.start)..self.first[image + 1].min(texts.start + texts.rows);
            for text in own {
                let score = row[(text - texts.start) as usize];
                self.own[text as usize] = score;
                let best = &mut self.best[image];
                // Texts come in order, so of equal ones the first stays.
                if score > best.0 || best.1 < 0 {
                    *best = (score, text);
                }
            }
        }
    }
}

impl Counts {
    /// Counts what comes before the right answers in a tile.
    fn count(&mut self, right: &Right, tile: &[f32], images: &Chunk, texts: &Chunk) {
        let columns = texts.start as usize..(texts.start + texts.rows) as usize;
        let own = &right.own[columns.clone()];
        let ranks = &mut self.texts[columns];
        let place = |text: i64| (text - texts.start).clamp(0, texts.rows) as usize;
        for (row, image) in tile.chunks(texts.rows as usize).zip(images.start as usize..) {
            // An equal score counts only before the right answer's own place.
            let (best, at) = right.best[image];
            let (before, after) = row.split_at(place(at));
            self.images[image] += many(before, |score| score >= best) + many(after, |score| score > best);

            // For texts of the pictures before this one it comes after the right answer, for those of the pictures behind it before.
            let (from, to) = (place(right.first[image]), place(right.first[image + 1]));
            add(&mut ranks[..from], &row[..from], &own[..from], |score, own| score > own);
            add(&mut ranks[to..], &row[to..], &own[to..], |score, own| score >= own);
        }
    }
}

/// How many scores are as `is` says.
fn many(scores: &[f32], is: impl Fn(f32) -> bool) -> u32 {
    scores.iter().map(|score| u32::from(is(*score))).sum()
}

/// Adds 1 to each rank whose score comes before its own.
fn add(ranks: &mut [u32], scores: &[f32], own: &[f32], before: impl Fn(f32, f32) -> bool) {
    for ((rank, score), own) in ranks.iter_mut().zip(scores).zip(own) {
        *rank += u32::from(before(*score, *own));
    }
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
