//! Layers that more than one family has.

use vlhub_sdk::nn::{Activation, Conv2d, ConvConfig, Init, LayerNorm, Linear, Path, default_bound, normal};
use vlhub_sdk::prelude::*;

/// How a family of timm starts its linear maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// As torch does.
    Torch,
    /// Normal with standard deviation 0.02, biases at zero.
    Normal,
    /// Xavier's uniform bounds, biases at zero.
    Xavier,
}

impl Start {
    /// For a weight `[output, input]`.
    pub fn weight(self, input: i64, output: i64) -> Init {
        match self {
            Self::Torch => default_bound(input),
            Self::Normal => normal(0.02),
            Self::Xavier => {
                let bound = (6.0 / (input + output) as f64).sqrt();
                Init::Uniform { lo: -bound, up: bound }
            }
        }
    }

    /// A linear map with bias.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn linear(self, path: &Path<'_>, input: i64, output: i64) -> Result<Linear> {
        let bias = if self == Self::Torch { default_bound(input) } else { Init::Const(0.0) };
        Linear::new(path, input, output, self.weight(input, output), bias)
    }
}

/// Two linear maps, `fc1` and `fc2`, as timm's `Mlp` has them.
#[derive(Debug)]
pub(crate) struct Mlp {
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
}

impl Mlp {
    /// The inner width is `ratio` times the outer.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, width: i64, ratio: f64, activation: Activation, start: Start) -> Result<Self> {
        let hidden = (width as f64 * ratio) as i64;
        Ok(Self { fc1: start.linear(&path.sub("fc1"), width, hidden)?, fc2: start.linear(&path.sub("fc2"), hidden, width)?, activation })
    }

    /// `[…, width]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.fc2.forward(&self.activation.forward(&self.fc1.forward(x)))
    }
}

/// Layer norm over the channels of `[B, C, H, W]`.
pub(crate) fn norm_2d(norm: &LayerNorm, x: &Tensor) -> Tensor {
    norm.forward(&x.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
}

/// Squeeze and excitation (arXiv 1709.01507): gates for the channels from their means. Parameters: `fc1`, `fc2`.
#[derive(Debug)]
pub(crate) struct SqueezeExcite {
    fc1: Conv2d,
    fc2: Conv2d,
    activation: Activation,
}

impl SqueezeExcite {
    /// Gates for `channels` through `reduced` of them; `start` gives the kernels their initial values by their number of outputs.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(
        path: &Path<'_>,
        [channels, reduced]: [i64; 2],
        bias: bool,
        activation: Activation,
        start: impl Fn(&Path<'_>, ConvConfig) -> Result<Conv2d>,
    ) -> Result<Self> {
        Ok(Self {
            fc1: start(&path.sub("fc1"), ConvConfig { input: channels, output: reduced, bias, ..ConvConfig::default() })?,
            fc2: start(&path.sub("fc2"), ConvConfig { input: reduced, output: channels, bias, ..ConvConfig::default() })?,
            activation,
        })
    }

    /// `[B, C, H, W]` times its gates.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let mean = x.mean_dim([2i64, 3].as_slice(), true, None::<Kind>);
        x * self.fc2.forward(&self.activation.forward(&self.fc1.forward(&mean))).sigmoid()
    }
}
