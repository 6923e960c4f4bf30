//! Captions that say no more than the classes.

use vlhub_sdk::captions::ClassSet;
use vlhub_sdk::prelude::*;

use crate::match_labels::Mode;
use crate::matcher::{Matcher, Rules};
use crate::synsets::Related;

/// Simple captions: `An image of CLASS, CLASS` from the class names that a caption has (VL Hub's `--simplecaptions`).
///
/// A caption without one is dropped. Names are found as `match_labels` finds them, and written as the list has them, each once. VL Hub
/// writes no comma, writes the lemmas that it found instead of the class's name, and leaves out a name that is part of one before it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct SimpleConfig {
    /// Class names, as in `match_labels`. Of synonyms the first is written.
    pub classes: ClassSet,
    /// `multi`: all classes that the caption names, in their order. `single`: the first of them. `strict`: the caption is dropped unless it
    /// names exactly one class.
    pub mode: Mode,
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
    /// Names that stand for a class too, as in `match_labels`.
    pub synsets: Vec<Related>,
}

impl Default for SimpleConfig {
    fn default() -> Self {
        let Rules { clean, lemmatize, lemmatize_names, ngram, longest, synsets, .. } = Rules::default();
        Self { classes: ClassSet::Named("imagenet".into()), mode: Mode::Multi, clean, lemmatize, lemmatize_names, ngram, longest, synsets }
    }
}

impl Config<dyn CaptionTransform> for SimpleConfig {
    fn build(&self, cx: &CaptionCx<'_>) -> Result<Box<dyn CaptionTransform>> {
        let &Self { mode, clean, lemmatize, lemmatize_names, ngram, longest, .. } = self;
        let rules = Rules { clean, lemmatize, lemmatize_names, ngram, longest, synsets: self.synsets.clone(), ..Rules::default() };
        Ok(Box::new(Simple { matcher: Matcher::new(self.classes.names(cx.folder)?, rules)?, mode }))
    }
}

#[derive(Debug)]
struct Simple {
    matcher: Matcher,
    mode: Mode,
}

impl Simple {
    fn rewrite(&self, text: &str) -> Option<String> {
        let words = self.matcher.words(text);
        let mut names: Vec<&str> = Vec::new();
        for found in self.matcher.find(&words) {
            for &class in found.classes.iter() {
                let name = self.matcher.first_name(class);
                // Two classes may have one name, which is written once.
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        match self.mode {
            Mode::Single => names.truncate(1),
            Mode::Strict if names.len() > 1 => return None,
            Mode::Strict | Mode::Multi => {}
        }
        (!names.is_empty()).then(|| format!("An image of {}", names.join(", ")))
    }
}

impl CaptionTransform for Simple {
    fn apply(&self, mut caption: Caption, _rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        caption.texts = caption.texts.iter().filter_map(|text| self.rewrite(text)).collect();
        Ok((!caption.texts.is_empty()).then_some(caption))
    }

    fn reads(&self) -> Wants {
        Wants::NOTHING
    }
}

register!(dyn CaptionTransform, "simple", SimpleConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;

    fn simple(mode: Mode, text: &str) -> Option<String> {
        let config = SimpleConfig { mode, ..SimpleConfig::default() };
        let caption = Caption { texts: vec![text.into()], ..Caption::default() };
        let built = config.build(&CaptionCx::new(".".as_ref())).expect("it builds");
        built.apply(caption, &mut SplitMix64(1)).expect("it cannot fail").map(|caption| caption.texts.concat())
    }

    #[test]
    fn the_classes_of_a_caption_make_a_sentence() {
        for (caption, multi, single, strict) in [
            ("two tiger sharks swimming", "An image of tiger, tiger shark", "An image of tiger", ""),
            ("A Tench on a boat", "An image of tench", "An image of tench", "An image of tench"),
            ("greatwhiteshark!", "An image of great white shark", "An image of great white shark", "An image of great white shark"),
            ("A missile launch", "An image of missile", "An image of missile", "An image of missile"),
            ("a cd player and a husky", "An image of CD player, husky", "An image of CD player", ""),
            ("A photo of a dog", "", "", ""),
        ] {
            for (mode, expected) in [(Mode::Multi, multi), (Mode::Single, single), (Mode::Strict, strict)] {
                assert_eq!(simple(mode, caption).unwrap_or_default(), expected, "{mode:?}: {caption}");
            }
        }
    }
}
