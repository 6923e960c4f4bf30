//! Captions in small letters.

use vlhub_sdk::prelude::*;

use crate::map_texts;

/// Lower-cases captions.
///
/// CLIP's tokenizer does that by itself; others tell the case apart.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct LowerConfig {}

impl Config<dyn CaptionTransform> for LowerConfig {
    fn build(&self, _cx: &CaptionCx<'_>) -> Result<Box<dyn CaptionTransform>> {
        Ok(Box::new(Lower))
    }
}

#[derive(Debug)]
struct Lower;

impl CaptionTransform for Lower {
    fn apply(&self, caption: Caption, _rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        Ok(map_texts(caption, |text| text.to_lowercase()))
    }
}

register!(dyn CaptionTransform, "lower", LowerConfig);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::text;

    #[test]
    fn every_letter_has_the_case() {
        for (input, expected, why) in [
            ("A Photo of a DOG!", "a photo of a dog!", "letters change, the rest stays"),
            ("ÉCOLE ΣΑΣ", "école σας", "other alphabets too, with the sigma that ends a word"),
            ("İ", "i\u{307}", "one letter may become two"),
            ("already small", "already small", "nothing to do"),
        ] {
            assert_eq!(text(&LowerConfig {}, input).as_deref(), Some(expected), "{why}");
        }
    }
}
