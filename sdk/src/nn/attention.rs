//! Multi-head attention.

use tch::Tensor;
use tch::nn::{Init, Path};

use super::{LayerNorm, Linear, parameter};
use crate::ops::normalize;
use crate::{Error, Result};

/// Multi-head attention with the parameters of torch's `nn.MultiheadAttention`: `in_proj_weight`, `in_proj_bias`, `out_proj.weight`,
/// `out_proj.bias`; and of open_clip's `Attention`: `ln_q`, `ln_k`, `logit_scale`, `head_scale`, `ln_inner`, each if [`AttentionExtras`]
/// ask for it.
#[derive(Debug)]
pub struct Attention {
    in_proj_weight: Tensor,
    in_proj_bias: Tensor,
    /// Of queries and of keys, over the width of a head.
    norms: Option<[LayerNorm; 2]>,
    /// The logarithm of the factor of cosines, `[heads, 1, 1]`.
    logit_scale: Option<Tensor>,
    /// A factor of each head's output, `[heads, 1, 1]`.
    head_scale: Option<Tensor>,
    /// Before the output map.
    ln_inner: Option<LayerNorm>,
    out_proj: Linear,
    heads: i64,
}

/// Keys and values, `[1, heads, P, width / heads]`, of tokens with which every row of a batch begins.
#[derive(Debug)]
pub struct KeysValues {
    k: Tensor,
    v: Tensor,
}

/// What open_clip's attention can add to the plain one.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttentionExtras {
    /// Layer norm of queries and of keys, over the width of a head (arXiv 2106.04560).
    pub qk_norm: bool,
    /// Cosines with a learned scale in the place of scaled products (Swin V2, arXiv 2111.09883).
    pub scaled_cosine: bool,
    /// A learned factor of each head's output (NormFormer, arXiv 2110.09456).
    pub scale_heads: bool,
    /// Layer norm before the output map (sub-LN, arXiv 2210.06423).
    pub scale_inner: bool,
}

/// The attention mask: which tokens a token may look at.
#[derive(Clone, Copy, Debug)]
pub enum Mask<'a> {
    /// All of them.
    Full,
    /// Those before it, and itself.
    Causal,
    /// Those where this is true (bool), or with this added to their logits (float): broadcast to `[B, heads, queries, tokens]`.
    Given(&'a Tensor),
}

impl Attention {
    /// Makes the parameters of plain attention; biases start at zero.
    ///
    /// # Errors
    /// When a name is taken, or `heads` does not divide `width`.
    pub fn new(path: &Path<'_>, width: i64, heads: i64, in_proj: Init, out_proj: Init) -> Result<Self> {
        Self::with(path, [width, heads], in_proj, [out_proj, Init::Const(0.0)], AttentionExtras::default(), 1e-5)
    }

    /// Makes the parameters of attention with extras, whose norms have `epsilon`; `out_proj` gets its start from `outputs`, weight and bias.
    ///
    /// # Errors
    /// As [`Attention::new`].
    pub fn with(
        path: &Path<'_>,
        [width, heads]: [i64; 2],
        in_proj: Init,
        outputs: [Init; 2],
        extras: AttentionExtras,
        epsilon: f64,
    ) -> Result<Self> {
        if heads < 1 || width % heads != 0 {
            return Err(Error::invalid(format!("attention of width {width} cannot be cut into {heads} heads of equal width")));
        }
        let norm = |name: &str, width| LayerNorm::with_epsilon(&path.sub(name), width, epsilon);
        let each_head = |name: &str, value| parameter(path, name, &[heads, 1, 1], Init::Const(value));
        Ok(Self {
            in_proj_weight: parameter(path, "in_proj_weight", &[3 * width, width], in_proj)?,
            in_proj_bias: parameter(path, "in_proj_bias", &[3 * width], Init::Const(0.0))?,
            norms: if extras.qk_norm { Some([norm("ln_q", width / heads)?, norm("ln_k", width / heads)?]) } else { None },
            logit_scale: extras.scaled_cosine.then(|| each_head("logit_scale", 10f64.ln())).transpose()?,
            head_scale: extras.scale_heads.then(|| each_head("head_scale", 1.0)).transpose()?,
            ln_inner: extras.scale_inner.then(|| norm("ln_inner", width)).transpose()?,
            out_proj: Linear::new(&path.sub("out_proj"), width, width, outputs[0], outputs[1])?,
            heads,
        })
    }

    /// Xavier initialisation, where torch starts `in_proj_weight`: the uniform bounds of the three maps taken as one.
    pub fn xavier(width: i64) -> Init {
        let bound = (6.0 / (4 * width) as f64).sqrt();
        Init::Uniform { lo: -bound, up: bound }
    }

    /// Self-attention: each token of `[B, T, width]` looks at the tokens of its row; `[B, T, width]`.
    pub fn forward(&self, x: &Tensor, mask: Mask<'_>) -> Tensor {
        let qkv = split_heads(&x.linear(&self.in_proj_weight, Some(&self.in_proj_bias)), 3, self.heads);
        self.look(qkv.get(0), qkv.get(1), &qkv.get(2), mask)
    }

