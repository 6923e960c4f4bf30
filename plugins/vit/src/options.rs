//! What the options of both towers have in common, and what they must fulfil.

use vlhub_sdk::nn::Activation;
use vlhub_sdk::prelude::*;
use vlhub_sdk::serde::Deserializer;

use crate::block::{BlockConfig, Extras, Start};

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
    pub extras: Extras,
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
    pub fn check(&self, problems: &mut Problems) {
        problems.at_least_one(&[("width", self.width), ("layers", self.layers), ("heads", self.heads)]);
        if self.heads > 0 && self.width % self.heads != 0 {
            problems.add(format!("`heads` = {} does not divide `width` = {}", self.heads, self.width));
        }
        if self.mlp_width() < 1 {
            problems.add(format!("`mlp_ratio` = {} leaves no width inside the MLP", self.mlp_ratio));
        }
        if self.quick_gelu && self.gelu_tanh {
            problems.add("`quick_gelu` and `gelu_tanh` are two activations; choose one".into());
        }
        if self.extras.qk_norm && self.extras.scaled_cosine_attn {
            problems.add("`qk_norm` and `scaled_cosine_attn` both normalise queries and keys; choose one".into());
        }
        if self.norm_eps.is_nan() || self.norm_eps <= 0.0 {
            problems.add(format!("`norm_eps` = {} must be above 0", self.norm_eps));
        }
        if !self.layer_scale.is_finite() {
            problems.add(format!("`layer_scale` = {} must be a finite number", self.layer_scale));
        }
        problems.share("dropout", self.dropout);
    }
}

/// Reads `null` as 0, which is how open_clip's configurations write that there is none.
pub(crate) fn zero_if_null<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(0.0))
}

/// Everything that is wrong with a table of options, to be told at once.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    pub fn add(&mut self, problem: String) {
        self.0.push(problem);
    }

    pub fn at_least_one(&mut self, options: &[(&str, i64)]) {
        for (name, value) in options {
            if *value < 1 {
                self.add(format!("`{name}` = {value} must be at least 1"));
            }
        }
    }

    pub fn share(&mut self, name: &str, value: f64) {
        if !(0.0..1.0).contains(&value) {
            self.add(format!("`{name}` = {value} must be at least 0 and below 1"));
        }
    }

    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Options(self.0.join("; "))) }
    }
}
