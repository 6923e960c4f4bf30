//! Class labels from captions.

use vlhub_sdk::captions::ClassSet;
use vlhub_sdk::prelude::*;

use crate::matcher::{Matcher, Rules};
use crate::synsets::Related;

/// Subset matching: labels a sample with the classes that its captions name, and drops it where they name none (VL Hub's `--ds-filter` with
/// `--integer-labels`; Fang et al., 2022, arXiv 2205.01397).
///
/// The caption is cleaned, its words become WordNet lemmas, and each run of up to three words is compared with each class name in small letters,
/// also with an `s`, without its spaces, and turned round and joined. Several captions of one sample are searched one after another. The caption
/// itself stays as it is. VL Hub compares labels as texts, so that it loses 1 behind 12, cuts the list at 75 characters, and drops a
/// sample of one label; ours does not.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct MatchLabelsConfig {
    /// Class names in the order of labels: a list; `imagenet`, `imagenet_wordnet` (with synonyms), `in100` or another subset of VL Hub; or a file
    /// with one name a line (`.json`: a list). Synonyms of one class are separated by `, `.
    pub classes: ClassSet,
    /// `single`: the class that is named first. `multi`: all of them, in their order. `strict`: the sample is dropped unless exactly one class
    /// is named.
    pub mode: Mode,
    /// Search a cleaned copy of the caption, as the transform `clean` makes it. Otherwise it is searched as it is, in small letters.
    pub clean: bool,
    /// Turn words into WordNet lemmas: `dogs` becomes `dog`, but also `sunglasses` `sunglass`.
    pub lemmatize: bool,
    /// Look for the lemmas of class names too, without which lemmas never are `sunglasses`, `jeans` or `mashed potatoes`. VL Hub does not.
    pub lemmatize_names: bool,
    /// Most words of a name that is found, 1 to 16.
    pub ngram: usize,
    /// Whether the longest name covers those within it: `tiger shark` is then no `tiger`.
    pub longest: bool,
    /// Likeness in percent above which a run of words counts as a name, as fuzzywuzzy's `fuzz.ratio`; 0 asks for equal names. It takes some
    /// thirty times as long.
    pub fuzzy: u8,
    /// Names that stand for a class too, because WordNet relates them to its name in one of its senses: a list of `synonyms`, `hyponyms` (kinds of
    /// it) and `hypernyms` (what it is a kind of). VL Hub's option of this name is the last two, of names of one word in small letters.
    pub synsets: Vec<Related>,
    /// Keep samples whose captions name no class, without a label. `strict` then keeps those that name several, too.
    pub keep_unmatched: bool,
}

/// Which classes become labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Mode {
    /// The class that is named first; of several with one name, the first in the list.
    #[default]
    Single,
    /// All of them, in the order in which they are named.
    Multi,
    /// One, if no other is named.
    Strict,
}

impl Default for MatchLabelsConfig {
    fn default() -> Self {
        let Rules { clean, lemmatize, lemmatize_names, ngram, longest, fuzzy, synsets } = Rules::default();
        let (classes, mode) = (ClassSet::Named("imagenet".into()), Mode::default());
        Self { classes, mode, clean, lemmatize, lemmatize_names, ngram, longest, fuzzy, synsets, keep_unmatched: false }
    }
}

impl Config<dyn CaptionTransform> for MatchLabelsConfig {
    fn build(&self, cx: &CaptionCx<'_>) -> Result<Box<dyn CaptionTransform>> {
        let &Self { mode, clean, lemmatize, lemmatize_names, ngram, longest, fuzzy, keep_unmatched, .. } = self;
        let rules = Rules { clean, lemmatize, lemmatize_names, ngram, longest, fuzzy, synsets: self.synsets.clone() };
        let matcher = Matcher::new(self.classes.names(cx.folder)?, rules)?;
        Ok(Box::new(MatchLabels { matcher, mode, keep_unmatched }))
    }
}

#[derive(Debug)]
struct MatchLabels {
    matcher: Matcher,
    mode: Mode,
    keep_unmatched: bool,
}

impl MatchLabels {
    /// The classes that become labels; none if the captions are no match.
    fn labels(&self, texts: &[String]) -> Vec<i64> {
        let mut labels = Vec::new();
        for text in texts {
            let words = self.matcher.words(text);
            for found in self.matcher.find(&words) {
                for &class in found.classes.iter() {
                    if !labels.contains(&i64::from(class)) {
                        labels.push(i64::from(class));
                    }
                }
                match (self.mode, labels.len()) {
                    (Mode::Single, 1..) => return vec![labels[0]],
                    (Mode::Strict, 2..) => return Vec::new(),
                    _ => {}
                }
            }
        }
        labels
    }
}

