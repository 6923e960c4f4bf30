//! The multimodal decoder of CoCa.

use vlhub_sdk::nn::{
    Activation, Attention, Block, BlockConfig, Init, LayerNorm, Linear, Mask, Path, Start, default_bound, normal, parameter,
};
use vlhub_sdk::prelude::*;

/// A residual block in which texts look at images. Parameters: `ln_1`, `ln_1_kv`, `attn`, `ln_2`, `mlp.c_fc`, `mlp.c_proj`.
#[derive(Debug)]
struct CrossBlock {
    ln_1: LayerNorm,
    ln_1_kv: LayerNorm,
    attn: Attention,
    ln_2: LayerNorm,
    c_fc: Linear,
    c_proj: Linear,
    activation: Activation,
}

impl CrossBlock {
    fn new(path: &Path<'_>, config: &BlockConfig, layers: i64) -> Result<Self> {
        let BlockConfig { width, heads, mlp_width, activation, .. } = *config;
        let attention = (width as f64).powf(-0.5);
        let output = normal(attention * ((2 * layers) as f64).powf(-0.5));
        let inner = normal(((2 * width) as f64).powf(-0.5));
        let mlp = path.sub("mlp");
        Ok(Self {
            ln_1: LayerNorm::new(&path.sub("ln_1"), width)?,
            ln_1_kv: LayerNorm::new(&path.sub("ln_1_kv"), width)?,
            attn: Attention::new(&path.sub("attn"), width, heads, normal(attention), output)?,
            ln_2: LayerNorm::new(&path.sub("ln_2"), width)?,
            c_fc: Linear::new(&mlp.sub("c_fc"), width, mlp_width, inner, default_bound(width))?,
            c_proj: Linear::new(&mlp.sub("c_proj"), mlp_width, width, output, default_bound(mlp_width))?,
            activation,
        })
    }

    /// Texts `[B, L, width]` that look at images `[B, T, width]`; `[B, L, width]`.
    fn forward(&self, texts: &Tensor, images: &Tensor) -> Tensor {
        let x = texts + self.attn.attend(&self.ln_1.forward(texts), &self.ln_1_kv.forward(images), Mask::Full);
        let inner = self.activation.forward(&self.c_fc.forward(&self.ln_2.forward(&x)));
        &x + self.c_proj.forward(&inner)
    }
}

/// Sizes of a decoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub width: i64,
    pub layers: i64,
    pub heads: i64,
    pub mlp_width: i64,
    pub vocab: i64,
    pub activation: Activation,
}

/// Causal blocks over a text and blocks that look at an image, by turns. Parameters: `resblocks.N`, `cross_attn.N`, `ln_final`,
/// `text_projection`.
#[derive(Debug)]
pub(crate) struct Decoder {
    blocks: Vec<(Block, CrossBlock)>,
    ln_final: LayerNorm,
    text_projection: Tensor,
}

impl Decoder {
    /// Makes the parameters.
    ///
    /// # Errors
    /// When a name is taken, or the heads do not divide the width.
    pub fn new(path: &Path<'_>, sizes: &Sizes) -> Result<Self> {
        let Sizes { width, layers, heads, mlp_width, vocab, activation } = *sizes;
        let config = BlockConfig { width, heads, mlp_width, activation, start: Start::Clip { layers }, ..BlockConfig::default() };
        let (own, cross) = (path.sub("resblocks"), path.sub("cross_attn"));
        let block = |layer| Ok((Block::new(&own.sub(layer), &config)?, CrossBlock::new(&cross.sub(layer), &config, layers)?));
        let projection: Init = normal((width as f64).powf(-0.5));
        Ok(Self {
            blocks: (0..layers).map(block).collect::<Result<_>>()?,
            ln_final: LayerNorm::new(&path.sub("ln_final"), width)?,
            text_projection: parameter(path, "text_projection", &[width, vocab], projection)?,
        })
    }

    /// Images `[B, T, width]` and texts `[B, L, width]` to `[B, L, width]`, of which [`Decoder::logits`] makes the scores of the next token.
    pub fn forward(&self, images: &Tensor, texts: &Tensor) -> Tensor {
        let x =
            self.blocks.iter().fold(texts.shallow_clone(), |x, (own, cross)| cross.forward(&own.forward(&x, Mask::Causal, None), images));
        self.ln_final.forward(&x)
    }

    /// `[…, width]` to `[…, vocab]`.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        hidden.matmul(&self.text_projection)
    }
}
