//! The data-set cipher of VL Hub: letters as signs, of which pretrained knowledge of words is of no use.

use vlhub_sdk::captions::ClassSet;
use vlhub_sdk::prelude::*;

use crate::matcher::{Matcher, Rules};

/// Data-set cipher: writes each letter of class names as two signs, `tench` as `%)@&#($^%&` (VL Hub's `--ds-cipher`).
///
/// With `part = "classes"` the rest of the caption is kept as it was searched: cleaned, in lemmas. A name that begins within a word that is
/// enciphered already stays, as in VL Hub, which also enciphers names inside longer words (`hen` in `kitchen`) and cuts at 75
/// characters; ours does not.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct DsCipherConfig {
    /// What is enciphered. `classes`: the class names that a caption has; a caption without one is dropped. `caption`: all its letters, of which
    /// capitals become small.
    pub part: Part,
    /// Class names, as in `match_labels`.
    pub classes: ClassSet,
    /// Search a cleaned copy of the caption, as the transform `clean` makes it. Otherwise it is searched as it is, in small letters.
    pub clean: bool,
    /// Turn words into WordNet lemmas.
    pub lemmatize: bool,
    /// Look for the lemmas of class names too.
    pub lemmatize_names: bool,
    /// Most words of a name that is found, 1 to 16.
    pub ngram: usize,
    /// Whether the longest name covers those within it.
    pub longest: bool,
}

/// What is enciphered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Part {
    /// Class names.
    #[default]
    Classes,
    /// All letters.
    Caption,
}

impl Default for DsCipherConfig {
    fn default() -> Self {
        let Rules { clean, lemmatize, lemmatize_names, ngram, longest, .. } = Rules::default();
        Self { part: Part::Classes, classes: ClassSet::Named("imagenet".into()), clean, lemmatize, lemmatize_names, ngram, longest }
    }
}

impl Config<dyn CaptionTransform> for DsCipherConfig {
    fn build(&self, cx: &CaptionCx<'_>) -> Result<Box<dyn CaptionTransform>> {
        let &Self { part, clean, lemmatize, lemmatize_names, ngram, longest, .. } = self;
        let rules = Rules { clean, lemmatize, lemmatize_names, ngram, longest, ..Rules::default() };
        let matcher = match part {
            Part::Classes => Some(Matcher::new(self.classes.names(cx.folder)?, rules)?),
            Part::Caption => None,
        };
        Ok(Box::new(DsCipher(matcher)))
    }
}

/// The classes whose names are enciphered; all letters without them.
#[derive(Debug)]
struct DsCipher(Option<Matcher>);

impl DsCipher {
    fn rewrite(&self, text: &str) -> Option<String> {
        let Some(matcher) = &self.0 else { return Some(enciphered(&text.to_lowercase())) };
        let words = matcher.words(text);
        let mut out: Vec<String> = words.each().map(str::to_owned).collect();
        let mut done = vec![false; out.len()];
        for found in matcher.find(&words) {
            if !done[found.words.clone()].contains(&true) {
                out[found.words.clone()].iter_mut().for_each(|word| *word = enciphered(word));
                done[found.words].fill(true);
            }
        }
        done.contains(&true).then(|| out.join(" "))
    }
}

/// Each of the 26 small letters as its two signs; the rest stays.
fn enciphered(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for letter in text.chars() {
        if letter.is_ascii_lowercase() {
            let place = usize::from(letter as u8 - b'a');
            out.push(['@', '#', '$', '%'][place % 4]);
            out.push(['^', '&', '*', '(', ')', '+', '='][place / 4]);
        } else {
            out.push(letter);
        }
    }
    out
}

impl CaptionTransform for DsCipher {
    fn apply(&self, mut caption: Caption, _rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        let texts = caption.texts.iter().filter_map(|text| self.rewrite(text));
        caption.texts = texts.filter(|text| !text.trim().is_empty()).collect();
        Ok((!caption.texts.is_empty()).then_some(caption))
    }

    fn reads(&self) -> Wants {
        Wants::NOTHING
    }
}

register!(dyn CaptionTransform, "ds_cipher", DsCipherConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;

    fn cipher(config: &DsCipherConfig, text: &str) -> Option<String> {
        let caption = Caption { texts: vec![text.into()], ..Caption::default() };
        let built = config.build(&CaptionCx::new(".".as_ref())).expect("it builds");
        built.apply(caption, &mut SplitMix64(1)).expect("it cannot fail").map(|caption| caption.texts.concat())
    }

    #[test]
    fn class_names_are_enciphered_as_by_vl_hub() {
        // Outputs of VL Hub's `synset_ds` with `cipher=True`.
        for (input, expected, why) in [
            ("a tench", Some("a %)@&#($^%&"), "one name"),
            ("goldfish in a bowl", Some("$&$(%*%^#&@*$)%& in a bowl"), "the first word"),
            ("great white shark", Some("$&#)@&@^%) $+%&@*%)@& $)%&@^#)$*"), "three words"),
            ("hot dogs and pizza", Some("%&$(%) %^$($& and %(@*#=#=@^"), "lemmas"),
            ("a cat", None, "no class"),
            ("Rooster!", Some("#)$($($)%)@&#)"), "cleaned"),
            ("two hens", Some("two %&@&#("), "a plural"),
            ("tiger shark", Some("%)@*$&@&#) shark"), "`tiger` is done before `tiger shark` is seen"),
            ("a photo of a goldfish", Some("a photo of a $&$(%*%^#&@*$)%&"), "a caption"),
            ("bow tie", Some("#^$($+ %)@*@&"), "two words"),
            ("3 tench", Some("%)@&#($^%&"), "numbers are cleaned away"),
        ] {
            assert_eq!(cipher(&DsCipherConfig::default(), input).as_deref(), expected, "{why}");
        }
        let longest = DsCipherConfig { longest: true, ..DsCipherConfig::default() };
        assert_eq!(cipher(&longest, "tiger shark").as_deref(), Some("%)@*$&@&#) $)%&@^#)$*"));
        assert_eq!(
            cipher(&DsCipherConfig::default(), "a hen in the kitchen").as_deref(),
            Some("a %&@&#( in the kitchen"),
            "VL Hub: `kitc%&@&#(`"
        );
    }

    #[test]
    fn whole_captions_are_enciphered_letter_by_letter() {
        let config = DsCipherConfig { part: Part::Caption, ..DsCipherConfig::default() };
        assert_eq!(cipher(&config, "A Cat, zoo! 7é").as_deref(), Some("@^ $^@^%), #=$($(! 7é"));
        assert_eq!(cipher(&config, " "), None);
    }
}
