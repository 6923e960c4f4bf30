//! Layers that the families share, and how timm starts them.

use vlhub_sdk::nn::{BatchNorm, Conv2d, ConvConfig, Init, Path, normal};
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::no_grad;

/// A convolution that keeps the size of the map at stride 1, without bias.
pub(crate) fn same(input: i64, output: i64, kernel: i64, stride: i64) -> ConvConfig {
    ConvConfig { input, output, kernel, stride, padding: (kernel - 1) / 2, bias: false, ..ConvConfig::default() }
}

/// Kaiming's normal start over a filter's outputs (arXiv 1502.01852), as torch counts them: groups do not lessen them.
pub(crate) fn fan_out(output: i64, kernel: i64) -> Init {
    normal((2.0 / (output * kernel * kernel) as f64).sqrt())
}

/// Sets a parameter that was just made to zero.
pub(crate) fn zero(path: &Path<'_>, name: &str) {
    if let Some(mut value) = path.get(name) {
        let _ = no_grad(|| value.zero_());
    }
}

/// timm's `make_divisible`: the multiple of `divisor` nearest to `value`, at least `limit` times it.
pub(crate) fn divisible(value: f64, divisor: i64, limit: f64) -> i64 {
    let near = ((value + divisor as f64 / 2.0) as i64 / divisor * divisor).max(divisor);
    if (near as f64) < limit * value { near + divisor } else { near }
}

/// The mean of each two by two places, as wide at the border as the map reaches.
pub(crate) fn halve(x: &Tensor) -> Tensor {
    x.avg_pool2d([2, 2], [2, 2], [0, 0], true, false, None)
}

/// The largest of each three by three places, every second place.
pub(crate) fn max_pool(x: &Tensor, stride: i64, padding: i64) -> Tensor {
    x.max_pool2d([3, 3], [stride, stride], [padding, padding], [1, 1], false)
}

/// A kernel whose filters have mean 0 and variance 1 each (weight standardisation, arXiv 1903.10520), times `gain` `[filters]`.
pub(crate) fn standardised(weight: &Tensor, gain: Option<&Tensor>, epsilon: f64) -> Tensor {
    let filters = weight.view([1, weight.size()[0], -1]);
    filters.batch_norm(gain, None, None, None, true, 0.0, epsilon, true).view_as(weight)
}

/// A convolution without bias, and batch norm.
#[derive(Debug)]
pub(crate) struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

impl ConvNorm {
    /// Makes both.
    ///
    /// # Errors
    /// When a name is taken, or the groups do not divide the channels.
    pub fn new(conv: &Path<'_>, norm: &Path<'_>, config: ConvConfig, start: Init) -> Result<Self> {
        Ok(Self { conv: Conv2d::with(conv, config, start)?, norm: BatchNorm::new(norm, config.output, 1e-5)? })
    }

    /// Without activation.
    pub fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        self.norm.forward(&self.conv.forward(x), noise)
    }
}

/// How a map is made smaller without aliasing (arXiv 1904.11486).
#[derive(Clone, Copy, Debug)]
pub(crate) enum AntiAlias {
    /// The mean of two by two.
    Avg,
    /// A binomial filter of three by three, mirrored at the border.
    Blur,
}

impl AntiAlias {
    /// Half the height and width.
    pub fn forward(self, x: &Tensor) -> Tensor {
        match self {
            Self::Avg => x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None),
            Self::Blur => {
                let channels = x.size()[1];
                let row = Tensor::from_slice(&[0.25f32, 0.5, 0.25]).to_device(x.device()).to_kind(x.kind());
                let filter = (row.view([3, 1]) * row.view([1, 3])).expand([channels, 1, 3, 3], false);
                mirrored(&mirrored(x, 2), 3).conv2d(&filter, None::<&Tensor>, [2, 2], [0, 0], [1, 1], channels)
            }
        }
    }
}

/// One more place at either end of an axis, the mirror image of the last but one.
fn mirrored(x: &Tensor, axis: i64) -> Tensor {
    let size = x.size()[axis as usize];
    Tensor::cat(&[x.narrow(axis, 1, 1), x.shallow_clone(), x.narrow(axis, size - 2, 1)], axis)
}

/// Squeeze and excitation (arXiv 1709.01507): channels are weighed by what the whole picture holds. Parameters: `fc1`, `fc2`.
#[derive(Debug)]
pub(crate) struct SqueezeExcite {
    fc1: Conv2d,
    fc2: Conv2d,
}

impl SqueezeExcite {
    /// Makes the maps from `channels` to `inner` and back; `start` gives their weights' start from inputs and outputs.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, channels: i64, inner: i64, zero_bias: bool, start: fn(i64, i64) -> Init) -> Result<Self> {
        let layer = |name: &str, input, output| -> Result<Conv2d> {
            let path = path.sub(name);
            let layer = Conv2d::with(&path, ConvConfig { input, output, ..ConvConfig::default() }, start(input, output))?;
            if zero_bias {
                zero(&path, "bias");
            }
            Ok(layer)
        };
        Ok(Self { fc1: layer("fc1", channels, inner)?, fc2: layer("fc2", inner, channels)? })
    }

    /// `[B, channels, H, W]`, weighed.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let mean = x.mean_dim([2i64, 3].as_slice(), true, None::<Kind>);
        x * self.fc2.forward(&self.fc1.forward(&mean).relu()).sigmoid()
    }
}
