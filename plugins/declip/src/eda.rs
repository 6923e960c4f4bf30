//! The caption transform `eda`.

use vlhub_sdk::prelude::*;
use vlhub_sdk::random::{below, chance, shuffle};

use crate::synonyms::Synonyms;

/// Text augmentation that changes a few words of each caption: Easy Data Augmentation (Wei and Zou, 2019, arXiv 1901.11196), as DeCLIP (arXiv 2110.05208) uses it.
///
/// Each text gets one of the operations, drawn with equal chance. Words are what stands between white space, and are joined by single
/// spaces. A text never loses its last word; one that has none is left out, and a caption without any text is dropped.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct EdaConfig {
    /// What is drawn from: `swap`, `delete`, `synonym`. Without a file of `synonyms` the last one is left out.
    pub operations: Vec<Operation>,
    /// Share of the words that is changed, above 0 and at most 1: each word is deleted with this probability; swaps and synonyms are this
    /// share of the words, rounded down, and at least one. textaugment, which DeCLIP uses, always takes one: the same for texts of up to 19
    /// words.
    pub rate: f64,
    /// File of synonyms, relative to the run file: lines of a word, a tab, and its synonyms with commas between them. Words are found
    /// whatever their case and the punctuation around them. Stop words have no place in it: what is listed may be replaced.
    pub synonyms: Option<String>,
}

/// An operation on the words of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Operation {
    /// Two words change places.
    Swap,
    /// Words are left out.
    Delete,
    /// A word becomes one of its synonyms, wherever it stands.
    Synonym,
}

impl Default for EdaConfig {
    fn default() -> Self {
        Self { operations: vec![Operation::Swap, Operation::Delete, Operation::Synonym], rate: 0.1, synonyms: None }
    }
}

impl Config<dyn CaptionTransform> for EdaConfig {
    fn build(&self, cx: &CaptionCx<'_>) -> Result<Box<dyn CaptionTransform>> {
        if !(self.rate > 0.0 && self.rate <= 1.0) {
            return Err(Error::Options(format!("`rate` = {} is a share, above 0 and at most 1", self.rate)));
        }
        let mut operations = self.operations.clone();
        if self.synonyms.is_none() {
            operations.retain(|operation| *operation != Operation::Synonym);
        }
        if operations.is_empty() {
            let why = if self.operations.is_empty() {
                "`operations` is empty"
            } else {
                "`operations` has only `synonym`, and no file of `synonyms` is named"
            };
            return Err(Error::Options(format!("{why}; nothing could be drawn")));
        }
        let used = self.synonyms.as_ref().filter(|_| operations.contains(&Operation::Synonym));
        let synonyms = used.map(|path| Synonyms::read(&cx.folder.join(path))).transpose()?.unwrap_or_default();
        Ok(Box::new(Eda { operations, rate: self.rate, synonyms }))
    }
}

#[derive(Debug)]
struct Eda {
    operations: Vec<Operation>,
    rate: f64,
    synonyms: Synonyms,
}

impl Eda {
    fn change(&self, text: &str, rng: &mut dyn RngCore) -> String {
        let mut words: Vec<String> = text.split_whitespace().map(String::from).collect();
        let count = ((self.rate * words.len() as f64) as usize).max(1);
        match self.operations[below(rng, self.operations.len() as u64) as usize] {
            Operation::Swap => swap(&mut words, count, rng),
            Operation::Delete => delete(&mut words, self.rate, rng),
            Operation::Synonym => self.replace(&mut words, count, rng),
        }
        words.join(" ")
    }

    /// Replaces up to `count` different words, each wherever it stands.
    fn replace(&self, words: &mut [String], count: usize, rng: &mut dyn RngCore) {
        let mut known: Vec<String> = Vec::new();
        for word in words.iter().map(|word| core(word).to_lowercase()) {
            if !self.synonyms.of(&word).is_empty() && !known.contains(&word) {
                known.push(word);
            }
        }
        shuffle(rng, &mut known);
        known.truncate(count);
        let drawn: Vec<(String, &String)> = known
            .into_iter()
            .map(|word| {
                let synonyms = self.synonyms.of(&word);
                let synonym = &synonyms[below(rng, synonyms.len() as u64) as usize];
                (word, synonym)
            })
            .collect();
        for word in words {
            let inner = core(word);
            let Some((_, synonym)) = drawn.iter().find(|(known, _)| *known == inner.to_lowercase()) else { continue };
            let start = inner.as_ptr() as usize - word.as_ptr() as usize;
            *word = format!("{}{synonym}{}", &word[..start], &word[start + inner.len()..]);
        }
    }
}

/// The word without the punctuation around it.
fn core(word: &str) -> &str {
    word.trim_matches(|letter: char| !letter.is_alphanumeric())
}

fn swap(words: &mut [String], count: usize, rng: &mut dyn RngCore) {
    if words.len() < 2 {
        return;
    }
    for _ in 0..count {
        let first = below(rng, words.len() as u64) as usize;
        // Any place but the first one.
        let second = (first + 1 + below(rng, words.len() as u64 - 1) as usize) % words.len();
        words.swap(first, second);
    }
}

fn delete(words: &mut Vec<String>, rate: f64, rng: &mut dyn RngCore) {
    if words.len() < 2 {
        return;
    }
    let spare = below(rng, words.len() as u64) as usize;
    let stays: Vec<bool> = words.iter().map(|_| !chance(rng, rate)).collect();
    let none = !stays.contains(&true);
    let mut at = 0;
    words.retain(|_| {
        at += 1;
        stays[at - 1] || (none && at - 1 == spare)
    });
}

impl CaptionTransform for Eda {
    fn apply(&self, mut caption: Caption, rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        caption.texts.retain(|text| !text.trim().is_empty());
        for text in &mut caption.texts {
            *text = self.change(text, rng);
        }
        Ok((!caption.texts.is_empty()).then_some(caption))
    }
}

register!(dyn CaptionTransform, "eda", EdaConfig);

#[cfg(test)]
mod tests;
