//! Finding class names in captions.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::ops::Range;

use vlhub_sdk::captions::clean;
use vlhub_sdk::{Error, Result};

use crate::fuzzy::Fuzzy;
use crate::lemmas::Nouns;
use crate::synsets::{Related, Synsets};

/// Most words of a class name: what a run of words may have.
const MOST_WORDS: usize = 16;

/// How class names are looked for.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub clean: bool,
    pub lemmatize: bool,
    pub lemmatize_names: bool,
    pub ngram: usize,
    pub longest: bool,
    pub fuzzy: u8,
    pub synsets: Vec<Related>,
}

impl Default for Rules {
    /// VL Hub's.
    fn default() -> Self {
        Self { clean: true, lemmatize: true, lemmatize_names: false, ngram: 3, longest: false, fuzzy: 0, synsets: Vec::new() }
    }
}

/// All class names with their variants.
pub(crate) struct Matcher {
    /// The names as they are listed.
    pub names: Vec<String>,
    rules: Rules,
    nouns: Option<&'static Nouns>,
    /// The classes of each variant, in ascending order.
    variants: HashMap<Box<str>, Vec<u32>>,
    fuzzy: Option<Fuzzy>,
}

impl Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, rules, variants, .. } = self;
        f.debug_struct("Matcher").field("classes", &names.len()).field("variants", &variants.len()).field("rules", rules).finish()
    }
}

/// A caption as it is searched.
pub(crate) struct Words {
    /// The words with a space between them; two spaces are an empty word.
    text: String,
    /// Where each word stands.
    places: Vec<Range<usize>>,
}

impl Words {
    /// A run of words.
    pub fn run(&self, words: &Range<usize>) -> &str {
        &self.text[self.places[words.start].start..self.places[words.end - 1].end]
    }

    /// Each word.
    pub fn each(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| &self.text[place.clone()])
    }
}

/// A run of words that is a class name.
pub(crate) struct Found<'a> {
    /// Places of the words.
    pub words: Range<usize>,
    /// The classes of that name, in ascending order.
    pub classes: Cow<'a, [u32]>,
}

impl Matcher {
    /// Prepares to look for classes.
    ///
    /// # Errors
    /// Rules out of range.
    pub fn new(names: Vec<String>, rules: Rules) -> Result<Self> {
        if !(1..=MOST_WORDS).contains(&rules.ngram) {
            return Err(Error::Options(format!("`ngram` is {}; a class name has 1 to {MOST_WORDS} words", rules.ngram)));
        }
        if rules.fuzzy >= 100 {
            return Err(Error::Options(format!("`fuzzy` is {}; a likeness is below 100, and 0 asks for equal names", rules.fuzzy)));
        }
        let nouns = if rules.lemmatize || rules.lemmatize_names { Some(Nouns::get()?) } else { None };
        let mut variants: HashMap<Box<str>, Vec<u32>> = HashMap::new();
        for (class, name) in (0..).zip(&names) {
            let mut spelt = variants_of(name, nouns.filter(|_| rules.lemmatize_names));
            spelt.extend(related_to(name, &rules)?);
            for variant in spelt {
                let classes = variants.entry(variant.into()).or_default();
                if classes.last() != Some(&class) {
                    classes.push(class);
                }
            }
        }
        let fuzzy = (rules.fuzzy > 0).then(|| Fuzzy::new(variants.iter().map(|(name, classes)| (&**name, &**classes)), rules.fuzzy));
        Ok(Self { names, nouns: nouns.filter(|_| rules.lemmatize), rules, variants, fuzzy })
    }

    /// A caption in words, as it is searched: cleaned, in small letters, as lemmas.
    pub fn words(&self, caption: &str) -> Words {
        let caption = if self.rules.clean { clean(caption) } else { caption.to_lowercase() };
        let mut words = Words { text: String::with_capacity(caption.len()), places: Vec::new() };
        for word in caption.split(' ') {
            if !words.places.is_empty() {
                words.text.push(' ');
            }
            let start = words.text.len();
            words.text.push_str(&self.nouns.map_or(Cow::Borrowed(word), |nouns| nouns.lemma(word)));
            words.places.push(start..words.text.len());
        }
        words
    }

