//! The attentional pooler of CoCa.

use vlhub_sdk::nn::{Init, LayerNorm, Linear, Mask, Path, default_bound, join_heads, normal, parameter, scaled_dot_product, split_heads};
use vlhub_sdk::prelude::*;

/// Learned queries that look at the tokens (CoCa, arXiv 2205.01917), open_clip's `AttentionalPooler`. Parameters: `query`, `ln_q`, `ln_k`
/// and those of torch's `nn.MultiheadAttention` under `attn`.
#[derive(Debug)]
pub(crate) struct AttentionalPooler {
    query: Tensor,
    ln_q: LayerNorm,
    ln_k: LayerNorm,
    maps: Maps,
    in_proj_bias: Tensor,
    out_proj: Linear,
    heads: i64,
}

/// The maps of queries, keys and values: torch keeps them in one matrix where both widths are equal.
#[derive(Debug)]
enum Maps {
    Joint(Tensor),
    Apart([Tensor; 3]),
}

impl AttentionalPooler {
    /// Makes the parameters of `queries` that are `width` wide and look at tokens that are `context` wide.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, [width, context]: [i64; 2], heads: i64, queries: i64) -> Result<Self> {
        let attn = path.sub("attn");
        let xavier = |name: &str, output: i64, input: i64| {
            let bound = (6.0 / (input + output) as f64).sqrt();
            parameter(&attn, name, &[output, input], Init::Uniform { lo: -bound, up: bound })
        };
        Ok(Self {
            query: parameter(path, "query", &[queries, width], normal(1.0))?,
            maps: if width == context {
                Maps::Joint(xavier("in_proj_weight", 3 * width, width)?)
            } else {
                let key = xavier("k_proj_weight", width, context)?;
                Maps::Apart([xavier("q_proj_weight", width, width)?, key, xavier("v_proj_weight", width, context)?])
            },
            in_proj_bias: parameter(&attn, "in_proj_bias", &[3 * width], Init::Const(0.0))?,
            out_proj: Linear::new(&attn.sub("out_proj"), width, width, default_bound(width), Init::Const(0.0))?,
            // open_clip keeps torch's ε here, whatever the tower's own is.
            ln_q: LayerNorm::new(&path.sub("ln_q"), width)?,
            ln_k: LayerNorm::new(&path.sub("ln_k"), context)?,
            heads,
        })
    }

    /// Of `[B, T, context]`, the outputs of the first `count` queries, or of all: `[B, count, width]`.
    pub fn forward(&self, x: &Tensor, count: Option<i64>) -> Tensor {
        let query = if let Some(count) = count { self.query.narrow(0, 0, count) } else { self.query.shallow_clone() };
        let x = self.ln_k.forward(x);
        let [q, k, v] = [&self.ln_q.forward(&query.unsqueeze(0)), &x, &x];
        let [q, k, v] = [self.map(0, q), self.map(1, k), self.map(2, v)];
        // The queries are the same for each row, so they are mapped once.
        let q = q.expand([x.size()[0], -1, -1, -1], false);
        self.out_proj.forward(&join_heads(&scaled_dot_product(&q, &k, &v, Mask::Full, None)))
    }

    /// The queries (0), keys (1) or values (2), `[B, heads, T, width / heads]`.
    fn map(&self, part: i64, x: &Tensor) -> Tensor {
        let width = self.query.size()[1];
        let bias = self.in_proj_bias.narrow(0, part * width, width);
        let mapped = match &self.maps {
            Maps::Joint(weight) => x.linear(&weight.narrow(0, part * width, width), Some(&bias)),
            Maps::Apart(weights) => x.linear(&weights[part as usize], Some(&bias)),
        };
        split_heads(&mapped, 1, self.heads).get(0)
    }
}
