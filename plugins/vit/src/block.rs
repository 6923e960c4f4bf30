//! The residual attention blocks of open_clip, `ResidualAttentionBlock` and `CustomResidualAttentionBlock`, and a stack of them.

use vlhub_sdk::nn::{Activation, Init, LayerNorm, Linear, Mask, Path, default_bound, dropout, normal, parameter};
use vlhub_sdk::ops::gather_rows;
use vlhub_sdk::prelude::*;

use crate::attention::Attention;

/// What the blocks of a stack have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockConfig {
    pub width: i64,
    pub heads: i64,
    pub mlp_width: i64,
    pub activation: Activation,
    /// Share of the MLP's inner elements that is dropped while training.
    pub dropout: f64,
    /// Initial factor of each branch, if branches are scaled.
    pub layer_scale: Option<f64>,
    /// Of every norm.
    pub epsilon: f64,
    pub extras: Extras,
    pub start: Start,
}

/// What open_clip's custom block adds to the plain one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extras {
    pub qk_norm: bool,
    pub scaled_cosine_attn: bool,
    pub scale_heads: bool,
    pub scale_attn_inner: bool,
    pub scale_attn: bool,
    pub scale_fc: bool,
}

impl Extras {
    /// Whether open_clip takes its custom block, which starts from other values.
    fn any(self) -> bool {
        let Self { qk_norm, scaled_cosine_attn, scale_heads, scale_attn_inner, scale_attn, scale_fc } = self;
        qk_norm || scaled_cosine_attn || scale_heads || scale_attn_inner || scale_attn || scale_fc
    }
}

/// How the matrices of a block start. Biases of the MLP always start as torch's do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// As their layers do: open_clip's image towers.
    Layers,
    /// As CLIP's text towers do: normal, with outputs scaled down by the square root of twice this number of blocks.
    Clip { layers: i64 },
}

impl BlockConfig {
    /// Initial values of `attn.in_proj_weight`, `attn.out_proj.weight`, `mlp.c_fc.weight` and `mlp.c_proj.weight`.
    fn matrices(&self) -> [Init; 4] {
        let (width, fan_in) = (self.width as f64, default_bound(self.width));
        match self.start {
            Start::Layers => {
                let bound = (6.0 / (4.0 * width)).sqrt();
                let xavier = Init::Uniform { lo: -bound, up: bound };
                let in_proj = if self.extras.any() { normal((width / self.heads as f64).powf(-0.5)) } else { xavier };
                [in_proj, fan_in, fan_in, default_bound(self.mlp_width)]
            }
            Start::Clip { layers } => {
                let attention = width.powf(-0.5);
                let output = attention * ((2 * layers) as f64).powf(-0.5);
                [normal(attention), normal(output), normal((2.0 * width).powf(-0.5)), normal(output)]
            }
        }
    }
}

/// A residual attention block, normalised before each part. Parameters: `ln_1`, `attn`, `ln_attn`, `ls_1.gamma`, `ln_2`, `mlp.c_fc`,
/// `mlp.ln`, `mlp.c_proj`, `ls_2.gamma`, where the options ask for them.
#[derive(Debug)]
pub(crate) struct Block {
    ln_1: LayerNorm,
    attn: Attention,
    ln_attn: Option<LayerNorm>,
    ln_2: LayerNorm,
    c_fc: Linear,
    ln_fc: Option<LayerNorm>,
    c_proj: Linear,
    gammas: Option<[Tensor; 2]>,
    activation: Activation,
    dropout: f64,
}