    /// What class names are in a caption: from each word on, shorter runs first; with `longest`, the longest run alone, and what follows it.
    pub fn find<'a>(&'a self, words: &'a Words) -> impl Iterator<Item = Found<'a>> {
        let count = words.places.len();
        let longest = move |start: usize| self.rules.ngram.min(count - start);
        let (mut start, mut tried) = (0, 0);
        std::iter::from_fn(move || {
            while start < count {
                if tried == longest(start) {
                    (start, tried) = (start + 1, 0);
                    continue;
                }
                tried += 1;
                let run = if self.rules.longest { start..start + longest(start) + 1 - tried } else { start..start + tried };
                let Some(classes) = self.classes_of(words.run(&run)) else { continue };
                if self.rules.longest {
                    (start, tried) = (run.end, 0);
                }
                return Some(Found { words: run, classes });
            }
            None
        })
    }

    fn classes_of(&self, run: &str) -> Option<Cow<'_, [u32]>> {
        let equal = self.variants.get(run);
        let Some(fuzzy) = &self.fuzzy else { return equal.map(|classes| Cow::Borrowed(classes.as_slice())) };
        let mut classes = fuzzy.alike(run);
        classes.extend(equal.into_iter().flatten());
        classes.sort_unstable();
        classes.dedup();
        (!classes.is_empty()).then_some(Cow::Owned(classes))
    }

    /// What a class is called in a sentence: the first of its synonyms.
    pub fn first_name(&self, class: u32) -> &str {
        let name = self.names[class as usize].as_str();
        name.split_once(", ").map_or(name, |(first, _)| first).trim()
    }
}

/// How a class may be written in a caption: each synonym in small letters, with an `s`, without its spaces, and with its words turned round and
/// joined (VL Hub's `ds_val_getter`); the same of what [`clean`] leaves of it, because captions are cleaned too.
fn variants_of(name: &str, nouns: Option<&Nouns>) -> Vec<String> {
    let mut variants = Vec::new();
    for synonym in name.split(", ") {
        // At the start of a caption and within it: there ` st ` becomes ` street `.
        let within = clean(&format!("a {synonym} a"));
        let within = within.strip_prefix("a ").and_then(|rest| rest.strip_suffix(" a")).unwrap_or_default();
        let mut spellings = vec![synonym.to_lowercase().trim().to_owned()];
        for cleaned in [clean(synonym).trim(), within.trim()] {
            spellings.push(cleaned.split_whitespace().collect::<Vec<_>>().join(" "));
            spellings.push(cleaned.to_owned());
        }
        if let Some(nouns) = nouns {
            let lemmas = |text: &String| text.split(' ').map(|word| nouns.lemma(word)).collect::<Vec<_>>().join(" ");
            spellings.extend(spellings.iter().map(lemmas).collect::<Vec<_>>());
        }
        spellings.sort_unstable();
        spellings.dedup();
        for spelling in spellings.into_iter().filter(|spelling| !spelling.is_empty()) {
            variants.push(spelling.split_whitespace().rev().collect());
            variants.push(spelling.replace(' ', ""));
            variants.push(format!("{spelling}s"));
            variants.push(spelling);
        }
    }
    variants
}