    /// Cross-attention: each of the queries `[B, Q, width]` looks at the tokens `[B, T, width]` of its row; `[B, Q, width]`. [`Mask::Causal`]
    /// counts both from the first.
    pub fn attend(&self, queries: &Tensor, tokens: &Tensor, mask: Mask<'_>) -> Tensor {
        let (q, kv) = (self.part(queries, 0, 1), self.part(tokens, 1, 2));
        self.look(q.get(0), kv.get(0), &kv.get(1), mask)
    }

    /// Causal self-attention of tokens `[1, P, width]` with which every row of a batch begins: what comes out for them, `[1, P, width]`, and
    /// what the tokens after them look at.
    pub fn forward_prefix(&self, x: &Tensor) -> (Tensor, KeysValues) {
        let qkv = split_heads(&x.linear(&self.in_proj_weight, Some(&self.in_proj_bias)), 3, self.heads);
        let (q, k, scale) = self.ready(qkv.get(0), qkv.get(1));
        let v = qkv.get(2);
        let out = self.finish(&scaled_dot_product(&q, &k, &v, Mask::Causal, scale));
        (out, KeysValues { k, v })
    }

    /// Queries `[B, Q, width]` look at a prefix and at the tokens `[B, T, width]` of their row behind it; `[B, Q, width]`. `mask` covers the
    /// prefix and the tokens.
    pub fn attend_after(&self, prefix: &KeysValues, queries: &Tensor, tokens: &Tensor, mask: Mask<'_>) -> Tensor {
        let (q, kv) = (self.part(queries, 0, 1), self.part(tokens, 1, 2));
        let (q, k, scale) = self.ready(q.get(0), kv.get(0));
        let before = |shared: &Tensor| shared.expand([tokens.size()[0], -1, -1, -1], false);
        let (k, v) = (Tensor::cat(&[before(&prefix.k), k], 2), Tensor::cat(&[before(&prefix.v), kv.get(1)], 2));
        self.finish(&scaled_dot_product(&q, &k, &v, mask, scale))
    }

    /// `count` of the three maps (queries, keys, values) from the `first` on, cut into heads.
    fn part(&self, x: &Tensor, first: i64, count: i64) -> Tensor {
        let width = self.in_proj_weight.size()[1];
        let weight = self.in_proj_weight.narrow(0, first * width, count * width);
        let bias = self.in_proj_bias.narrow(0, first * width, count * width);
        split_heads(&x.linear(&weight, Some(&bias)), count, self.heads)
    }

    fn look(&self, q: Tensor, k: Tensor, v: &Tensor, mask: Mask<'_>) -> Tensor {
        let (q, k, scale) = self.ready(q, k);
        self.finish(&scaled_dot_product(&q, &k, v, mask, scale))
    }

    /// Queries and keys as their products are taken, and the factor of the products, if it is not the usual one.
    fn ready(&self, mut q: Tensor, mut k: Tensor) -> (Tensor, Tensor, Option<f64>) {
        if let Some([ln_q, ln_k]) = &self.norms {
            (q, k) = (ln_q.forward(&q), ln_k.forward(&k));
        }
        let mut scale = None;
        if let Some(logit_scale) = &self.logit_scale {
            q = normalize(&q) * logit_scale.clamp_max(100f64.ln()).exp();
            (k, scale) = (normalize(&k), Some(1.0));
        }
        (q, k, scale)
    }

    /// The output map of what the heads have seen, `[B, heads, Q, width / heads]`.
    fn finish(&self, seen: &Tensor) -> Tensor {
        let seen = if let Some(head_scale) = &self.head_scale { seen * head_scale } else { seen.shallow_clone() };
        let seen = join_heads(&seen);
        self.out_proj.forward(&if let Some(ln_inner) = &self.ln_inner { ln_inner.forward(&seen) } else { seen })
    }
}

/// Cuts `[B, T, count · width]` into heads: `[count, B, heads, T, width / heads]`, a view.
pub fn split_heads(x: &Tensor, count: i64, heads: i64) -> Tensor {
    let size = x.size();
    x.view([size[0], size[1], count, heads, size[2] / count / heads]).permute([2, 0, 3, 1, 4])
}

/// Joins heads: `[B, heads, T, width / heads]` to `[B, T, width]`.
pub fn join_heads(x: &Tensor) -> Tensor {
    x.transpose(1, 2).flatten(2, 3)
}

/// Scaled dot-product attention of queries `[B, heads, Q, width / heads]` to keys and values `[B, heads, T, width / heads]`; `scale` is the
/// factor of the logits, the inverse square root of the heads' width if there is none.
pub fn scaled_dot_product(q: &Tensor, k: &Tensor, v: &Tensor, mask: Mask<'_>, scale: Option<f64>) -> Tensor {
    let given = match mask {
        Mask::Given(mask) => Some(mask),
        Mask::Full | Mask::Causal => None,
    };
    // The flag instead of a triangular matrix lets libtorch skip the blocks above the diagonal.
    Tensor::scaled_dot_product_attention(q, k, v, given, 0.0, matches!(mask, Mask::Causal), scale, false)
}
