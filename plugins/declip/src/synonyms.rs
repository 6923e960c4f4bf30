//! A file of synonyms.

use std::collections::HashMap;
use std::path::Path;

use vlhub_sdk::prelude::*;

/// Synonyms of words, by the word in small letters.
#[derive(Debug, Default)]
pub(crate) struct Synonyms(HashMap<String, Vec<String>>);

impl Synonyms {
    /// Reads lines `word<TAB>synonym,synonym`. A word may have several lines.
    ///
    /// # Errors
    /// A file that cannot be read, and the first line that is not of this form.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error).within("`synonyms`"))?;
        Self::parse(&text).map_err(|(line, why)| Error::Options(format!("`synonyms`: line {line} of {} {why}", path.display())))
    }

    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut known: HashMap<String, Vec<String>> = HashMap::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let (word, synonyms) = line.split_once('\t').ok_or((at + 1, "has no tab between a word and its synonyms"))?;
            let word = word.trim().to_lowercase();
            // A word that is its own synonym would be replaced by nothing new.
            let mut found: Vec<String> =
                synonyms.split(',').map(str::trim).filter(|synonym| !synonym.is_empty()).map(String::from).collect();
            if word.is_empty() || found.is_empty() {
                return Err((at + 1, "has no word or no synonym"));
            }
            found.retain(|synonym| synonym.to_lowercase() != word);
            if !found.is_empty() {
                known.entry(word).or_default().extend(found);
            }
        }
        if known.is_empty() { Err((text.lines().count(), "is the last one, and no word has a synonym")) } else { Ok(Self(known)) }
    }

    /// The synonyms of a word that is in small letters; none for one that is not in the file.
    pub fn of(&self, word: &str) -> &[String] {
        self.0.get(word).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_synonyms_are_read() {
        let known = Synonyms::parse("Dog\thound, puppy ,dog\n\nhot dog\tsausage\ndog\tdoggy\r\n").expect("it is well formed");
        assert_eq!(known.of("dog"), ["hound", "puppy", "doggy"], "several lines; itself is none");
        assert_eq!(known.of("hot dog"), ["sausage"]);
        assert!(known.of("cat").is_empty());
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, line, why) in [
            ("dog\thound\ncat kitten", 2, "tab"),
            ("dog\t,", 1, "synonym"),
            ("\thound", 1, "word"),
            ("", 0, "no word"),
            ("dog\tDog\n", 1, "no word has"),
        ] {
            let (found, said) = Synonyms::parse(text).expect_err(why);
            assert!(found == line && said.contains(why), "{text:?}: line {found} {said}");
        }
    }
}
