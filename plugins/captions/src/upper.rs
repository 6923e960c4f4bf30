//! Captions in capital letters.

use vlhub_sdk::prelude::*;

use crate::map_texts;

/// Upper-cases captions.
///
/// CLIP's tokenizer undoes it; others tell the case apart.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct UpperConfig {}

impl Config<dyn CaptionTransform> for UpperConfig {
    fn build(&self, _cx: &CaptionCx<'_>) -> Result<Box<dyn CaptionTransform>> {
        Ok(Box::new(Upper))
    }
}

#[derive(Debug)]
struct Upper;

impl CaptionTransform for Upper {
    fn apply(&self, caption: Caption, _rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        Ok(map_texts(caption, |text| text.to_uppercase()))
    }
}

register!(dyn CaptionTransform, "upper", UpperConfig);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::text;

    #[test]
    fn every_letter_has_the_case() {
        for (input, expected, why) in [
            ("a photo of a dog!", "A PHOTO OF A DOG!", "letters change, the rest stays"),
            ("école", "ÉCOLE", "other alphabets too"),
            ("straße", "STRASSE", "one letter may become two"),
            ("TENCH", "TENCH", "nothing to do"),
        ] {
            assert_eq!(text(&UpperConfig {}, input).as_deref(), Some(expected), "{why}");
        }
    }
}
