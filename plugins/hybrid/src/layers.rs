//! Layers that the families share.

use vlhub_sdk::nn::{BatchNorm, Conv2d, ConvConfig, Init, LayerNorm, Linear, Path, default_bound, normal, parameter};
use vlhub_sdk::prelude::*;

/// Pooling: where the pooled output comes from: timm's `global_pool`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Pool {
    /// The class token, where there is one.
    Token,
    /// The mean over the places.
    Avg,
    /// The largest value of each channel over the places.
    Max,
    /// The mean of these two.
    Avgmax,
}

impl Pool {
    /// `[B, width]` of the places `[B, T, width]`; nothing for [`Pool::Token`], which reads none of them.
    pub(crate) fn places(self, x: &Tensor) -> Option<Tensor> {
        let mean = || x.mean_dim([1i64].as_slice(), false, None::<Kind>);
        let largest = || x.amax([1i64].as_slice(), false);
        match self {
            Self::Token => None,
            Self::Avg => Some(mean()),
            Self::Max => Some(largest()),
            Self::Avgmax => Some((mean() + largest()) * 0.5),
        }
    }
}

/// How timm starts the linear maps of its transformers.
pub(crate) fn linear(path: &Path<'_>, input: i64, output: i64) -> Result<Linear> {
    Linear::new(path, input, output, normal(0.02), Init::Const(0.0))
}

/// A convolution whose outputs lie `stride` apart and are centred on the inputs.
pub(crate) fn centred(input: i64, output: i64, kernel: i64, stride: i64, groups: i64) -> ConvConfig {
    ConvConfig { input, output, kernel, stride, padding: (stride - 1 + kernel - 1) / 2, groups, ..ConvConfig::default() }
}

/// The nearest multiple of `divisor` to `value`, at least `divisor`.
pub(crate) fn nearest_multiple(value: f64, divisor: i64) -> i64 {
    ((value + divisor as f64 / 2.0) as i64 / divisor * divisor).max(divisor)
}

/// [`Conv2d::with`], whose bias starts at zero.
pub(crate) fn conv_from_zero(path: &Path<'_>, config: ConvConfig, start: Init) -> Result<Conv2d> {
    let mut conv = Conv2d::with(path, ConvConfig { bias: false, ..config }, start)?;
    conv.bias = Some(parameter(path, "bias", &[config.output], Init::Const(0.0))?);
    Ok(conv)
}

/// Layer norm over the channels of `[B, C, H, W]`: timm's `LayerNorm2d`.
#[derive(Debug)]
pub(crate) struct LayerNorm2d(LayerNorm);

impl LayerNorm2d {
    pub fn new(path: &Path<'_>, channels: i64, epsilon: f64) -> Result<Self> {
        Ok(Self(LayerNorm::with_epsilon(path, channels, epsilon)?))
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.0.forward(&x.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
    }
}

/// A convolution without bias, and batch norm: timm's `ConvNormAct` without activation. Parameters: `conv`, `bn`.
#[derive(Debug)]
pub(crate) struct ConvNorm {
    conv: Conv2d,
    bn: BatchNorm,
}

impl ConvNorm {
    pub fn new(path: &Path<'_>, config: ConvConfig) -> Result<Self> {
        Self::with(path, config, default_bound(config.input / config.groups * config.kernel * config.kernel))
    }

    /// [`ConvNorm::new`] with another start for the kernel.
    pub fn with(path: &Path<'_>, config: ConvConfig, start: Init) -> Result<Self> {
        let conv = Conv2d::with(&path.sub("conv"), ConvConfig { bias: false, ..config }, start)?;
        Ok(Self { conv, bn: BatchNorm::new(&path.sub("bn"), config.output, 1e-5)? })
    }

    pub fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        self.bn.forward(&self.conv.forward(x), noise)
    }
}

/// Squeeze-and-excitation (arXiv 1709.01507): scales each channel by what the means of all channels say. Parameters: `fc1`, `fc2`.
#[derive(Debug)]
pub(crate) struct SqueezeExcite {
    fc1: Conv2d,
    fc2: Conv2d,
}

impl SqueezeExcite {
    /// With `inner` channels between the two maps.
    pub fn new(path: &Path<'_>, channels: i64, inner: i64) -> Result<Self> {
        Ok(Self {
            fc1: Conv2d::new(&path.sub("fc1"), centred(channels, inner, 1, 1, 1))?,
            fc2: Conv2d::new(&path.sub("fc2"), centred(inner, channels, 1, 1, 1))?,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let mean = x.mean_dim([2i64, 3].as_slice(), true, None::<Kind>);
        // The rectifier: libtorch's `relu` cannot run on shapes alone, and this has its values and gradient.
        let inner = self.fc1.forward(&mean).threshold(0.0, 0.0);
        x * self.fc2.forward(&inner).sigmoid()
    }
}
