//! What the options of both towers must fulfil.

use vlhub_sdk::nn::{Activation, BlockConfig, Start};
use vlhub_sdk::prelude::*;

/// The dimensions that both towers have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dimensions {
    pub width: i64,
    pub layers: i64,
    pub heads: i64,
    pub mlp_ratio: f64,
    pub quick_gelu: bool,
    pub dropout: f64,
}

impl Dimensions {
    /// What all blocks have in common.
    pub fn block(&self, start: Start) -> BlockConfig {
        BlockConfig {
            width: self.width,
            heads: self.heads,
            mlp_width: self.mlp_width(),
            activation: if self.quick_gelu { Activation::QuickGelu } else { Activation::Gelu },
            dropout: self.dropout,
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
        problems.share("dropout", self.dropout);
    }
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