/// Other names of a class in WordNet, as it has them and as [`clean`] leaves them; a caption's words are lemmas already, so no plurals.
fn related_to(name: &str, rules: &Rules) -> Result<Vec<String>> {
    if rules.synsets.is_empty() {
        return Ok(Vec::new());
    }
    let (nouns, synsets) = (Nouns::get()?, Synsets::get()?);
    let mut names: Vec<String> = name.split(", ").flat_map(|synonym| synsets.related(nouns, synonym, &rules.synsets)).collect();
    names.extend(names.iter().map(|name| clean(name).split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>());
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str], rules: Rules, caption: &str) -> Vec<(String, Vec<u32>)> {
        let matcher = Matcher::new(names.iter().map(|&name| name.into()).collect(), rules).expect("it builds");
        let words = matcher.words(caption);
        matcher.find(&words).map(|found| (words.run(&found.words).to_owned(), found.classes.to_vec())).collect()
    }

    fn classes(names: &[&str], rules: Rules, caption: &str) -> Vec<u32> {
        found(names, rules, caption).into_iter().flat_map(|(_, classes)| classes).collect()
    }

    #[test]
    fn variants_are_those_of_vl_hub() {
        for (name, expected) in [
            ("great white shark", &["great white shark", "great white sharks", "greatwhiteshark", "sharkwhitegreat"][..]),
            ("tench", &["tench", "tenchs"]),
            ("Siberian Husky", &["huskysiberian", "siberian husky", "siberian huskys", "siberianhusky"]),
            ("sunglasses", &["sunglasses", "sunglassess"]),
            ("tench, Tinca tinca", &["tench", "tenchs", "tinca tinca", "tinca tincas", "tincatinca"]),
            // These are ours: a cleaned caption has no `-`.
            ("T-shirt", &["shirtt", "t shirt", "t shirts", "t-shirt", "t-shirts", "tshirt"]),
            ("873", &["873", "873s"]),
        ] {
            let mut variants = variants_of(name, None);
            variants.sort_unstable();
            variants.dedup();
            assert_eq!(variants, expected, "{name}");
        }
    }

    #[test]
    fn runs_of_up_to_three_words_are_looked_up() {
        let names = ["shark", "tiger shark", "great white shark", "hook of holland ferry", "tiger"];
        for (caption, expected, why) in [
            ("two Tiger Sharks swimming!", &[4, 1, 0][..], "plurals, capitals and punctuation; the shorter first"),
            ("a great white shark", &[2, 0], "three words, then the last by itself"),
            ("greatwhiteshark, sharkwhitegreat", &[2, 2], "joined, and turned round"),
            ("shark white great", &[0], "turned round with spaces is another thing"),
            ("hook of holland ferry", &[], "four words are one too many"),
            ("great, white shark", &[0], "a comma is an empty word"),
            ("sharkfin", &[], "no part of a word"),
            ("", &[], "nothing"),
        ] {
            assert_eq!(classes(&names, Rules::default(), caption), expected, "{why}");
        }
        let longer = Rules { ngram: 4, ..Rules::default() };
        assert_eq!(classes(&names, longer, "a hook of holland ferry"), [3]);
    }

    #[test]
    fn the_longest_name_covers_those_within_it() {
        let names = ["tiger", "tiger shark", "shark", "missile", "Missile"];
        let longest = Rules { longest: true, ..Rules::default() };
        assert_eq!(classes(&names, longest.clone(), "a tiger shark and a tiger"), [1, 0]);
        assert_eq!(classes(&names, Rules::default(), "a tiger shark and a tiger"), [0, 1, 2, 0]);
        assert_eq!(found(&names, longest, "missiles"), [("missile".to_owned(), vec![3, 4])], "two classes of one name");
    }

    #[test]
    fn plurals_as_class_names_are_found_by_their_lemmas() {
        let names = ["sunglasses", "mashed potatoes", "jean"];
        let caption = "sunglasses, mashed potatoes and jeans";
        assert_eq!(classes(&names, Rules::default(), caption), [2], "VL Hub cannot find the others: captions are lemmas, names are not");
        assert_eq!(classes(&names, Rules { lemmatize_names: true, ..Rules::default() }, caption), [0, 1, 2]);
        assert_eq!(classes(&names, Rules { lemmatize: false, ..Rules::default() }, caption), [0, 1, 2], "`jeans` is `jean` and `s`");
    }

    #[test]
    fn names_with_marks_are_found_in_cleaned_captions() {
        let names = ["T-shirt", "St. Bernard", "potter's wheel"];
        let caption = "A St. Bernard in a T-shirt; a potter's wheel, a St Bernard";
        assert_eq!(classes(&names, Rules::default(), caption), [1, 0, 1], "`potters` has become `potter`");
        assert_eq!(classes(&names, Rules { lemmatize_names: true, ..Rules::default() }, caption), [1, 0, 2, 1]);
        assert_eq!(classes(&names, Rules::default(), "St. Bernard"), [1], "at the start `St` is no street");
        let plain = Rules { clean: false, ..Rules::default() };
        assert_eq!(classes(&names, plain, "St. Bernard, t-shirt, T-shirts"), [0], "as it is written, a comma belongs to its word");
    }

    #[test]
    fn names_that_wordnet_relates_are_names_of_the_class() {
        let names = ["car", "goose", "school bus"];
        let with = |synsets: &[Related]| Rules { synsets: synsets.to_vec(), ..Rules::default() };
        let caption = "Autos, ambulances, honkers and a self-propelled vehicle";
        assert_eq!(classes(&names, Rules::default(), caption), [] as [u32; 0]);
        assert_eq!(classes(&names, with(&[Related::Synonyms]), caption), [0]);
        assert_eq!(classes(&names, with(&[Related::Hyponyms]), caption), [0, 1]);
        assert_eq!(classes(&names, with(&[Related::Hypernyms]), "a motor vehicle, another bus"), [0, 2], "and a hypernym of several words");
    }

    #[test]
    fn rules_out_of_range_are_refused() {
        for (rules, wanted) in [
            (Rules { ngram: 0, ..Rules::default() }, "`ngram` is 0"),
            (Rules { ngram: 17, ..Rules::default() }, "`ngram` is 17"),
            (Rules { fuzzy: 100, ..Rules::default() }, "`fuzzy` is 100"),
        ] {
            let error = Matcher::new(vec!["a".into()], rules).expect_err(wanted).to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
