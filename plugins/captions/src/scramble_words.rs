//! Words in random order.

use vlhub_sdk::prelude::*;
use vlhub_sdk::random::shuffle;

use crate::map_texts;

/// Shuffles the words of captions (VL Hub's `--csv-scrambled`): a bag of words is left.
///
/// Words are what stands between spaces, so that two spaces hold an empty word that moves too, as in VL Hub.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ScrambleWordsConfig {}

impl Config<dyn CaptionTransform> for ScrambleWordsConfig {
    fn build(&self, _cx: &CaptionCx<'_>) -> Result<Box<dyn CaptionTransform>> {
        Ok(Box::new(ScrambleWords))
    }
}

#[derive(Debug)]
struct ScrambleWords;

impl CaptionTransform for ScrambleWords {
    fn apply(&self, caption: Caption, rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        Ok(map_texts(caption, |text| {
            let mut words: Vec<&str> = text.split(' ').collect();
            shuffle(rng, &mut words);
            words.join(" ").trim().to_owned()
        }))
    }

    fn reads(&self) -> Wants {
        Wants::NOTHING
    }
}

register!(dyn CaptionTransform, "scramble_words", ScrambleWordsConfig);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::check::texts;

    #[test]
    fn every_order_of_the_words_has_the_same_chance() {
        let mut orders: BTreeMap<String, usize> = BTreeMap::new();
        for seed in 0..6000 {
            let text = texts(&ScrambleWordsConfig {}, &["one two three"], seed * 7919).expect("words are left").concat();
            *orders.entry(text).or_default() += 1;
        }
        assert_eq!(orders.len(), 6, "{orders:?}");
        assert!(orders.values().all(|count| (850..1150).contains(count)), "{orders:?}");
    }

    #[test]
    fn no_word_is_lost() {
        for (input, expected) in [("b  a", &["", "a", "b"][..]), ("hello", &["hello"]), ("a\tb c", &["a\tb", "c"])] {
            let text = texts(&ScrambleWordsConfig {}, &[input], 5).expect("words are left").concat();
            // A space at an end is an empty word there, which the trimming takes.
            let mut words: Vec<&str> = text.split(' ').collect();
            words.sort_unstable();
            assert!(words == expected || words == expected[1..], "{text:?}");
        }
    }
}
