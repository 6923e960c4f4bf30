//! Names that are nearly a class's.

use std::collections::HashMap;

/// Most characters of a run of words that is compared: the bits of a machine word.
const LONGEST: usize = 64;

/// The characters of a variant, and its classes.
type FuzzyVariant = (Vec<char>, Vec<u32>);

/// Variants of class names, to be compared with what is nearly one of them.
pub(crate) struct Fuzzy {
    /// Variants by their number of characters.
    by_length: HashMap<usize, Vec<FuzzyVariant>>,
    /// A ratio above this is alike, in percent.
    threshold: u32,
}

impl Fuzzy {
    pub fn new<'a>(variants: impl Iterator<Item = (&'a str, &'a [u32])>, threshold: u8) -> Self {
        let mut by_length: HashMap<usize, Vec<_>> = HashMap::new();
        for (name, classes) in variants {
            let name: Vec<char> = name.chars().collect();
            by_length.entry(name.len()).or_default().push((name, classes.to_vec()));
        }
        Self { by_length, threshold: threshold.into() }
    }

    /// The classes of variants that are like `run`, in no order: the ratio is that of `fuzz.ratio` in fuzzywuzzy and thefuzz,
    /// `200 * common / (letters of both)` rounded, where `common` is the length of the longest common subsequence. Nothing is like a run of more than
    /// 64 characters.
    pub fn alike(&self, run: &str) -> Vec<u32> {
        let run: Vec<char> = run.chars().collect();
        let mut found = Vec::new();
        if run.is_empty() || run.len() > LONGEST {
            return found;
        }
        let masks = Masks::of(&run);
        for (length, variants) in &self.by_length {
            // The best that these lengths allow.
            if ratio(run.len().min(*length), run.len() + length) <= self.threshold {
                continue;
            }
            for (variant, classes) in variants {
                if ratio(masks.common(variant), run.len() + length) > self.threshold {
                    found.extend(classes);
                }
            }
        }
        found
    }
}

/// `common` letters of each of two texts with `letters` together, in percent; half a percent goes to the even number, as Python rounds.
fn ratio(common: usize, letters: usize) -> u32 {
    (200.0 * common as f64 / letters as f64).round_ties_even() as u32
}

/// Where each character stands in a text of at most 64, as bits.
struct Masks<'a> {
    text: &'a [char],
    ascii: [u64; 128],
}

impl<'a> Masks<'a> {
    fn of(text: &'a [char]) -> Self {
        let mut ascii = [0; 128];
        for (at, letter) in text.iter().enumerate() {
            if let Some(mask) = ascii.get_mut(*letter as usize) {
                *mask |= 1 << at;
            }
        }
        Self { text, ascii }
    }

    fn mask(&self, letter: char) -> u64 {
        let other = || (0..).zip(self.text).filter(|(_, own)| **own == letter).fold(0, |mask, (at, _): (u32, _)| mask | 1 << at);
        self.ascii.get(letter as usize).copied().unwrap_or_else(other)
    }

    /// Length of the longest common subsequence, by bits (Hyyrö, 2004).
    fn common(&self, other: &[char]) -> usize {
        let mut open = u64::MAX;
        for &letter in other {
            let hit = open & self.mask(letter);
            open = open.wrapping_add(hit) | (open - hit);
        }
        let within = if self.text.len() == LONGEST { u64::MAX } else { (1 << self.text.len()) - 1 };
        (!open & within).count_ones() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_equal_those_of_fuzzywuzzy() {
        // `fuzz.ratio` of thefuzz 0.22.1.
        let long = "x".repeat(63);
        let (one, other) = (format!("{long}x"), format!("{long}y"));
        for (one, other, expected) in [
            ("golden retriever", "golden retreiver", 94),
            ("tench", "tenchs", 91),
            ("tench", "bench", 80),
            ("abc", "xyz", 0),
            ("a", "a", 100),
            ("café", "cafe", 75),
            ("小狗", "小猫", 50),
            ("great white shark", "sharkwhitegreat", 44),
            ("ice cream", "icecream", 94),
            ("kitten", "sitting", 62),
            ("hot dog", "hotdog stand", 63),
            ("abcde", "abcde123456", 62),
            (one.as_str(), other.as_str(), 98),
        ] {
            let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
            for (one, other) in [(&one, &other), (&other, &one)] {
                assert_eq!(ratio(Masks::of(one).common(other), one.len() + other.len()), expected, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn what_is_above_the_threshold_is_alike() {
        let variants = [("golden retriever", &[3_u32][..]), ("gold", &[1]), ("goldfish", &[7, 2])];
        let alike = |run: &str, threshold| {
            let mut found = Fuzzy::new(variants.into_iter(), threshold).alike(run);
            found.sort_unstable();
            found
        };
        assert_eq!(alike("golden retreiver", 90), [3], "two letters changed places");
        assert!(alike("golden retreiver", 94).is_empty(), "94 is not above 94");
        assert_eq!(alike("goldfsh", 90), [2, 7]);
        assert!(alike("", 1).is_empty());
        assert!(alike(&"gold".repeat(20), 1).is_empty(), "too long");
    }
}
