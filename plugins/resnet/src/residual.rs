//! The residual block that CLIP's ResNet, timm's ResNet and RegNet share.

use vlhub_sdk::nn::drop_path;
use vlhub_sdk::prelude::*;

use crate::layers::{AntiAlias, ConvNorm, SqueezeExcite, halve};

/// Convolutions with batch norm, added to what went in, and ReLU after each convolution but the last, and after the sum.
#[derive(Debug)]
pub(crate) struct Residual {
    pub layers: Vec<ConvNorm>,
    /// The convolution after which the map shrinks, and how, when the convolution itself does not stride.
    pub anti_alias: Option<(usize, AntiAlias)>,
    /// The convolution after which channels are weighed.
    pub squeeze: Option<(usize, SqueezeExcite)>,
    pub shortcut: Option<Shortcut>,
    /// Probability with which a row is left out while training.
    pub drop_path: f64,
}

/// What maps a block's input to the shape of its output.
#[derive(Debug)]
pub(crate) struct Shortcut {
    /// Take the mean of two by two places first.
    pub halve: bool,
    pub conv: ConvNorm,
}

impl Shortcut {
    pub fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        if self.halve { self.conv.forward(&halve(x), noise) } else { self.conv.forward(x, noise) }
    }
}

impl Residual {
    pub fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        let last = self.layers.len() - 1;
        let mut inner = x.shallow_clone();
        for (index, layer) in self.layers.iter().enumerate() {
            inner = layer.forward(&inner, noise);
            if index < last {
                inner = inner.relu();
            }
            if let Some((_, anti_alias)) = self.anti_alias.filter(|(at, _)| *at == index) {
                inner = anti_alias.forward(&inner);
            }
            if let Some((_, squeeze)) = self.squeeze.as_ref().filter(|(at, _)| *at == index) {
                inner = squeeze.forward(&inner);
            }
        }
        let inner = drop_path(inner, self.drop_path, noise);
        match &self.shortcut {
            Some(shortcut) => (inner + shortcut.forward(x, noise)).relu(),
            None => (inner + x).relu(),
        }
    }
}

/// Blocks one after the other.
pub(crate) fn through(blocks: &[Residual], x: Tensor, noise: Option<&Noise>) -> Tensor {
    blocks.iter().fold(x, |x, block| block.forward(&x, noise))
}
