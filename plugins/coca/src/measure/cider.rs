//! CIDEr (Vedantam et al., 2015, arXiv 1411.5726), in the form CIDEr-D that pycocoevalcap computes.

use std::collections::BTreeMap;

use super::ngrams::{Counts, LONGEST, counts};

/// Spread of the penalty for other lengths, in words.
const SIGMA: f64 = 6.0;

/// In how many pictures' references each n-gram occurs.
type Frequencies<'a> = BTreeMap<&'a [String], u32>;

/// An n-gram's weight, for each length; the length of the vector; and the number of pairs of words, which stands for the length of the text.
struct Weighted<'a> {
    weights: [BTreeMap<&'a [String], f64>; LONGEST],
    norms: [f64; LONGEST],
    pairs: f64,
}

impl<'a> Weighted<'a> {
    fn new(counts: Counts<'a>, frequencies: &Frequencies<'_>, log_pictures: f64) -> Self {
        let pairs = counts[1].values().map(|count| f64::from(*count)).sum();
        let weight = |(ngram, count): (&'a [String], u32)| {
            let pictures = frequencies.get(ngram).copied().unwrap_or_default().max(1);
            (ngram, f64::from(count) * (log_pictures - f64::from(pictures).ln()))
        };
        let weights = counts.map(|counts| counts.into_iter().map(weight).collect::<BTreeMap<_, _>>());
        let norms = std::array::from_fn(|at| weights[at].values().map(|weight| weight * weight).sum::<f64>().sqrt());
        Self { weights, norms, pairs }
    }

    /// The mean over lengths of the cosine with a reference, in which no n-gram counts for more than it does there.
    fn similarity(&self, reference: &Self) -> f64 {
        let apart = self.pairs - reference.pairs;
        let penalty = (-apart * apart / (2.0 * SIGMA * SIGMA)).exp();
        let of = |at: usize| {
            let common = |(ngram, weight): (&&[String], &f64)| {
                let theirs = reference.weights[at].get(*ngram).copied().unwrap_or_default();
                weight.min(theirs) * theirs
            };
            let product: f64 = self.weights[at].iter().map(common).sum();
            let norms = self.norms[at] * reference.norms[at];
            if norms == 0.0 { product * penalty } else { product / norms * penalty }
        };
        (0..LONGEST).map(of).sum::<f64>() / LONGEST as f64
    }
}

/// The CIDEr of each caption, ten times the mean similarity with its references: words that few pictures' references have count for more. Of a
/// single picture all are 0.
pub(super) fn scores(captions: &[Vec<String>], references: &[Vec<Vec<String>>]) -> Vec<f64> {
    let mut frequencies = Frequencies::new();
    for references in references {
        let mut seen: Vec<&[String]> = references.iter().flat_map(|reference| counts(reference)).flat_map(BTreeMap::into_keys).collect();
        seen.sort_unstable();
        seen.dedup();
        seen.into_iter().for_each(|ngram| *frequencies.entry(ngram).or_default() += 1);
    }
    let log_pictures = (references.len() as f64).ln();
    let score = |(caption, references): (&Vec<String>, &Vec<Vec<String>>)| {
        let caption = Weighted::new(counts(caption), &frequencies, log_pictures);
        let similarity = |reference: &Vec<String>| caption.similarity(&Weighted::new(counts(reference), &frequencies, log_pictures));
        10.0 * references.iter().map(similarity).sum::<f64>() / references.len() as f64
    };
    captions.iter().zip(references).map(score).collect()
}
