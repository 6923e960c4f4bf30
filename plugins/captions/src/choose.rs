//! A choice of one caption out of several.

use vlhub_sdk::prelude::*;
use vlhub_sdk::random::below;

use crate::with_texts;

/// Chooses one of several captions.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ChooseConfig {
    /// `random`: each has the same chance. `first`: the first that is not empty. `longest`: the one with the most characters.
    pub pick: Pick,
}

/// How one caption is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Pick {
    /// Each has the same chance.
    #[default]
    Random,
    /// The first that is not empty.
    First,
    /// The one with the most characters; the first of several.
    Longest,
}

impl Config<dyn CaptionTransform> for ChooseConfig {
    fn build(&self, _cx: &CaptionCx<'_>) -> Result<Box<dyn CaptionTransform>> {
        Ok(Box::new(Choose(self.pick)))
    }
}

#[derive(Debug)]
struct Choose(Pick);

impl CaptionTransform for Choose {
    fn apply(&self, mut caption: Caption, rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        let texts = std::mem::take(&mut caption.texts);
        // Empty ones first leave, so that they have no chance.
        let Some(mut caption) = with_texts(caption, texts) else { return Ok(None) };
        let lengths = caption.texts.iter().map(|text| text.chars().count());
        let at = match self.0 {
            Pick::Random => below(rng, caption.texts.len() as u64) as usize,
            Pick::First => 0,
            Pick::Longest => lengths.enumerate().min_by_key(|(_, length)| std::cmp::Reverse(*length)).map_or(0, |(at, _)| at),
        };
        caption.texts = vec![caption.texts.swap_remove(at)];
        Ok(Some(caption))
    }
}

register!(dyn CaptionTransform, "choose", ChooseConfig);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::texts;

    #[test]
    fn a_fixed_choice_is_the_same_for_every_seed() {
        for (pick, input, expected, why) in [
            (Pick::First, &["a", "bb", "cc"][..], "a", "the first"),
            (Pick::First, &["", " ", "b"], "b", "the first that says something"),
            (Pick::Longest, &["a", "bb", "cc"], "bb", "the first of the longest"),
            (Pick::Longest, &["abc", "éé"], "abc", "characters count, not bytes"),
        ] {
            for seed in 0..5 {
                assert_eq!(texts(&ChooseConfig { pick }, input, seed), Some(vec![expected.to_owned()]), "{why}");
            }
        }
    }

    #[test]
    fn a_random_choice_gives_each_the_same_chance_and_empty_ones_none() {
        let mut count = [0; 2];
        for seed in 0..2000 {
            let chosen = texts(&ChooseConfig::default(), &["a", "", "b"], seed * 7919).expect("there is something to choose");
            count[usize::from(chosen == ["b"])] += 1;
            assert!(chosen == ["a"] || chosen == ["b"], "{chosen:?}");
        }
        assert!(count.iter().all(|count| (850..1150).contains(count)), "{count:?}");
    }
}
