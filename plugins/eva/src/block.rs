//! The residual blocks, and the MLPs inside.

use vlhub_sdk::nn::{Activation, Init, LayerNorm, Linear, Path, drop_path, parameter};
use vlhub_sdk::prelude::*;

use crate::attention::{Attention, linear};
use crate::options::EvaConfig;
use crate::rope::Angles;

/// Two maps with GELU between them, or with a gate (SwiGLU, arXiv 2002.05202), and perhaps layer norm before the second.
#[derive(Debug)]
pub struct Mlp {
    inner: Inner,
    norm: Option<LayerNorm>,
    fc2: Linear,
}

/// What comes before the second map.
#[derive(Debug)]
enum Inner {
    /// timm's `Mlp`: `fc1`.
    Gelu(Linear),
    /// timm's `GluMlp`: one map `fc1` gives gate and value.
    Packed(Linear),
    /// timm's `SwiGLU`: a map `fc1_g` for the gate, `fc1_x` for the value.
    Split([Linear; 2]),
}

impl Mlp {
    /// The MLP of block number `layer`, counted from 0.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, config: &EvaConfig, layer: i64) -> Result<Self> {
        let (width, hidden) = (config.width, config.mlp_width());
        let map = |name: &str, output: i64| linear(&path.sub(name), width, output, 0.02);
        Ok(Self {
            inner: match (config.swiglu_mlp, config.scale_mlp) {
                (false, _) => Inner::Gelu(map("fc1", hidden)?),
                (true, false) => Inner::Packed(map("fc1", 2 * hidden)?),
                (true, true) => Inner::Split([map("fc1_g", hidden)?, map("fc1_x", hidden)?]),
            },
            norm: if config.scale_mlp { Some(config.norm(&path.sub("norm"), hidden)?) } else { None },
            fc2: linear(&path.sub("fc2"), hidden, width, 0.02 / (2.0 * (layer + 1) as f64).sqrt())?,
        })
    }

    /// Two maps with GELU between them.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn plain(path: &Path<'_>, width: i64, hidden: i64) -> Result<Self> {
        Ok(Self {
            inner: Inner::Gelu(linear(&path.sub("fc1"), width, hidden, 0.02)?),
            norm: None,
            fc2: linear(&path.sub("fc2"), hidden, width, 0.02)?,
        })
    }

    /// `[B, …, width]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let inner = match &self.inner {
            Inner::Gelu(fc1) => Activation::Gelu.forward(&fc1.forward(x)),
            Inner::Packed(fc1) => {
                let both = fc1.forward(x);
                let halves = both.chunk(2, -1);
                Activation::Silu.forward(&halves[0]) * &halves[1]
            }
            Inner::Split([gate, value]) => Activation::Silu.forward(&gate.forward(x)) * value.forward(x),
        };
        self.fc2.forward(&self.norm.as_ref().map_or_else(|| inner.shallow_clone(), |norm| norm.forward(&inner)))
    }
}

/// A residual block, normalised before each branch (timm's `EvaBlock`) or after it (`EvaBlockPostNorm`). Parameters: `norm1`, `attn`,
/// `gamma_1`, `norm2`, `mlp`, `gamma_2`.
#[derive(Debug)]
pub struct Block {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
    gammas: Option<[Tensor; 2]>,
    post_norm: bool,
    drop_path: f64,
}

impl Block {
    /// Makes the parameters of block number `layer`, counted from 0.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, config: &EvaConfig, layer: i64) -> Result<Self> {
        let gamma = |name: &str, start: f64| parameter(path, name, &[config.width], Init::Const(start));
        Ok(Self {
            norm1: config.norm(&path.sub("norm1"), config.width)?,
            attn: Attention::new(&path.sub("attn"), config, layer)?,
            norm2: config.norm(&path.sub("norm2"), config.width)?,
            mlp: Mlp::new(&path.sub("mlp"), config, layer)?,
            gammas: match config.init_values {
                Some(start) => Some([gamma("gamma_1", start)?, gamma("gamma_2", start)?]),
                None => None,
            },
            post_norm: config.use_post_norm,
            // Stochastic depth grows from nothing in the first block to the whole in the last.
            drop_path: config.drop_path * layer as f64 / (config.layers - 1).max(1) as f64,
        })
    }

    /// `[B, T, width]` to the same shape.
    pub fn forward(&self, x: &Tensor, angles: Option<&Angles>, noise: Option<&Noise>) -> Tensor {
        let x = x + self.branch(x, &self.norm1, 0, |x| self.attn.forward(x, angles), noise);
        let out = self.branch(&x, &self.norm2, 1, |x| self.mlp.forward(x), noise);
        x + out
    }

    fn branch(&self, x: &Tensor, norm: &LayerNorm, which: usize, layer: impl Fn(&Tensor) -> Tensor, noise: Option<&Noise>) -> Tensor {
        let out = if self.post_norm { norm.forward(&layer(x)) } else { layer(&norm.forward(x)) };
        let out = self.gammas.as_ref().map_or_else(|| out.shallow_clone(), |gammas| &out * &gammas[which]);
        drop_path(out, self.drop_path, noise)
    }
}
