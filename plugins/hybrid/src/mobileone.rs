//! Convolutions of several branches, as they are while training. Adding their kernels up would give one convolution with equal outputs; the
//! checkpoints hold the branches.

use vlhub_sdk::nn::{Activation, BatchNorm, ConvConfig, Path};
use vlhub_sdk::prelude::*;

use crate::layers::{ConvNorm, SqueezeExcite, centred, nearest_multiple};

/// Which branches a [`MobileOne`] has, and what follows their sum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Branches {
    /// A convolution with the whole kernel.
    pub kernel: bool,
    /// A 1 × 1 convolution beside it.
    pub scale: bool,
    /// Squeeze-and-excitation of the sum.
    pub excite: bool,
    /// GELU at the end.
    pub activation: bool,
}

impl Default for Branches {
    fn default() -> Self {
        Self { kernel: true, scale: true, excite: false, activation: true }
    }
}

/// timm's `MobileOneBlock` (arXiv 2206.04040): the sum of a convolution, a 1 × 1 convolution and the input, each with batch norm of its own;
/// the input where shapes allow it. Parameters: `identity`, `conv_kxk.0`, `conv_scale`, `se`.
#[derive(Debug)]
pub(crate) struct MobileOne {
    identity: Option<BatchNorm>,
    convs: Vec<ConvNorm>,
    se: Option<SqueezeExcite>,
    activation: bool,
}

impl MobileOne {
    /// Makes the parameters; padding comes from the kernel.
    pub fn new(path: &Path<'_>, config: ConvConfig, branches: Branches) -> Result<Self> {
        let ConvConfig { input, output, kernel, stride, groups, .. } = config;
        let mut convs = Vec::new();
        if branches.kernel {
            convs.push(ConvNorm::new(&path.sub("conv_kxk").sub(0), config)?);
        }
        if branches.scale && kernel > 1 {
            convs.push(ConvNorm::new(&path.sub("conv_scale"), centred(input, output, 1, stride, groups))?);
        }
        Ok(Self {
            identity: if input == output && stride == 1 { Some(BatchNorm::new(&path.sub("identity"), input, 1e-5)?) } else { None },
            convs,
            se: if branches.excite {
                Some(SqueezeExcite::new(&path.sub("se"), output, nearest_multiple(output as f64 / 16.0, 1))?)
            } else {
                None
            },
            activation: branches.activation,
        })
    }

    pub fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        let convs = self.convs.iter().map(|conv| conv.forward(x, noise));
        let sum = convs.chain(self.identity.iter().map(|norm| norm.forward(x, noise))).reduce(|sum, branch| sum + branch);
        let sum = sum.unwrap_or_else(|| x.shallow_clone());
        let sum = self.se.as_ref().map_or_else(|| sum.shallow_clone(), |se| se.forward(&sum));
        if self.activation { Activation::Gelu.forward(&sum) } else { sum }
    }
}

/// What halves the map between two stages: a large and a small depthwise convolution added up (RepLKNet, arXiv 2203.06717), and a 1 × 1
/// convolution. Parameters: `proj.0.{large_conv,small_conv,se}`, `proj.1`.
#[derive(Debug)]
pub(crate) struct Downsample {
    large: ConvNorm,
    small: ConvNorm,
    se: Option<SqueezeExcite>,
    activation: bool,
    mix: MobileOne,
}

impl Downsample {
    /// Makes the parameters; `activation` puts GELU between the two steps.
    pub fn new(path: &Path<'_>, input: i64, output: i64, excite: bool, activation: bool) -> Result<Self> {
        let proj = path.sub("proj");
        let first = proj.sub(0);
        Ok(Self {
            large: ConvNorm::new(&first.sub("large_conv"), centred(input, output, 7, 2, input))?,
            small: ConvNorm::new(&first.sub("small_conv"), centred(input, output, 3, 2, input))?,
            se: if excite { Some(SqueezeExcite::new(&first.sub("se"), output, nearest_multiple(output as f64 / 4.0, 8))?) } else { None },
            activation,
            mix: MobileOne::new(&proj.sub(1), centred(output, output, 1, 1, 1), Branches::default())?,
        })
    }

    pub fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        let sum = self.large.forward(x, noise) + self.small.forward(x, noise);
        let sum = self.se.as_ref().map_or_else(|| sum.shallow_clone(), |se| se.forward(&sum));
        self.mix.forward(&if self.activation { Activation::Gelu.forward(&sum) } else { sum }, noise)
    }
}
