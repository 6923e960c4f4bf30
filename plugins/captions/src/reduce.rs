//! One token id of a caption.

use vlhub_sdk::prelude::*;

use crate::truncate::Truncate;

/// Keeps the first token id of a caption alone, between start and end token (VL Hub's `--token-reduce`).
///
/// VL Hub keeps the start token alone, so that every caption is the same.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ReduceConfig {}

impl Config<dyn CaptionTransform> for ReduceConfig {
    fn build(&self, _cx: &CaptionCx<'_>) -> Result<Box<dyn CaptionTransform>> {
        Ok(Box::new(Truncate { tokens: 1 }))
    }
}

register!(dyn CaptionTransform, "reduce", ReduceConfig);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::ids;

    #[test]
    fn one_id_is_left() {
        for (input, expected) in [(&[320, 1125, 539][..], &[320][..]), (&[1149], &[1149]), (&[], &[])] {
            assert_eq!(ids(&ReduceConfig {}, input, 0), expected);
        }
    }
}