impl Block {
    fn new(path: &Path<'_>, config: &BlockConfig) -> Result<Self> {
        let BlockConfig { width, mlp_width, activation, dropout, layer_scale, epsilon, extras, .. } = *config;
        let [in_proj, out_proj, c_fc, c_proj] = config.matrices();
        let out_bias = if extras.any() { default_bound(width) } else { Init::Const(0.0) };
        let mlp = path.sub("mlp");
        let norm = |path: &Path<'_>, name: &str, width| LayerNorm::with_epsilon(&path.sub(name), width, epsilon);
        let gamma = |name: &str, value| parameter(&path.sub(name), "gamma", &[width], Init::Const(value));
        Ok(Self {
            ln_1: norm(path, "ln_1", width)?,
            attn: Attention::new(&path.sub("attn"), config, in_proj, [out_proj, out_bias])?,
            ln_attn: extras.scale_attn.then(|| norm(path, "ln_attn", width)).transpose()?,
            ln_2: norm(path, "ln_2", width)?,
            c_fc: Linear::new(&mlp.sub("c_fc"), width, mlp_width, c_fc, default_bound(width))?,
            ln_fc: extras.scale_fc.then(|| norm(&mlp, "ln", mlp_width)).transpose()?,
            c_proj: Linear::new(&mlp.sub("c_proj"), mlp_width, width, c_proj, default_bound(mlp_width))?,
            gammas: if let Some(value) = layer_scale { Some([gamma("ls_1", value)?, gamma("ls_2", value)?]) } else { None },
            activation,
            dropout,
        })
    }

    /// `[B, T, width]` to the same shape.
    fn forward(&self, x: &Tensor, mask: Mask<'_>, noise: Option<&Noise>) -> Tensor {
        self.rest(x, self.attn.forward(&self.ln_1.forward(x), mask), noise)
    }

    /// The output for the token `at[b]` of each row alone, `[B, width]`: queries, output map and MLP are computed for one token of each row
    /// instead of all. `mask` is that token's own, `[…, 1, tokens]`.
    fn forward_at(&self, x: &Tensor, at: &Tensor, mask: Mask<'_>, noise: Option<&Noise>) -> Tensor {
        let tokens = self.ln_1.forward(x);
        let seen = self.attn.attend(&gather_rows(&tokens, at).unsqueeze(1), &tokens, mask);
        self.rest(&gather_rows(x, at), seen.squeeze_dim(1), noise)
    }

    /// What follows attention.
    fn rest(&self, x: &Tensor, seen: Tensor, noise: Option<&Noise>) -> Tensor {
        let x = x + self.scaled(0, optional(&self.ln_attn, seen));
        let inner = optional(&self.ln_fc, self.activation.forward(&self.c_fc.forward(&self.ln_2.forward(&x))));
        let out = self.c_proj.forward(&dropout(inner, self.dropout, noise));
        x + self.scaled(1, out)
    }

    fn scaled(&self, branch: usize, x: Tensor) -> Tensor {
        if let Some(gammas) = &self.gammas { x * &gammas[branch] } else { x }
    }
}

/// The norm of `x`, or `x` where there is none.
pub(crate) fn optional(norm: &Option<LayerNorm>, x: Tensor) -> Tensor {
    if let Some(norm) = norm { norm.forward(&x) } else { x }
}

/// A stack of blocks. Parameters: `resblocks.N`.
#[derive(Debug)]
pub(crate) struct Stack {
    blocks: Vec<Block>,
}

impl Stack {
    /// Makes `layers` blocks.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, layers: i64, config: &BlockConfig) -> Result<Self> {
        let path = path.sub("resblocks");
        let blocks = (0..layers).map(|layer| Block::new(&path.sub(layer), config)).collect::<Result<_>>()?;
        Ok(Self { blocks })
    }

    /// `[B, T, width]` to the same shape.
    pub fn forward(&self, x: &Tensor, mask: Mask<'_>, noise: Option<&Noise>) -> Tensor {
        self.blocks.iter().fold(x.shallow_clone(), |x, block| block.forward(&x, mask, noise))
    }

    /// The output for the token `at[b]` of each row alone, `[B, width]`. `mask` is that of all tokens, `own` that of the token.
    pub fn forward_at(&self, x: &Tensor, at: &Tensor, mask: Mask<'_>, own: Mask<'_>, noise: Option<&Noise>) -> Tensor {
        let Some((last, before)) = self.blocks.split_last() else { return gather_rows(x, at) };
        let x = before.iter().fold(x.shallow_clone(), |x, block| block.forward(&x, mask, noise));
        last.forward_at(&x, at, own, noise)
    }

    /// Prefixes of the blocks' parameters, from input to output, when the stack was made on `path`.
    pub fn stages<'a>(&'a self, path: &'a str) -> impl Iterator<Item = String> + 'a {
        (0..self.blocks.len()).map(move |layer| format!("{path}.resblocks.{layer}"))
    }
}
