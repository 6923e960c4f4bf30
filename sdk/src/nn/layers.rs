//! A linear map, layer norm, the two kinds of GELU, and dropout.

use tch::Tensor;
use tch::nn::{Init, Path};

use super::parameter;
use crate::{Noise, Result};

/// Maps `[…, input]` to `[…, output]`. Parameters: `weight`, `bias`.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Makes `weight` `[output, input]` and `bias` `[output]`.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, input: i64, output: i64, weight: Init, bias: Init) -> Result<Self> {
        Ok(Self { weight: parameter(path, "weight", &[output, input], weight)?, bias: parameter(path, "bias", &[output], bias)? })
    }

    /// `x · weightᵀ + bias`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }
}

/// The bounds between which torch draws the weights and biases of a linear map or a convolution of `fan_in` inputs: Kaiming's with `a = √5`.
pub fn default_bound(fan_in: i64) -> Init {
    let bound = (fan_in as f64).sqrt().recip();
    Init::Uniform { lo: -bound, up: bound }
}

/// Layer norm over the last dimension, with ε = 1e-5. Parameters: `weight`, `bias`.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// Makes `weight` and `bias` `[width]`, ones and zeros.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, width: i64) -> Result<Self> {
        Ok(Self {
            weight: parameter(path, "weight", &[width], Init::Const(1.0))?,
            bias: parameter(path, "bias", &[width], Init::Const(0.0))?,
        })
    }

    /// Normalises each row of `[…, width]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), 1e-5, true)
    }
}

/// What stands between the two maps of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Gaussian error linear unit, exact.
    Gelu,
    /// `x · σ(1.702 x)`, with which OpenAI trained CLIP.
    QuickGelu,
}

impl Activation {
    /// Applies it to every element.
    pub fn forward(self, x: &Tensor) -> Tensor {
        match self {
            Self::Gelu => x.gelu("none"),
            Self::QuickGelu => x * (x * 1.702).sigmoid(),
        }
    }
}

/// Zeroes elements of `[B, …]` with probability `p` while training, and scales the others by `1 / (1 − p)`; see [`Noise::dropout`].
pub fn dropout(x: Tensor, p: f64, noise: Option<&Noise>) -> Tensor {
    match noise {
        Some(noise) if p > 0.0 => noise.dropout(&x, p),
        _ => x,
    }
}
