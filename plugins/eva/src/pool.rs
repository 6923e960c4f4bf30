//! Attention pooling.

use vlhub_sdk::nn::{LayerNorm, Linear, Path, normal, parameter};
use vlhub_sdk::prelude::*;

use crate::attention::linear;
use crate::block::Mlp;
use crate::options::EvaConfig;

/// timm's `AttentionPoolLatent`: a learned query looks at all tokens, and an MLP follows (Set Transformer, arXiv 1810.00825). Parameters:
/// `latent`, `q`, `kv`, `proj`, `norm`, `mlp`.
#[derive(Debug)]
pub struct AttentionPool {
    latent: Tensor,
    q: Linear,
    kv: Linear,
    proj: Linear,
    norm: LayerNorm,
    mlp: Mlp,
    heads: i64,
}

impl AttentionPool {
    /// Makes the parameters.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, config: &EvaConfig) -> Result<Self> {
        let width = config.width;
        let ratio = config.attn_pool_mlp_ratio.unwrap_or(config.mlp_ratio);
        Ok(Self {
            latent: parameter(path, "latent", &[1, 1, width], normal((width as f64).powf(-0.5)))?,
            q: linear(&path.sub("q"), width, width, 0.02)?,
            kv: linear(&path.sub("kv"), width, 2 * width, 0.02)?,
            proj: linear(&path.sub("proj"), width, width, 0.02)?,
            norm: config.norm(&path.sub("norm"), width)?,
            mlp: Mlp::plain(&path.sub("mlp"), width, (width as f64 * ratio) as i64)?,
            heads: config.pool_heads(),
        })
    }

    /// `[B, T, width]` to `[B, width]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let cut = |x: Tensor| x.unflatten(-1, [self.heads, -1].as_slice()).transpose(1, 2);
        let q = cut(self.q.forward(&self.latent)).expand([x.size()[0], -1, -1, -1], false);
        let (kv, width) = (self.kv.forward(x), x.size()[2]);
        let (k, v) = (cut(kv.narrow(2, 0, width)), cut(kv.narrow(2, width, width)));
        let seen = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<Tensor>, 0.0, false, None, false);
        let x = self.proj.forward(&seen.transpose(1, 2).flatten(2, 3).squeeze_dim(1));
        &x + self.mlp.forward(&self.norm.forward(&x))
    }
}
