//! Masking of texts: which tokens are predicted, and what replaces them.

use vlhub_sdk::prelude::*;
use vlhub_sdk::random::{below, uniform};

/// The label of tokens that are not predicted.
pub(crate) const IGNORED: i64 = -1;

/// The masking of texts.
#[derive(Clone, Debug)]
pub(crate) struct Masking {
    /// Masking ratio: share of the tokens of a text that is predicted.
    pub share: f64,
    /// Of these, the share that is replaced by a random token.
    pub random: f64,
    /// Of these, the share that is left as it is.
    pub keep: f64,
    /// Mask id, which replaces the others.
    pub mask_id: i64,
    /// Padding id.
    pub pad: i64,
    /// Vocabulary size.
    pub vocab: i64,
    /// Whether texts begin with a start token.
    pub start: bool,
    /// Whether texts end with an end token.
    pub end: bool,
}

impl Masking {
    /// The masked form of `ids`, row after row of `length`, and the labels.
    ///
    /// # Errors
    /// An id outside of the vocabulary, or a mask that is the texts' own start or end token.
    pub fn apply(&self, ids: &[i64], length: usize, rng: &mut dyn RngCore) -> Result<(Vec<i64>, Vec<i64>)> {
        // The text tower may never see a wrong id that is masked, but the head would have to predict it.
        if let Some(id) = ids.iter().find(|id| !(0..self.vocab).contains(*id)) {
            return Err(Error::invalid(format!("token id {id} is outside of the text tower's vocabulary 0..{}", self.vocab)));
        }
        let (mut masked, mut labels) = (ids.to_vec(), vec![IGNORED; ids.len()]);
        if length == 0 {
            return Ok((masked, labels));
        }
        let (mut rows, mut starts, mut ends) = (0, 0, 0);
        for (row, labels) in masked.chunks_mut(length).zip(labels.chunks_mut(length)) {
            let mut real = (0..length).filter(|at| row[*at] != self.pad);
            let Some(first) = real.next() else { continue };
            let last = real.next_back().unwrap_or(first);
            rows += 1;
            starts += usize::from(self.start && row[first] == self.mask_id);
            ends += usize::from(self.end && row[last] == self.mask_id);
            self.row(row, labels, first, last, rng);
        }
        // One text may begin with the id that stands for the mask, if its tokenizer adds no start token; not all.
        if rows > 0 && (starts == rows || ends == rows) {
            let which = if starts == rows { "start" } else { "end" };
            return Err(Error::invalid(format!(
                "`mask_id` = {} is the {which} token of the texts; choose an id that they do not need",
                self.mask_id
            )));
        }
        Ok((masked, labels))
    }

    fn row(&self, row: &mut [i64], labels: &mut [i64], first: usize, last: usize, rng: &mut dyn RngCore) {
        let special = |at: usize| (self.start && at == first) || (self.end && at == last);
        // Between the first and the last token the id of padding is a word, as CLIP's 0 is `!`.
        let mut places: Vec<usize> = (first..=last).filter(|at| !special(*at)).collect();
        let mut never = vec![self.pad, self.mask_id];
        never.extend(self.start.then_some(row[first]));
        never.extend(self.end.then_some(row[last]));
        never.sort_unstable();
        never.dedup();
        // At least one token of every text, as in BERT: a text without any would teach nothing.
        let count = ((self.share * places.len() as f64).round() as usize).max(1).min(places.len());
        for drawn in 0..count {
            let other = drawn + below(rng, (places.len() - drawn) as u64) as usize;
            places.swap(drawn, other);
            let at = places[drawn];
            labels[at] = row[at];
            let what = uniform(rng);
            if what < self.random {
                row[at] = self.another(&never, rng);
            } else if what >= self.random + self.keep {
                row[at] = self.mask_id;
            }
        }
    }

