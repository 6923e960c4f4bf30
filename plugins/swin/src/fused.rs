//! The convolutions of GC ViT.

use vlhub_sdk::nn::{Activation, Conv2d, ConvConfig, LayerNorm, Path};
use vlhub_sdk::prelude::*;

use crate::layers::{SqueezeExcite, norm_2d};

/// A residual branch of 3 × 3 in each channel, squeeze and excitation, and 1 × 1, without norms and biases.
#[derive(Debug)]
pub(crate) struct MbConv {
    depthwise: Conv2d,
    se: SqueezeExcite,
    pointwise: Conv2d,
}

impl MbConv {
    /// Makes the parameters `conv_dw`, `se` and `conv_pw`.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, width: i64) -> Result<Self> {
        let config = ConvConfig { input: width, output: width, bias: false, ..ConvConfig::default() };
        Ok(Self {
            depthwise: Conv2d::new(&path.sub("conv_dw"), ConvConfig { kernel: 3, padding: 1, groups: width, ..config })?,
            se: SqueezeExcite::new(&path.sub("se"), [width, reduced(width)], false, Activation::Gelu, Conv2d::new)?,
            pointwise: Conv2d::new(&path.sub("conv_pw"), config)?,
        })
    }

    /// `[B, width, H, W]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let inner = Activation::Gelu.forward(&self.depthwise.forward(x));
        self.pointwise.forward(&self.se.forward(&inner)) + x
    }
}

/// A quarter of the channels, rounded to a multiple of 8 as timm does.
fn reduced(width: i64) -> i64 {
    ((width + 16) / 32 * 8).max(8)
}

/// Halves the map. Parameters: `norm1`, `conv_block`, `reduction`, `norm2`.
#[derive(Debug)]
pub(crate) struct Downsample {
    norm1: LayerNorm,
    conv: MbConv,
    reduction: Conv2d,
    norm2: LayerNorm,
}

impl Downsample {
    /// Makes the parameters.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, input: i64, output: i64) -> Result<Self> {
        let config = ConvConfig { input, output, kernel: 3, stride: 2, padding: 1, bias: false, ..ConvConfig::default() };
        Ok(Self {
            norm1: LayerNorm::new(&path.sub("norm1"), input)?,
            conv: MbConv::new(&path.sub("conv_block"), input)?,
            reduction: Conv2d::new(&path.sub("reduction"), config)?,
            norm2: LayerNorm::new(&path.sub("norm2"), output)?,
        })
    }

    /// `[B, input, H, W]` to `[B, output, H / 2, W / 2]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        norm_2d(&self.norm2, &self.reduction.forward(&self.conv.forward(&norm_2d(&self.norm1, x))))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_quarter_is_rounded_to_eights() {
        for (width, quarter) in [(8, 8), (32, 8), (47, 8), (48, 16), (64, 16), (96, 24), (128, 32), (512, 128)] {
            assert_eq!(super::reduced(width), quarter, "{width}");
        }
    }
}
