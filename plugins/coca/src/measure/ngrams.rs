//! Counts of neighbouring words.

use std::collections::BTreeMap;

/// Most words of an n-gram.
pub(super) const LONGEST: usize = 4;

/// How often each n-gram of one to four words occurs in a text, by its number of words less one.
pub(super) type Counts<'a> = [BTreeMap<&'a [String], u32>; LONGEST];

/// The n-grams of a tokenised text.
pub(super) fn counts(words: &[String]) -> Counts<'_> {
    let mut counts = Counts::default();
    for (longest, counts) in (1..).zip(&mut counts) {
        for ngram in words.windows(longest) {
            *counts.entry(ngram).or_default() += 1;
        }
    }
    counts
}
