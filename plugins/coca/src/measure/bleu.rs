//! BLEU (Papineni et al., 2002) over a whole data set, as pycocoevalcap computes it.

use super::ngrams::{Counts, LONGEST, counts};

/// Keep quotients finite where nothing is counted, as pycocoevalcap's do.
const SMALL: f64 = 1e-9;
const TINY: f64 = 1e-15;

/// What one caption, or all of them together, add up to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Matches {
    /// N-grams that a reference has too, and all of them, by their length.
    correct: [u32; LONGEST],
    written: [u32; LONGEST],
    /// Words that were written, and words of the reference nearest in length.
    words: usize,
    reference: usize,
}

impl Matches {
    /// Compares a caption with its references, of which there is at least one. An n-gram counts as often as in the reference that has it most.
    pub(super) fn of(caption: &[String], references: &[Vec<String>]) -> Self {
        let known: Vec<Counts<'_>> = references.iter().map(|reference| counts(reference)).collect();
        let mut found = Self { words: caption.len(), ..Self::default() };
        // Of two as near, the shorter.
        let near = references.iter().map(|reference| (reference.len().abs_diff(caption.len()), reference.len())).min();
        found.reference = near.map_or(0, |(_, length)| length);
        for (at, written) in counts(caption).iter().enumerate() {
            found.written[at] = (caption.len() as u32).saturating_sub(at as u32);
            for (ngram, count) in written {
                let most = known.iter().filter_map(|known| known[at].get(ngram)).max().copied().unwrap_or_default();
                found.correct[at] += most.min(*count);
            }
        }
        found
    }

    pub(super) fn add(&mut self, other: &Self) {
        for at in 0..LONGEST {
            self.correct[at] += other.correct[at];
            self.written[at] += other.written[at];
        }
        self.words += other.words;
        self.reference += other.reference;
    }

    /// BLEU-1 to BLEU-4: the geometric mean of the shares of right n-grams up to that length, less what is too short. Of a data set its counts
    /// are added up first; of one caption pycocoevalcap adds `TINY` above and `SMALL` below alike.
    pub(super) fn scores(&self) -> [f64; LONGEST] {
        let ratio = (self.words as f64 + TINY) / (self.reference as f64 + SMALL);
        let penalty = if ratio < 1.0 { (1.0 - 1.0 / ratio).exp() } else { 1.0 };
        let mut product = 1.0;
        std::array::from_fn(|at| {
            product *= (f64::from(self.correct[at]) + TINY) / (f64::from(self.written[at]) + SMALL);
            product.powf(1.0 / (at + 1) as f64) * penalty
        })
    }
}
