//! A linear map, layer norm, the two kinds of GELU, and dropout.

use tch::nn::{Init, Path};
use tch::{Device, Kind, Tensor};

use super::parameter;
use crate::{Noise, Result};

/// A linear map of `[…, input]` to `[…, output]`. Parameters: `weight`, and `bias` if it has one.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Makes `weight` `[output, input]` and `bias` `[output]`.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, input: i64, output: i64, weight: Init, bias: Init) -> Result<Self> {
        Ok(Self { bias: Some(parameter(path, "bias", &[output], bias)?), ..Self::without_bias(path, input, output, weight)? })
    }

    /// Makes `weight` alone.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn without_bias(path: &Path<'_>, input: i64, output: i64, weight: Init) -> Result<Self> {
        Ok(Self { weight: parameter(path, "weight", &[output, input], weight)?, bias: None })
    }

    /// `x · weightᵀ + bias`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }
}

/// Torch's default initialisation: the bounds between which it draws the weights and biases of a linear map or a convolution of `fan_in` inputs: Kaiming's with `a = √5`.
pub fn default_bound(fan_in: i64) -> Init {
    let bound = (fan_in as f64).sqrt().recip();
    Init::Uniform { lo: -bound, up: bound }
}

/// Layer norm over the last dimension. Parameters: `weight`, `bias`.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    /// Makes `weight` and `bias` `[width]`, ones and zeros, for torch's ε = 1e-5.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, width: i64) -> Result<Self> {
        Self::with_epsilon(path, width, 1e-5)
    }

    /// [`LayerNorm::new`] with another ε.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn with_epsilon(path: &Path<'_>, width: i64, epsilon: f64) -> Result<Self> {
        Ok(Self {
            epsilon,
            weight: parameter(path, "weight", &[width], Init::Const(1.0))?,
            bias: parameter(path, "bias", &[width], Init::Const(0.0))?,
        })
    }

    /// The norm of `x`, or `x` where there is none.
    pub fn optional(norm: &Option<Self>, x: Tensor) -> Tensor {
        if let Some(norm) = norm { norm.forward(&x) } else { x }
    }

    /// Normalises each row of `[…, width]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let norm = |x: &Tensor| x.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.epsilon, true);
        // On a CPU libtorch adds up the gradients of weight and bias row by row in the kind of `x`: in bfloat16 a sum stops growing at some 256 rows.
        let is_half = matches!(x.kind(), Kind::BFloat16 | Kind::Half);
        if is_half && self.weight.kind() == Kind::Float && x.device() == Device::Cpu {
            return norm(&x.to_kind(Kind::Float)).to_kind(x.kind());
        }
        norm(x)
    }
}

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Gaussian error linear unit, exact.
    Gelu,
    /// GELU by the hyperbolic tangent.
    GeluTanh,
    /// `x · σ(1.702 x)`, with which OpenAI trained CLIP.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `x · σ(x)`.
    Silu,
}

impl Activation {
    /// Applies it to every element.
    pub fn forward(self, x: &Tensor) -> Tensor {
        match self {
            Self::Gelu => x.gelu("none"),
            Self::GeluTanh => x.gelu("tanh"),
            Self::QuickGelu => x * (x * 1.702).sigmoid(),
            Self::Relu => x.relu(),
            Self::Silu => x.silu(),
        }
    }
}

/// Dropout: zeroes elements of `[B, …]` with probability `p` while training, and scales the others by `1 / (1 − p)`; see [`Noise::dropout`].
pub fn dropout(x: Tensor, p: f64, noise: Option<&Noise>) -> Tensor {
    match noise {
        Some(noise) if p > 0.0 => noise.dropout(&x, p),
        _ => x,
    }
}

#[cfg(test)]
mod tests {
    use tch::nn::VarStore;

    use super::*;

    #[test]
    fn the_gradients_of_a_norm_are_sums_over_all_rows_whatever_the_kind() -> Result<()> {
        for kind in [Kind::Float, Kind::BFloat16, Kind::Half] {
            let store = VarStore::new(Device::Cpu);
            let norm = LayerNorm::new(&store.root(), 8)?;
            let x = Tensor::arange(4096 * 8, (Kind::Float, Device::Cpu)).sin().view([4096, 8]).to_kind(kind);
            let out = norm.forward(&x);
            assert_eq!(out.kind(), kind);
            out.to_kind(Kind::Float).sum(Kind::Float).backward();
            let bias = store.variables()["bias"].grad();
            assert_eq!((bias.min().double_value(&[]), bias.max().double_value(&[])), (4096.0, 4096.0), "{kind:?}");
        }
        Ok(())
    }
}
