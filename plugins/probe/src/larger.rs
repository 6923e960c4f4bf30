//! Heads that were trained on more classes than ImageNet's 1000, among which those are.

/// Where ImageNet's classes are in each of them. Source and licence: `assets/README.md`.
const LISTS: &str = include_str!("../assets/imagenet_in_larger.txt");

/// A classifier of more classes, in which ImageNet's are found by their WordNet numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LargerHead {
    /// What its classes are.
    pub name: &'static str,
    /// The place of each of ImageNet's classes, where it has it.
    pub places: Vec<Option<usize>>,
}

impl LargerHead {
    /// The one with so many classes.
    pub fn of(width: usize) -> Option<Self> {
        let line = LISTS.lines().map(|line| line.split('\t')).find_map(|mut columns| {
            let name = columns.next()?;
            (columns.next()?.parse() == Ok(width)).then_some((name, columns.next()?))
        });
        let (name, places) = line?;
        Some(Self { name, places: places.split(' ').map(|place| place.parse().ok()).collect() })
    }

    /// What a reader must know: how ImageNet's classes were found.
    pub fn note(&self) -> String {
        let lacking = self.places.iter().filter(|place| place.is_none()).count();
        let told = match lacking {
            0 => String::new(),
            count => format!("; {count} of them it does not have, and never predicts"),
        };
        format!("the supervised head has the classes of {}, in which ImageNet's were found by their WordNet numbers{told}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_known_by_their_width() {
        for (width, first, lacking) in [(21841, 359, 1), (21842, 0, 0), (21843, 359, 1), (11821, 216, 7), (11221, 209, 9), (10450, 209, 9)]
        {
            let head = LargerHead::of(width).expect("it is known");
            assert_eq!((head.places.len(), head.places[0]), (1000, Some(first)), "{}", head.name);
            let found = head.places.iter().flatten().copied().collect::<std::collections::BTreeSet<_>>();
            assert_eq!(found.len() + lacking, 1000, "{}: each at a place of its own", head.name);
            assert!(found.iter().all(|place| *place < width), "{}", head.name);
        }
        assert_eq!(LargerHead::of(1000), None);
        assert!(LargerHead::of(21843).expect("known").note().contains("1 of them it does not have"));
    }
}
