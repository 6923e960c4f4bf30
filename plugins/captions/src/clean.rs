//! VL Hub's cleaning of captions.

use vlhub_sdk::captions::clean;
use vlhub_sdk::prelude::*;

use crate::map_texts;

/// Cleans captions as the Python VL Hub did: small letters, no punctuation, no web leftovers, no numbers, no word of 30 or more characters.
///
/// Spaces are neither added nor merged, so that the texts equal those of VL Hub to the character. A caption of which nothing is left is
/// dropped.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct CleanConfig {}

impl Config<dyn CaptionTransform> for CleanConfig {
    fn build(&self, _cx: &CaptionCx<'_>) -> Result<Box<dyn CaptionTransform>> {
        Ok(Box::new(Clean))
    }
}

#[derive(Debug)]
struct Clean;

impl CaptionTransform for Clean {
    fn apply(&self, caption: Caption, _rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        Ok(map_texts(caption, |text| clean(&text)))
    }

    fn reads(&self) -> Wants {
        Wants::NOTHING
    }
}

register!(dyn CaptionTransform, "clean", CleanConfig);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_equal_those_of_vl_hub() {
        // Outputs of VL Hub's own `clean_captions`.
        for (input, expected, why) in [
            ("A photo of a DOG!", "a photo of a dog", "small letters; a space at the end is stripped"),
            ("Hello, World... 2023", "hello  world   ", "the number leaves after the stripping, its space stays"),
            ("it's my dog's bed", "its my dogs bed", "apostrophes are deleted"),
            ("http://www.flickr.com/photos/123 Beach at dawn", "comphotos123 beach at dawn", "without slashes the address is glued"),
            ("12 st james", "street james", "a number and an abbreviation"),
            ("bois de boulogne, paris", "boisboulogne  paris", "`de` leaves with both its spaces"),
            ("café de flore", "caféflore", "accents stay"),
            ("foo_bar-baz;qux", "foo bar baz qux", "these become spaces"),
            ("100% cotton (new) [tag]", "100% cotton new tag", "with its sign it is no number"),
            ("   multiple   spaces  ", "multiple   spaces", "only the ends are stripped"),
            ("supercalifragilisticexpialidocious2023xyz word", "word", "a word of 30 or more"),
            ("www flickr com test", "www test", "a rule needs a space on both sides"),
            ("½ price ² test", "price test", "these are numbers too"),
            ("line1\nline2", "line1 line2", "a line end is a space"),
            ("C&A @home #1", "ca home", "signs leave before numbers are seen"),
            ("None", "none", "a missing caption that was written out"),
            ("NaN", "nan", "a missing caption that was written out"),
            ("st bernard on main st corner", "st bernard on main street corner", "the first has no space before it"),
            ("“smart quotes” – dash", "“smart quotes” – dash", "these are not on the list"),
            ("", "", "nothing"),
        ] {
            assert_eq!(clean(input), expected, "{why}");
        }
    }

    #[test]
    fn the_edges_of_the_rules_are_where_vl_hub_has_them() {
        for (input, expected, why) in [
            ("abcdefghijklmnopqrstuvwxyzabc dog", "abcdefghijklmnopqrstuvwxyzabc dog", "29 characters stay"),
            ("abcdefghijklmnopqrstuvwxyzabcd dog", "dog", "30 leave"),
            ("éééééééééééééééééééééééééééée dog", "éééééééééééééééééééééééééééée dog", "characters count, not bytes"),
            ("tab\there", "tab\there", "a tab is not on the list"),
            ("三 dogs", "dogs", "an ideograph that is a number"),
            ("a www www b", "a www b", "two that share a space: the first is replaced"),
            ("3 dogs 44 ٣", "dogs", "digits of any script"),
        ] {
            assert_eq!(clean(input), expected, "{why}");
        }
    }

    #[test]
    fn a_caption_of_which_nothing_is_left_is_dropped() {
        for input in ["2023", "@#'", "...", "1 2 3", "http"] {
            assert_eq!(crate::check::text(&CleanConfig {}, input), None, "{input}");
        }
        assert_eq!(crate::check::texts(&CleanConfig {}, &["...", "Dog"], 0), Some(vec!["dog".to_owned()]), "the others stay");
    }
}
