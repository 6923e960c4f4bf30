//! Captions by beam search, with the results of open_clip's, which is that of transformers 4.
//!
//! Two things are peculiar to open_clip. Scores are sums of logits, not of log-probabilities. And its groups of beams know nothing of each
//! other, so that they all find the same captions: one of them is searched here.

use vlhub_sdk::Captioning;
use vlhub_sdk::prelude::*;

use crate::sample::ranked;
use crate::writer::Writer;

/// The search for one image's caption.
struct Search {
    /// Texts that are carried on, with the sums of their logits.
    open: Vec<(Vec<i64>, f32)>,
    /// Texts that are complete (their end token is left out), with their scores; at most as many as beams.
    complete: Vec<(Vec<i64>, f64)>,
    /// No text that is still open can beat the complete ones.
    done: bool,
}

impl Search {
    fn new(start: i64, beams: usize) -> Self {
        // All beams begin alike; but for the first they are held back, lest they stay alike.
        let open = (0..beams).map(|beam| (vec![start], if beam == 0 { 0.0 } else { -1e9 })).collect();
        Self { open, complete: Vec::new(), done: false }
    }

    /// Adds a text of which `length` tokens were written, and drops the worst when there are more than beams.
    fn add(&mut self, ids: Vec<i64>, sum: f32, length: usize) {
        let score = f64::from(sum) / length as f64;
        let beams = self.open.len();
        if self.complete.len() < beams || score > self.worst() {
            self.complete.push((ids, score));
            if self.complete.len() > beams {
                let worst = self.worst();
                let at = self.complete.iter().position(|(_, score)| *score == worst);
                self.complete.remove(at.unwrap_or_default());
            }
        }
    }

    fn worst(&self) -> f64 {
        self.complete.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min)
    }

    /// Carries the texts on by one token, of logits for each.
    fn step(&mut self, logits: &[Vec<f32>], end: i64) {
        let beams = self.open.len();
        let length = self.open[0].0.len() + 1;
        let vocab = logits[0].len();
        let sums: Vec<f32> =
            self.open.iter().zip(logits).flat_map(|((_, sum), logits)| logits.iter().map(move |logit| logit + sum)).collect();
        // Each beam can end at most once, so twice as many candidates leave enough that go on.
        let candidates = ranked(&sums, 2 * beams);
        let mut next = Vec::with_capacity(beams);
        for (rank, at) in candidates.iter().enumerate() {
            let (beam, token) = (at / vocab, (at % vocab) as i64);
            if token != end {
                let mut ids = self.open[beam].0.clone();
                ids.push(token);
                next.push((ids, sums[*at]));
            } else if rank < beams {
                self.add(self.open[beam].0.clone(), sums[*at], length);
            }
            if next.len() == beams {
                break;
            }
        }
        self.open = next;
        self.done = self.complete.len() >= beams && self.worst() >= f64::from(sums[candidates[0]]) / length as f64;
    }

    /// The best text, with its end token where there is room.
    fn best(mut self, end: i64, longest: usize) -> Vec<i64> {
        if !self.done {
            for (ids, sum) in self.open.clone() {
                let length = ids.len();
                self.add(ids, sum, length);
            }
        }
        // Of equal scores the last one.
        let best = self.complete.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let mut ids = best.map(|(ids, _)| ids).unwrap_or_default();
        if ids.len() < longest {
            ids.push(end);
        }
        ids
    }
}

/// A caption for each image, of `beams` that are carried on.
///
/// # Errors
/// What the text tower refuses.
pub(crate) fn captions(writer: &Writer<'_>, beams: usize, how: &Captioning) -> Result<Vec<Vec<i64>>> {
    let images = writer.images.size()[0] as usize;
    let mut searches: Vec<Search> = (0..images).map(|_| Search::new(writer.text.start, beams)).collect();
    for _ in 1..how.longest {
        let running: Vec<usize> = (0..images).filter(|image| !searches[*image].done).collect();
        if running.is_empty() {
            break;
        }
        let rows: Vec<(usize, &[i64])> =
            running.iter().flat_map(|image| searches[*image].open.iter().map(|(ids, _)| (*image, ids.as_slice()))).collect();
        let logits = writer.next(&rows, how)?;
        for (image, logits) in running.iter().zip(logits.chunks(beams)) {
            searches[*image].step(logits, writer.text.end);
        }
    }
    Ok(searches.into_iter().map(|search| search.best(writer.text.end, how.longest as usize)).collect())
}
