//! WordNet's synsets of nouns: other names of a class.

use std::sync::OnceLock;

use vlhub_sdk::prelude::*;

use crate::lemmas::{Nouns, inflated};

/// WordNet 3.0's synsets of nouns; `data/README.md` says how they are written.
const SYNSETS: &[u8] = include_bytes!("../data/noun_synsets.gz");

/// Which names of WordNet stand for a class, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Related {
    /// Other words of a synset that has the class's name: `auto` for `car`.
    Synonyms,
    /// Words of the synsets right below: `ambulance` for `car`.
    Hyponyms,
    /// Words of the synsets right above: `motor vehicle` for `car`. Two classes of one kind then share a name.
    Hypernyms,
}

/// All synsets. A list of lists is its numbers one behind the other, and where each list begins.
pub(crate) struct Synsets {
    words: Lists,
    above: Lists,
    below: Lists,
    /// Synsets of each noun.
    of_noun: Lists,
}

struct Lists {
    starts: Vec<u32>,
    values: Vec<u32>,
}

impl Lists {
    fn of(lists: impl Iterator<Item = impl AsRef<[u32]>>) -> Self {
        let mut all = Self { starts: vec![0], values: Vec::new() };
        for list in lists {
            all.values.extend_from_slice(list.as_ref());
            all.starts.push(all.values.len() as u32);
        }
        all
    }

    fn get(&self, at: u32) -> &[u32] {
        let at = at as usize;
        &self.values[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// Which lists hold each number below `count`.
    fn turned_round(&self, count: usize) -> Self {
        let mut holders = vec![Vec::new(); count];
        for list in 0..self.starts.len() as u32 - 1 {
            for &value in self.get(list) {
                holders[value as usize].push(list);
            }
        }
        Self::of(holders.iter())
    }
}

impl Synsets {
    /// The synsets, which are unpacked once in a process.
    pub fn get() -> Result<&'static Self> {
        static SYNSETS: OnceLock<Result<Synsets, String>> = OnceLock::new();
        let damaged = |error: &String| Error::invalid(format!("the synsets of this program are damaged: {error}"));
        SYNSETS.get_or_init(|| Self::unpack(Nouns::get().map_err(|error| error.to_string())?.count())).as_ref().map_err(damaged)
    }

    fn unpack(nouns: usize) -> Result<Self, String> {
        let text = inflated(SYNSETS)?;
        let (mut words, mut above) = (Vec::new(), Vec::new());
        for (line, fields) in (0i64..).zip(text.lines()) {
            let (steps, places): (Vec<&str>, Vec<&str>) = fields.split(' ').partition(|field| field.starts_with(['+', '-']));
            let number = |field: &str| field.parse::<i64>().map_err(|error| format!("line {line}: {error}"));
            let place = |place: i64| u32::try_from(place).map_err(|error| format!("line {line}: {error}"));
            let words_here: Result<Vec<u32>, String> = places.into_iter().map(|field| place(number(field)?)).collect();
            let above_here: Result<Vec<u32>, String> = steps.into_iter().map(|field| place(line - number(field)?)).collect();
            words.push(words_here?);
            above.push(above_here?);
        }
        let within = |lists: &[Vec<u32>], count: usize| lists.iter().flatten().all(|&value| (value as usize) < count);
        if !within(&words, nouns) || !within(&above, words.len()) {
            return Err("a place beyond the end".into());
        }
        let (words, above) = (Lists::of(words.iter()), Lists::of(above.iter()));
        let (below, of_noun) = (above.turned_round(above.starts.len() - 1), words.turned_round(nouns));
        Ok(Self { words, above, below, of_noun })
    }

    /// Names that are related to `name` in one of its senses, in small letters with spaces, sorted. None if WordNet does not have the name.
    pub fn related(&self, nouns: &Nouns, name: &str, kinds: &[Related]) -> Vec<String> {
        let name = name.trim().to_lowercase().replace(' ', "_");
        let senses: Vec<u32> =
            nouns.forms(&name).iter().filter_map(|form| nouns.place(form)).flat_map(|noun| self.of_noun.get(noun)).copied().collect();
        let mut names: Vec<String> = Vec::new();
        for kind in kinds {
            let synsets: Vec<u32> = match kind {
                Related::Synonyms => senses.clone(),
                Related::Hyponyms => senses.iter().flat_map(|&sense| self.below.get(sense)).copied().collect(),
                Related::Hypernyms => senses.iter().flat_map(|&sense| self.above.get(sense)).copied().collect(),
            };
            names.extend(synsets.iter().flat_map(|&synset| self.words.get(synset)).map(|&noun| nouns.word(noun).replace('_', " ")));
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sense_of_a_name_counts() {
        let (nouns, synsets) = (Nouns::get().expect("whole"), Synsets::get().expect("whole"));
        let related = |name: &str, kind| synsets.related(nouns, name, &[kind]);
        assert_eq!(related("tench", Related::Synonyms), ["tench", "tinca tinca"]);
        assert_eq!(related("Motor Vehicle", Related::Hypernyms), ["self-propelled vehicle"]);
        assert!(related("cars", Related::Hyponyms).contains(&"ambulance".to_owned()), "a plural is looked up by its lemma");
        assert_eq!(related("crane", Related::Hypernyms), ["lifting device", "wader", "wading bird"], "the machine and the bird");
        assert!(related("no such thing", Related::Synonyms).is_empty() && related("", Related::Synonyms).is_empty());
    }
}
