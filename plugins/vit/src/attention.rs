//! Self-attention with everything that open_clip's blocks can add to it.

use vlhub_sdk::nn::{Init, LayerNorm, Linear, Mask, Path, parameter};
use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;

use crate::block::BlockConfig;

/// Multi-head attention with the parameters of torch's `nn.MultiheadAttention`, and of open_clip's `Attention`: `ln_q`, `ln_k`,
/// `logit_scale`, `head_scale`, `ln_inner`, each if the options ask for it.
#[derive(Debug)]
pub(crate) struct Attention {
    in_proj_weight: Tensor,
    in_proj_bias: Tensor,
    /// Of queries and of keys, over the width of a head (arXiv 2106.04560).
    norms: Option<[LayerNorm; 2]>,
    /// The logarithm of the factor of cosines (Swin V2, arXiv 2111.09883), `[heads, 1, 1]`.
    logit_scale: Option<Tensor>,
    /// A factor of each head's output (NormFormer, arXiv 2110.09456), `[heads, 1, 1]`.
    head_scale: Option<Tensor>,
    /// Before the output map (sub-LN, arXiv 2210.06423).
    ln_inner: Option<LayerNorm>,
    out_proj: Linear,
    heads: i64,
}

impl Attention {
    /// Makes the parameters; `out_proj` gets its start from `outputs`, weight and bias.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, config: &BlockConfig, in_proj: Init, outputs: [Init; 2]) -> Result<Self> {
        let BlockConfig { width, heads, epsilon, extras, .. } = *config;
        let norm = |name: &str, width| LayerNorm::with_epsilon(&path.sub(name), width, epsilon);
        let each_head = |name: &str, value| parameter(path, name, &[heads, 1, 1], Init::Const(value));
        Ok(Self {
            in_proj_weight: parameter(path, "in_proj_weight", &[3 * width, width], in_proj)?,
            in_proj_bias: parameter(path, "in_proj_bias", &[3 * width], Init::Const(0.0))?,
            norms: if extras.qk_norm { Some([norm("ln_q", width / heads)?, norm("ln_k", width / heads)?]) } else { None },
            logit_scale: extras.scaled_cosine_attn.then(|| each_head("logit_scale", 10f64.ln())).transpose()?,
            head_scale: extras.scale_heads.then(|| each_head("head_scale", 1.0)).transpose()?,
            ln_inner: extras.scale_attn_inner.then(|| norm("ln_inner", width)).transpose()?,
            out_proj: Linear::new(&path.sub("out_proj"), width, width, outputs[0], outputs[1])?,
            heads,
        })
    }

    /// Each token of `[B, T, width]` looks at the tokens of its row.
    pub fn forward(&self, x: &Tensor, mask: Mask<'_>) -> Tensor {
        let qkv = split(&x.linear(&self.in_proj_weight, Some(&self.in_proj_bias)), 3, self.heads);
        self.look(qkv.get(0), qkv.get(1), &qkv.get(2), mask)
    }

    /// Each of the queries `[B, Q, width]` looks at the tokens `[B, T, width]` of its row; `[B, Q, width]`.
    pub fn attend(&self, queries: &Tensor, tokens: &Tensor, mask: Mask<'_>) -> Tensor {
        let width = self.in_proj_weight.size()[1];
        let part = |x: &Tensor, first: i64, count: i64| {
            let weight = self.in_proj_weight.narrow(0, first * width, count * width);
            let bias = self.in_proj_bias.narrow(0, first * width, count * width);
            split(&x.linear(&weight, Some(&bias)), count, self.heads)
        };
        let (q, kv) = (part(queries, 0, 1), part(tokens, 1, 2));
        self.look(q.get(0), kv.get(0), &kv.get(1), mask)
    }

    fn look(&self, mut q: Tensor, mut k: Tensor, v: &Tensor, mask: Mask<'_>) -> Tensor {
        if let Some([ln_q, ln_k]) = &self.norms {
            (q, k) = (ln_q.forward(&q), ln_k.forward(&k));
        }
        let mut scale = None;
        if let Some(logit_scale) = &self.logit_scale {
            q = normalize(&q) * logit_scale.clamp_max(100f64.ln()).exp();
            (k, scale) = (normalize(&k), Some(1.0));
        }
        let seen = look(&q, &k, v, mask, scale);
        let seen = if let Some(head_scale) = &self.head_scale { seen * head_scale } else { seen };
        let seen = join(&seen);
        self.out_proj.forward(&if let Some(ln_inner) = &self.ln_inner { ln_inner.forward(&seen) } else { seen })
    }
}

/// `[B, T, count · width]` to `[count, B, heads, T, width / heads]`, a view.
pub(crate) fn split(x: &Tensor, count: i64, heads: i64) -> Tensor {
    let size = x.size();
    x.view([size[0], size[1], count, heads, size[2] / count / heads]).permute([2, 0, 3, 1, 4])
}

/// `[B, heads, T, width / heads]` to `[B, T, width]`.
pub(crate) fn join(x: &Tensor) -> Tensor {
    x.transpose(1, 2).flatten(2, 3)
}

/// What queries `[B, heads, Q, width / heads]` see; `scale` is the factor of the logits if it is not that of the heads' width.
pub(crate) fn look(q: &Tensor, k: &Tensor, v: &Tensor, mask: Mask<'_>, scale: Option<f64>) -> Tensor {
    let given = match mask {
        Mask::Given(mask) => Some(mask),
        Mask::Full | Mask::Causal => None,
    };
    // The flag instead of a triangular matrix lets libtorch skip the blocks above the diagonal.
    Tensor::scaled_dot_product_attention(q, k, v, given, 0.0, matches!(mask, Mask::Causal), scale, false)
}
