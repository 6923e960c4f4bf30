//! Token ids in random order.

use vlhub_sdk::prelude::*;
use vlhub_sdk::random::shuffle;

/// Shuffles the token ids of a caption; start, end and padding keep their places.
///
/// VL Hub (`--token-scrambled`) shuffles a PyTorch tensor by `random.shuffle`, which repeats some ids, loses others, and moves the end token, from which
/// the text tower takes its output.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ScrambleTokensConfig {}

impl Config<dyn CaptionTransform> for ScrambleTokensConfig {
    fn build(&self, _cx: &CaptionCx<'_>) -> Result<Box<dyn CaptionTransform>> {
        Ok(Box::new(ScrambleTokens))
    }
}

#[derive(Debug)]
struct ScrambleTokens;

impl CaptionTransform for ScrambleTokens {
    fn apply(&self, caption: Caption, _rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        Ok(crate::unchanged(caption))
    }

    fn ids(&self, mut ids: Vec<i64>, rng: &mut dyn RngCore) -> Result<Vec<i64>> {
        shuffle(rng, &mut ids);
        Ok(ids)
    }

    fn reads(&self) -> Wants {
        Wants::NOTHING
    }
}

register!(dyn CaptionTransform, "scramble_tokens", ScrambleTokensConfig);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{ids, text};

    #[test]
    fn ids_change_places_and_none_is_lost() {
        let before = [320, 1125, 539, 320, 1929, 269];
        let mut orders = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let after = ids(&ScrambleTokensConfig {}, &before, seed * 7919);
            let (mut left, mut right) = (before.to_vec(), after.clone());
            left.sort_unstable();
            right.sort_unstable();
            assert_eq!(left, right);
            orders.insert(after);
        }
        assert!(orders.len() > 100, "{} of 360 orders in 200 draws", orders.len());
        assert!(ids(&ScrambleTokensConfig {}, &[], 1).is_empty());
        assert_eq!(text(&ScrambleTokensConfig {}, "a dog").as_deref(), Some("a dog"), "the text itself stays");
    }
}
