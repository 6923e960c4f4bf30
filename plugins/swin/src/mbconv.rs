//! The inverted bottleneck of MaxViT's `tf` variants.

use vlhub_sdk::nn::{Activation, BatchNorm, Conv2d, ConvConfig, Path, drop_path, normal};
use vlhub_sdk::prelude::*;

use crate::layers::SqueezeExcite;

/// ε of every batch norm, TensorFlow's.
pub(crate) const EPSILON: f64 = 1e-3;

/// A convolution as timm starts those of EfficientNets, by their number of outputs.
///
/// # Errors
/// When a name is taken.
pub(crate) fn conv(path: &Path<'_>, config: ConvConfig) -> Result<Conv2d> {
    let outputs = config.kernel * config.kernel * config.output / config.groups;
    let conv = Conv2d::with(path, config, normal((2.0 / outputs as f64).sqrt()))?;
    if let Some(bias) = &conv.bias {
        let _ = vlhub_sdk::tch::no_grad(|| bias.shallow_clone().zero_());
    }
    Ok(conv)
}

/// A convolution of TensorFlow's padding `same`: at a stride of 2 the caller pads, at the end alone.
pub(crate) fn same(input: i64, output: i64, kernel: i64, stride: i64) -> ConvConfig {
    let padding = if stride == 1 { kernel / 2 } else { 0 };
    ConvConfig { input, output, kernel, stride, padding, ..ConvConfig::default() }
}

/// Widening by a 1 × 1 convolution, 3 × 3 in each channel, squeeze and excitation, and back: *MobileNetV2* (arXiv 1801.04381) with a norm
/// first.
#[derive(Debug)]
pub(crate) struct MbConv {
    /// Whether height and width are halved.
    halves: bool,
    expand: Option<Conv2d>,
    pre_norm: BatchNorm,
    conv1: Conv2d,
    norm1: BatchNorm,
    conv2: Conv2d,
    norm2: BatchNorm,
    se: SqueezeExcite,
    conv3: Conv2d,
    drop_path: f64,
}

impl MbConv {
    /// Four times the outer width inside.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, input: i64, output: i64, halves: bool, drop_path: f64) -> Result<Self> {
        let inner = 4 * output;
        let stride = if halves { 2 } else { 1 };
        let expand = (halves && input != output).then(|| conv(&path.sub("shortcut").sub("expand"), same(input, output, 1, 1)));
        let depthwise = ConvConfig { groups: inner, bias: false, ..same(inner, inner, 3, stride) };
        Ok(Self {
            halves,
            expand: expand.transpose()?,
            pre_norm: BatchNorm::new(&path.sub("pre_norm"), input, EPSILON)?,
            conv1: conv(&path.sub("conv1_1x1"), ConvConfig { bias: false, ..same(input, inner, 1, 1) })?,
            norm1: BatchNorm::new(&path.sub("norm1"), inner, EPSILON)?,
            conv2: conv(&path.sub("conv2_kxk"), depthwise)?,
            norm2: BatchNorm::new(&path.sub("norm2"), inner, EPSILON)?,
            se: SqueezeExcite::new(&path.sub("se"), [inner, output / 4], true, Activation::Silu, conv)?,
            conv3: conv(&path.sub("conv3_1x1"), same(inner, output, 1, 1))?,
            drop_path,
        })
    }

    /// `[B, input, H, W]` to `[B, output, H, W]`, or half as high and wide; H and W are even then.
    pub fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        let gelu = |x: Tensor| Activation::GeluTanh.forward(&x);
        let mut shortcut = if self.halves { x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None) } else { x.shallow_clone() };
        if let Some(expand) = &self.expand {
            shortcut = expand.forward(&shortcut);
        }
        let x = gelu(self.norm1.forward(&self.conv1.forward(&self.pre_norm.forward(x, noise)), noise));
        let x = if self.halves { x.constant_pad_nd([0, 1, 0, 1]) } else { x };
        let x = gelu(self.norm2.forward(&self.conv2.forward(&x), noise));
        drop_path(self.conv3.forward(&self.se.forward(&x)), self.drop_path, noise) + shortcut
    }
}
