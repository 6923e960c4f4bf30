//! Which of many are taken, where a part is enough.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A choice that depends on a seed and on names alone: what is added or removed beside them changes nothing else, and fewer are among more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub seed: u64,
}

impl Choice {
    /// Keeps `most` items, in their order: those whose names have the smallest hashes.
    pub fn keep<T>(self, items: &mut Vec<T>, most: usize, name: impl Fn(&T) -> &[u8]) {
        if items.len() <= most {
            return;
        }
        let hash = |item: &T| xxh3_64_with_seed(name(item), self.seed);
        let mut hashes: Vec<u64> = items.iter().map(hash).collect();
        hashes.sort_unstable();
        let bound = if most == 0 { None } else { hashes.get(most - 1).copied() };
        // Two of one hash are as unlikely as they are harmless: no more than `most` are kept.
        let mut room = most;
        items.retain(|item| {
            let kept = room > 0 && bound.is_some_and(|bound| hash(item) <= bound);
            room -= usize::from(kept);
            kept
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(seed: u64, all: usize, most: usize) -> Vec<String> {
        let mut names: Vec<String> = (0..all).map(|number| format!("n{number:04}")).collect();
        Choice { seed }.keep(&mut names, most, |name| name.as_bytes());
        names
    }

    #[test]
    fn fewer_are_among_more_and_another_seed_chooses_others() {
        let (ten, five) = (kept(0, 100, 10), kept(0, 100, 5));
        assert!(ten.len() == 10 && ten.is_sorted() && five.len() == 5 && five.iter().all(|name| ten.contains(name)), "{ten:?} {five:?}");
        assert_ne!(kept(1, 100, 10), ten);
        // What is added takes the place of some, and moves no other.
        assert!(kept(0, 110, 10).iter().all(|name| ten.contains(name) || name.as_str() > "n0099"));
        assert_eq!((kept(0, 3, 5).len(), kept(0, 3, 0).len()), (3, 0));
    }

    #[test]
    fn every_name_is_as_likely() {
        let mut counts = vec![0usize; 20];
        for seed in 0..2000 {
            for name in kept(seed, 20, 5) {
                counts[name[1..].parse::<usize>().expect("a number")] += 1;
            }
        }
        // 500 each, with a standard deviation of 19.
        assert!(counts.iter().all(|count| (400..600).contains(count)), "{counts:?}");
    }
}
