//! The residual block of attention in windows and an MLP, as Swin, MaxViT and GC ViT have it.

use vlhub_sdk::nn::{Activation, Init, LayerNorm, Path, drop_path, parameter};
use vlhub_sdk::prelude::*;

use crate::attention::{Flavour, WindowAttention};
use crate::layers::{Mlp, Start};
use crate::windows::Windows;

/// The shape of a [`Block`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockConfig {
    pub width: i64,
    pub heads: i64,
    pub mlp_ratio: f64,
    pub windows: Windows,
    pub flavour: Flavour,
    pub activation: Activation,
    pub start: Start,
    /// Initial value of a factor for each channel of both branches (LayerScale, arXiv 2103.17239).
    pub layer_scale: Option<f64>,
    pub drop_path: f64,
}

/// Parameters: `norm1`, `attn`, `norm2`, `mlp`, and `ls1.gamma`, `ls2.gamma` where branches are scaled.
#[derive(Debug)]
pub(crate) struct Block {
    norm1: LayerNorm,
    attn: WindowAttention,
    norm2: LayerNorm,
    mlp: Mlp,
    scales: Option<[Tensor; 2]>,
    config: BlockConfig,
}

impl Block {
    /// Makes the parameters.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, config: BlockConfig) -> Result<Self> {
        let BlockConfig { width, heads, windows, flavour, start, .. } = config;
        let scale = |name: &str, start: f64| parameter(&path.sub(name), "gamma", &[width], Init::Const(start));
        Ok(Self {
            norm1: norm(&path.sub("norm1"), width, flavour)?,
            attn: WindowAttention::new(&path.sub("attn"), flavour, [width, heads, windows.side], start)?,
            norm2: norm(&path.sub("norm2"), width, flavour)?,
            mlp: Mlp::new(&path.sub("mlp"), width, config.mlp_ratio, config.activation, start)?,
            scales: config.layer_scale.map(|start| Ok::<_, Error>([scale("ls1", start)?, scale("ls2", start)?])).transpose()?,
            config,
        })
    }

    /// `[B, H, W, width]` to the same shape; `query` is [`WindowAttention::forward`]'s.
    pub fn forward(&self, x: &Tensor, query: Option<&Tensor>, noise: Option<&Noise>) -> Tensor {
        let BlockConfig { windows, flavour, drop_path: rate, .. } = self.config;
        let query = query.filter(|_| flavour == Flavour::GcVit { global: true });
        let attend = |x: &Tensor| windows.apply(x, |windows, mask| self.attn.forward(windows, query, mask));
        let x = x + drop_path(self.branch(x, 0, &self.norm1, attend), rate, noise);
        let branch = self.branch(&x, 1, &self.norm2, |x| self.mlp.forward(x));
        x + drop_path(branch, rate, noise)
    }

    /// Swin V2 normalises what a branch gives, the others what it takes.
    fn branch(&self, x: &Tensor, which: usize, norm: &LayerNorm, work: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        let out = if matches!(self.config.flavour, Flavour::SwinV2 { .. }) { norm.forward(&work(x)) } else { work(&norm.forward(x)) };
        match &self.scales {
            Some(scales) => out * &scales[which],
            None => out,
        }
    }
}

/// Swin V2 starts these norms at zero, so that each block begins as the identity.
fn norm(path: &Path<'_>, width: i64, flavour: Flavour) -> Result<LayerNorm> {
    let norm = LayerNorm::new(path, width)?;
    if matches!(flavour, Flavour::SwinV2 { .. })
        && let Some(mut weight) = path.get("weight")
    {
        let _ = vlhub_sdk::tch::no_grad(|| weight.zero_());
    }
    Ok(norm)
}
