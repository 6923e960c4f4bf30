//! WordNet's lemmas of nouns, as NLTK finds them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;
use std::sync::OnceLock;

use flate2::read::GzDecoder;
use vlhub_sdk::{Error, Result};

/// WordNet 3.0's nouns, front-coded; `data/README.md` says where they are from.
const NOUNS: &[u8] = include_bytes!("../data/nouns.gz");
/// Its irregular plurals.
const EXCEPTIONS: &[u8] = include_bytes!("../data/noun_exceptions.gz");

/// Endings of regular plurals and what stands in their place, in WordNet's order, as NLTK has them.
const RULES: [(&str, &str); 9] =
    [("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y")];

/// WordNet's nouns.
pub(crate) struct Nouns {
    /// All of them, sorted by bytes, one behind the other.
    words: String,
    /// Where each begins, and the end.
    starts: Vec<u32>,
    /// Lemmas of irregular plurals.
    exceptions: HashMap<String, Vec<String>>,
}

impl Nouns {
    /// The nouns, which are unpacked once in a process: 2 MB.
    pub(crate) fn get() -> Result<&'static Self> {
        static NOUNS: OnceLock<Result<Nouns, String>> = OnceLock::new();
        NOUNS.get_or_init(Self::unpack).as_ref().map_err(|error| Error::invalid(format!("the nouns of this program are damaged: {error}")))
    }

    fn unpack() -> Result<Self, String> {
        let (mut words, mut starts, mut last) = (String::new(), Vec::new(), 0);
        for line in inflated(NOUNS)?.lines() {
            let code = line.bytes().next().and_then(|code| code.checked_sub(b'A')).ok_or("an empty line")?;
            let shared = words.get(last..last + usize::from(code)).ok_or("a word that shares too much")?.to_owned();
            last = words.len();
            starts.push(last as u32);
            words.push_str(&shared);
            words.push_str(&line[1..]);
        }
        starts.push(words.len() as u32);
        let mut exceptions = HashMap::new();
        for line in inflated(EXCEPTIONS)?.lines() {
            let mut forms = line.split(' ').map(str::to_owned);
            // Of a form that has two lines the last counts, as in NLTK.
            exceptions.insert(forms.next().unwrap_or_default(), forms.collect());
        }
        Ok(Self { words, starts, exceptions })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// The noun at a place; spaces are `_`.
    pub(crate) fn word(&self, place: u32) -> &str {
        let place = place as usize;
        &self.words[self.starts[place] as usize..self.starts[place + 1] as usize]
    }

    /// The place of a noun that is spelt like this.
    pub(crate) fn place(&self, word: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.count() as u32);
        while low < high {
            let middle = low.midpoint(high);
            match self.word(middle).cmp(word) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The word itself and what its exceptions, or else the rules, make of it, as far as WordNet has them.
    pub(crate) fn forms<'a>(&'a self, word: &'a str) -> Vec<Cow<'a, str>> {
        let forms: Vec<Cow<'_, str>> = match self.exceptions.get(word) {
            Some(forms) => forms.iter().map(|form| Cow::Borrowed(form.as_str())).collect(),
            None => RULES.iter().filter_map(|(old, new)| Some(Cow::Owned(format!("{}{new}", word.strip_suffix(old)?)))).collect(),
        };
        std::iter::once(Cow::Borrowed(word)).chain(forms).filter(|form| self.place(form).is_some()).collect()
    }

    /// The lemma of a word that is taken for a noun: equal to `WordNetLemmatizer().lemmatize(word)` of NLTK 3.10, which is the shortest of the
    /// word itself and what its exceptions, or else the rules, make of it, as far as WordNet has them; the word, if it has none of them.
    ///
    /// `us` becomes `u`, `has` `ha` and `sunglasses` `sunglass`: WordNet has them all.
    pub(crate) fn lemma<'a>(&'a self, word: &'a str) -> Cow<'a, str> {
        // Most words end here: no rule and no exception means no other form.
        if !self.exceptions.contains_key(word) && !word.ends_with('s') && !word.ends_with("men") {
            return Cow::Borrowed(word);
        }
        self.forms(word).into_iter().min_by_key(|form| form.chars().count()).unwrap_or(Cow::Borrowed(word))
    }
}

/// The text of one of the packed data files.
pub(crate) fn inflated(bytes: &[u8]) -> Result<String, String> {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lemmas_equal_those_of_nltk() {
        let nouns = Nouns::get().expect("they are whole");
        for (word, expected, why) in [
            ("dogs", "dog", "a rule"),
            ("churches", "church", "a longer ending"),
            ("wolves", "wolf", "`ves` becomes `f`"),
            ("ladies", "lady", "`ies` becomes `y`"),
            ("geese", "goose", "an exception"),
            ("axes", "ax", "the shortest of two exceptions"),
            ("data", "data", "WordNet has it too, and it is shorter than `datum`"),
            ("men", "men", "WordNet has it too, and the first of equally long ones counts"),
            ("firemen", "fireman", "an exception"),
            ("us", "u", "the letter"),
            ("has", "ha", "an abbreviation"),
            ("less", "less", "rules apply once; NLTK before 3.9 went on to `le`"),
            ("bus", "bus", "`bu` is no noun"),
            ("glass", "glass", "`glas` is no noun"),
            ("sunglasses", "sunglass", "the shorter of two nouns"),
            ("pants", "pant", "the shorter of two nouns"),
            ("running", "running", "no noun rule"),
            ("Dogs", "Dogs", "capitals are no nouns"),
            ("xyzzys", "xyzzys", "no noun"),
            ("ice_creams", "ice_cream", "nouns of several words are joined by `_`"),
            ("involucra", "involucra", "of its two lines the last counts, whose `involucrum` is no noun"),
            ("s", "s", "the letter"),
            ("", "", "nothing"),
        ] {
            assert_eq!(nouns.lemma(word), expected, "{why}");
        }
    }

    #[test]
    fn all_nouns_are_unpacked_and_sorted() {
        let nouns = Nouns::get().expect("they are whole");
        let count = nouns.count() as u32;
        assert_eq!((count, nouns.exceptions.len(), nouns.word(0), nouns.word(count - 1)), (117_798, 2_050, "'hood", "zyrian"));
        assert!((1..count).all(|at| nouns.word(at - 1) < nouns.word(at)), "sorted");
        assert!((0..count).step_by(97).all(|at| nouns.place(nouns.word(at)) == Some(at)));
        assert!(["zyriana", "'", ""].iter().all(|word| nouns.place(word).is_none()));
    }
}