impl CaptionTransform for MatchLabels {
    fn apply(&self, mut caption: Caption, _rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        caption.labels = self.labels(&caption.texts);
        let says_something = caption.texts.iter().any(|text| !text.trim().is_empty());
        Ok((!caption.labels.is_empty() || self.keep_unmatched && says_something).then_some(caption))
    }

    fn reads(&self) -> Wants {
        Wants::NOTHING
    }

    fn classes(&self) -> Option<&[String]> {
        Some(&self.matcher.names)
    }
}

register!(dyn CaptionTransform, "match_labels", MatchLabelsConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;

    fn labels(config: &MatchLabelsConfig, texts: &[&str]) -> Option<Vec<i64>> {
        let built = config.build(&CaptionCx::new(".".as_ref())).expect("it builds");
        let caption = Caption { texts: texts.iter().map(|text| (*text).to_owned()).collect(), labels: vec![77], ..Caption::default() };
        let before = caption.texts.clone();
        let after = built.apply(caption, &mut SplitMix64(1)).expect("it cannot fail")?;
        assert_eq!(after.texts, before, "captions stay");
        Some(after.labels)
    }

    fn config(mode: Mode) -> MatchLabelsConfig {
        MatchLabelsConfig { mode, ..MatchLabelsConfig::default() }
    }

    #[test]
    fn captions_are_labelled_as_by_vl_hub() {
        // VL Hub's matches; where it drops a sample for having one label, ours keeps it.
        for (caption, single, multi, strict) in [
            ("A photo of a dog", None, &[][..], None),
            ("two tiger sharks swimming", Some(292), &[292, 3], None),
            ("A Tench on a boat", Some(0), &[0], Some(0)),
            ("espresso machine with coffee mug", Some(967), &[967, 550, 504], None),
            ("a pair of sunglasses", None, &[], None),
            ("goldfish goldfish goldfish", Some(1), &[1], Some(1)),
            ("greatwhiteshark at the aquarium", Some(2), &[2], Some(2)),
            ("shark hammerhead caught", None, &[], None),
            ("A missile launch", Some(657), &[657, 744], None),
            ("hens and roosters in barn", Some(8), &[8, 7, 425], None),
            ("hot dog stand: hot dogs, pizza & ice cream", Some(934), &[934, 963, 928], None),
        ] {
            assert_eq!(labels(&config(Mode::Single), &[caption]), single.map(|label| vec![label]), "{caption}");
            assert_eq!(labels(&config(Mode::Multi), &[caption]).unwrap_or_default(), multi, "{caption}");
            assert_eq!(labels(&config(Mode::Strict), &[caption]), strict.map(|label| vec![label]), "{caption}");
        }
    }

    #[test]
    fn labels_are_numbers_not_texts() {
        let names = ClassSet::List((0..13).map(|number| format!("class{}", char::from(b'a' + number))).collect());
        let config = MatchLabelsConfig { classes: names, ..config(Mode::Multi) };
        assert_eq!(labels(&config, &["classm classb"]), Some(vec![12, 1]), "VL Hub finds the text `1` in `12`");
    }

    #[test]
    fn all_captions_of_a_sample_are_searched() {
        assert_eq!(labels(&config(Mode::Multi), &["a tench", "hen and tench"]), Some(vec![0, 8]));
        assert_eq!(labels(&config(Mode::Strict), &["a tench", "a hen"]), None);
        assert_eq!(labels(&config(Mode::Strict), &["a tench", "tench on grass"]), Some(vec![0]));
        assert_eq!(labels(&config(Mode::Single), &["nothing", "a hen"]), Some(vec![8]));
    }

    #[test]
    fn what_is_unmatched_may_stay() {
        let config = |mode| MatchLabelsConfig { keep_unmatched: true, ..config(mode) };
        assert_eq!(labels(&config(Mode::Single), &["a dog"]), Some(vec![]));
        assert_eq!(labels(&config(Mode::Strict), &["a tench and a hen"]), Some(vec![]));
        assert_eq!(labels(&config(Mode::Single), &[" "]), None, "an empty caption is dropped all the same");
    }

    #[test]
    fn the_names_of_the_list_are_those_of_the_labels() {
        let config = MatchLabelsConfig { classes: ClassSet::Named("in100".into()), ..config(Mode::Single) };
        let built = config.build(&CaptionCx::new(".".as_ref())).expect("it builds");
        let names = built.classes().expect("it makes labels");
        assert_eq!((names.len(), names[1].as_str()), (100, "ice cream"));
        assert_eq!(labels(&config, &["Ice creams!"]), Some(vec![1]));
    }
}
