//! Pooling of tokens.

use vlhub_sdk::nn::{LayerNorm, Linear, Path, normal, parameter};
use vlhub_sdk::prelude::*;

use crate::block::{Mlp, linear, look};
use crate::net::Plan;
use crate::options::Pool;

/// timm's `AttentionPoolLatent` with one query: `latent`, `q`, `kv`, `proj`, `norm`, `mlp`.
#[derive(Debug)]
pub(crate) struct MapPool {
    latent: Tensor,
    q: Linear,
    kv: Linear,
    proj: Linear,
    norm: LayerNorm,
    mlp: Mlp,
    heads: i64,
}

impl MapPool {
    /// Of the plan's width, heads and MLP.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, plan: &Plan) -> Result<Self> {
        let (width, start) = (plan.common.width, plan.start());
        Ok(Self {
            // timm cuts this normal distribution at two standard deviations, which leaves 0.88 of its spread.
            latent: parameter(path, "latent", &[1, 1, width], normal(0.88 * (width as f64).powf(-0.5)))?,
            q: linear(&path.sub("q"), [width, width], true, start)?,
            kv: linear(&path.sub("kv"), [width, 2 * width], true, start)?,
            proj: linear(&path.sub("proj"), [width, width], true, start)?,
            norm: LayerNorm::with_epsilon(&path.sub("norm"), width, plan.epsilon)?,
            mlp: Mlp::new(&path.sub("mlp"), plan, start)?,
            heads: plan.common.heads,
        })
    }

    /// `[B, T, width]` to `[B, width]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (size, heads) = (x.size(), self.heads);
        let q = self.q.forward(&self.latent).view([1, 1, heads, size[2] / heads]).transpose(1, 2).expand([size[0], -1, -1, -1], false);
        let kv = self.kv.forward(x).view([size[0], size[1], 2, heads, size[2] / heads]).permute([2, 0, 3, 1, 4]);
        let x = self.proj.forward(&look([&q, &kv.get(0), &kv.get(1)], None)).squeeze_dim(1);
        let out = self.mlp.forward(&self.norm.forward(&x));
        x + out
    }
}

/// Pools `[B, T, width]`, of which the first `prefix` tokens are no patches, without parameters; [`Pool::Map`] has a [`MapPool`] instead.
pub(crate) fn pool(x: &Tensor, pool: Pool, prefix: i64, distilled: bool) -> Tensor {
    let patches = || x.narrow(1, prefix, x.size()[1] - prefix);
    let mean = |x: Tensor| x.mean_dim([1i64].as_slice(), false, None::<Kind>);
    match pool {
        Pool::Token if distilled => mean(x.narrow(1, 0, 2)),
        Pool::Token => x.select(1, 0),
        Pool::Max => patches().amax([1i64].as_slice(), false),
        Pool::AvgMax => (patches().amax([1i64].as_slice(), false) + mean(patches())) * 0.5,
        Pool::Avg | Pool::Map => mean(patches()),
    }
}
