//! The first token ids of a caption.

use vlhub_sdk::prelude::*;

/// Keeps the first token ids of a caption (VL Hub's `--token-trunc`); the start token stands before them and the end token behind.
///
/// Short texts are enough to learn from, and cheaper (CLIPA, Li et al., 2023, arXiv 2305.07017). VL Hub takes an id that is 0 within a text for
/// padding and leaves it out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct TruncateConfig {
    /// Most ids that are kept, without the start and the end token; at least 1.
    pub tokens: usize,
}

impl Default for TruncateConfig {
    fn default() -> Self {
        Self { tokens: 16 }
    }
}

impl Config<dyn CaptionTransform> for TruncateConfig {
    fn build(&self, _cx: &CaptionCx<'_>) -> Result<Box<dyn CaptionTransform>> {
        if self.tokens == 0 {
            return Err(Error::Options("`tokens` is 0; keep at least 1, or leave `truncate` out".into()));
        }
        Ok(Box::new(Truncate { tokens: self.tokens }))
    }
}

#[derive(Debug)]
pub(crate) struct Truncate {
    pub tokens: usize,
}

impl CaptionTransform for Truncate {
    fn apply(&self, caption: Caption, _rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        Ok(crate::unchanged(caption))
    }

    fn ids(&self, mut ids: Vec<i64>, _rng: &mut dyn RngCore) -> Result<Vec<i64>> {
        ids.truncate(self.tokens);
        Ok(ids)
    }

    fn reads(&self) -> Wants {
        Wants::NOTHING
    }
}

register!(dyn CaptionTransform, "truncate", TruncateConfig);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::ids;

    #[test]
    fn the_first_ids_are_those_of_vl_hub() {
        // Ids within the frame; outputs of VL Hub's `token_trunc_func`.
        let long = [637, 1237, 2097, 2721, 3127, 4093, 5757, 7910, 7330, 2581];
        for (tokens, input, expected) in [
            (3, &[320, 1125, 539, 320, 1929, 269][..], &[320, 1125, 539][..]),
            (3, &[1149, 634], &[1149, 634]),
            (1, &[320, 2103, 1125], &[320]),
            (3, &long, &[637, 1237, 2097]),
            (1, &[], &[]),
            (75, &long, &long),
        ] {
            assert_eq!(ids(&TruncateConfig { tokens }, input, 0), expected, "{tokens} of {input:?}");
        }
        // A real id 0, which VL Hub takes for padding.
        assert_eq!(ids(&TruncateConfig { tokens: 3 }, &[5, 0, 7, 8], 0), [5, 0, 7]);
        let error = TruncateConfig { tokens: 0 }.build(&CaptionCx::new(".".as_ref())).expect_err("nothing is left").to_string();
        assert!(error.contains("`tokens` is 0"), "{error}");
    }
}