    /// Any id but `never`, which is sorted.
    fn another(&self, never: &[i64], rng: &mut dyn RngCore) -> i64 {
        let drawn = below(rng, (self.vocab - never.len() as i64).max(1) as u64) as i64;
        never.iter().fold(drawn, |id, taken| if *taken <= id { id + 1 } else { id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vlhub_sdk::testkit::toy::Seeded;

    fn masking() -> Masking {
        Masking { share: 0.15, random: 0.1, keep: 0.0, mask_id: 2, pad: 0, vocab: 50, start: true, end: true }
    }

    /// `[start, words, end, padding]`.
    fn text(words: usize, length: usize) -> Vec<i64> {
        let mut ids = vec![48];
        ids.extend((0..words).map(|word| 5 + (word as i64 * 7) % 40));
        ids.push(49);
        ids.resize(length, 0);
        ids
    }

    #[test]
    fn as_many_tokens_are_masked_as_the_share_says() {
        for (words, share, expected, why) in [
            (20, 0.15, 3, "the share"),
            (17, 0.15, 3, "2.55 is rounded"),
            (16, 0.15, 2, "2.4 is rounded"),
            (2, 0.15, 1, "at least one"),
            (1, 0.15, 1, "the only one"),
            (0, 0.15, 0, "start and end alone"),
            (20, 1.0, 20, "all but start and end"),
        ] {
            let ids = text(words, 24);
            for seed in 0..50 {
                let (masked, labels) = Masking { share, ..masking() }.apply(&ids, 24, &mut Seeded(seed)).expect("masks");
                assert_eq!(labels.iter().filter(|label| **label != IGNORED).count(), expected, "{why}");
                for at in 0..24 {
                    let special = at == 0 || at > words;
                    assert!(!special || labels[at] == IGNORED, "{why}: place {at} is start, end or padding");
                    assert!(labels[at] == IGNORED || labels[at] == ids[at], "{why}: a label is the id that was there");
                    assert!(labels[at] != IGNORED || masked[at] == ids[at], "{why}: what is not predicted stays");
                }
            }
        }
    }

    #[test]
    fn every_word_has_the_same_chance_and_every_treatment_its_share() {
        for (random, keep) in [(0.1, 0.0), (0.1, 0.1), (0.0, 0.0), (0.5, 0.5)] {
            let (ids, mut rng) = (text(10, 12), Seeded(3));
            let (mut hidden, mut became) = ([0.0; 12], [0.0; 3]);
            let masking = Masking { random, keep, share: 0.2, ..masking() };
            let runs = 8000;
            for _ in 0..runs {
                let (masked, labels) = masking.apply(&ids, 12, &mut rng).expect("masks");
                for at in (0..12).filter(|at| labels[*at] != IGNORED) {
                    hidden[at] += 1.0 / f64::from(runs);
                    let what = if masked[at] == 2 { 0 } else { 2 - usize::from(masked[at] != ids[at]) };
                    became[what] += 0.5 / f64::from(runs);
                }
            }
            assert!(hidden[1..11].iter().all(|share| (share - 0.2).abs() < 0.02), "{hidden:?}");
            // One random id in 46 is the one that was there.
            let same = random / 46.0;
            for (found, wanted) in became.into_iter().zip([1.0 - random - keep, random - same, keep + same]) {
                assert!((found - wanted).abs() < 0.015, "random {random}, keep {keep}: {became:?}");
            }
        }
    }

    #[test]
    fn random_tokens_are_all_ids_but_the_special_ones() {
        let masking = Masking { vocab: 8, mask_id: 5, random: 1.0, ..masking() };
        let (ids, mut rng, mut seen) = ([6, 1, 2, 7, 0], Seeded(9), [false; 8]);
        for _ in 0..500 {
            let (masked, labels) = masking.apply(&ids, 5, &mut rng).expect("masks");
            for at in (0..5).filter(|at| labels[*at] != IGNORED) {
                seen[masked[at] as usize] = true;
            }
        }
        assert_eq!(seen, [false, true, true, true, true, false, false, false], "not padding 0, mask 5, start 6, end 7");
    }

    #[test]
    fn rows_are_drawn_one_after_another() {
        let (one, two) = (text(9, 14), text(4, 14));
        let alone = masking().apply(&one, 14, &mut Seeded(4)).expect("masks");
        let both = masking().apply(&[one, two].concat(), 14, &mut Seeded(4)).expect("masks");
        assert_eq!((&both.0[..14], &both.1[..14]), (&alone.0[..], &alone.1[..]), "the first row does not know of the second");
    }

    #[test]
    fn texts_without_start_or_end_have_all_their_words_masked() {
        let all = Masking { share: 1.0, random: 0.0, start: false, end: false, ..masking() };
        assert_eq!(all.apply(&[7, 8, 9, 0], 4, &mut Seeded(0)).expect("masks").0, [2, 2, 2, 0]);
        let only_end = Masking { start: false, end: true, ..all.clone() };
        assert_eq!(only_end.apply(&[7, 8, 9, 0], 4, &mut Seeded(0)).expect("masks").0, [2, 2, 9, 0]);
        assert_eq!(all.apply(&[0, 0, 7, 8], 4, &mut Seeded(0)).expect("masks").0, [0, 0, 2, 2], "padding in front");
        assert_eq!(all.apply(&[0, 0], 2, &mut Seeded(0)).expect("masks").1, [IGNORED; 2], "nothing but padding");
        assert_eq!(
            all.apply(&[7, 0, 8, 0], 4, &mut Seeded(0)).expect("masks").1,
            [7, 0, 8, IGNORED],
            "padding's id between words is a word"
        );
    }

    #[test]
    fn a_mask_that_the_texts_need_is_refused() {
        for (mask_id, word) in [(48, "start token"), (49, "end token")] {
            let ids = [text(3, 8), text(1, 8)].concat();
            let error = Masking { mask_id, ..masking() }.apply(&ids, 8, &mut Seeded(0)).expect_err("it is special").to_string();
            assert!(error.contains("mask_id") && error.contains(word), "{error}");
        }
        let error = masking().apply(&[48, 50, 49], 3, &mut Seeded(0)).expect_err("50 is no id").to_string();
        assert!(error.contains("token id 50"), "{error}");
    }
}
