//! What the options of both towers have in common, and what they must fulfil.

use vlhub_sdk::nn::{Activation, BlockConfig, BlockExtras, Start};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;
use vlhub_sdk::serde::Deserializer;

/// The dimensions that both towers have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dimensions {
    pub width: i64,
    pub layers: i64,
    pub heads: i64,
    pub mlp_ratio: f64,
    pub quick_gelu: bool,
    pub gelu_tanh: bool,
    pub dropout: f64,
    pub layer_scale: f64,
    pub norm_eps: f64,
    pub extras: BlockExtras,
}

impl Dimensions {
    /// What all blocks have in common.
    pub fn block(&self, start: Start) -> BlockConfig {
        BlockConfig {
            width: self.width,
            heads: self.heads,
            mlp_width: self.mlp_width(),
            activation: match (self.quick_gelu, self.gelu_tanh) {
                (true, _) => Activation::QuickGelu,
                (false, true) => Activation::GeluTanh,
                (false, false) => Activation::Gelu,
            },
            dropout: self.dropout,
            layer_scale: (self.layer_scale != 0.0).then_some(self.layer_scale),
            epsilon: self.norm_eps,
            extras: self.extras,
            start,
        }
    }

    fn mlp_width(&self) -> i64 {
        (self.width as f64 * self.mlp_ratio) as i64
    }

    /// Adds what is wrong with them.
    pub fn check(&self, problems: &mut OptionProblems) {
        problems.at_least_one(&[("width", self.width), ("layers", self.layers), ("heads", self.heads)]);
        problems.divides(("heads", self.heads), ("width", self.width));
        problems.mlp_ratio("mlp_ratio", self.width, self.mlp_ratio);
        problems.ensure(!(self.quick_gelu && self.gelu_tanh), || "`quick_gelu` and `gelu_tanh` are two activations; choose one".into());
        let attention = self.extras.attention;
        problems.ensure(!(attention.qk_norm && attention.scaled_cosine), || {
            "`qk_norm` and `scaled_cosine_attn` both normalise queries and keys; choose one".into()
        });
        problems.positive("norm_eps", self.norm_eps);
        problems.finite("layer_scale", self.layer_scale);
        problems.share("dropout", self.dropout);
    }
}

/// Reads `null` as 0, which is how open_clip's configurations write that there is none.
pub(crate) fn zero_if_null<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(0.0))
}
