//! Multi-head attention.

use tch::Tensor;
use tch::nn::{Init, Path};

use super::{Linear, parameter};
use crate::{Error, Result};

/// Multi-head attention with the parameters of torch's `nn.MultiheadAttention`: `in_proj_weight`, `in_proj_bias`, `out_proj.weight`,
/// `out_proj.bias`.
#[derive(Debug)]
pub struct Attention {
    in_proj_weight: Tensor,
    in_proj_bias: Tensor,
    out_proj: Linear,
    heads: i64,
}

/// Which tokens a token may look at.
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
    /// Makes the parameters; biases start at zero.
    ///
    /// # Errors
    /// When a name is taken, or `heads` does not divide `width`.
    pub fn new(path: &Path<'_>, width: i64, heads: i64, in_proj: Init, out_proj: Init) -> Result<Self> {
        if heads < 1 || width % heads != 0 {
            return Err(Error::invalid(format!("attention of width {width} cannot be cut into {heads} heads of equal width")));
        }
        Ok(Self {
            in_proj_weight: parameter(path, "in_proj_weight", &[3 * width, width], in_proj)?,
            in_proj_bias: parameter(path, "in_proj_bias", &[3 * width], Init::Const(0.0))?,
            out_proj: Linear::new(&path.sub("out_proj"), width, width, out_proj, Init::Const(0.0))?,
            heads,
        })
    }

    /// Where torch starts `in_proj_weight`: Xavier's uniform bounds of the three maps taken as one.
    pub fn xavier(width: i64) -> Init {
        let bound = (6.0 / (4 * width) as f64).sqrt();
        Init::Uniform { lo: -bound, up: bound }
    }

    /// Each token of `[B, T, width]` looks at the tokens of its row.
    pub fn forward(&self, x: &Tensor, mask: Mask<'_>) -> Tensor {
        let qkv = self.heads_of(&x.linear(&self.in_proj_weight, Some(&self.in_proj_bias)), 3);
        self.look(&qkv.get(0), &qkv.get(1), &qkv.get(2), mask)
    }

    /// Each of the queries `[B, Q, width]` looks at the tokens `[B, T, width]` of its row; `[B, Q, width]`. [`Mask::Causal`] counts both
    /// from the first.
    pub fn attend(&self, queries: &Tensor, tokens: &Tensor, mask: Mask<'_>) -> Tensor {
        let width = self.in_proj_weight.size()[1];
        let part = |x: &Tensor, first: i64, count: i64| {
            let weight = self.in_proj_weight.narrow(0, first * width, count * width);
            let bias = self.in_proj_bias.narrow(0, first * width, count * width);
            self.heads_of(&x.linear(&weight, Some(&bias)), count)
        };
        let (q, kv) = (part(queries, 0, 1), part(tokens, 1, 2));
        self.look(&q.get(0), &kv.get(0), &kv.get(1), mask)
    }

    /// `[B, T, count · width]` to `[count, B, heads, T, width / heads]`, a view.
    fn heads_of(&self, x: &Tensor, count: i64) -> Tensor {
        let size = x.size();
        x.view([size[0], size[1], count, self.heads, size[2] / count / self.heads]).permute([2, 0, 3, 1, 4])
    }

    fn look(&self, q: &Tensor, k: &Tensor, v: &Tensor, mask: Mask<'_>) -> Tensor {
        let given = match mask {
            Mask::Given(mask) => Some(mask),
            Mask::Full | Mask::Causal => None,
        };
        // The flag instead of a triangular matrix lets libtorch skip the blocks above the diagonal.
        let causal = matches!(mask, Mask::Causal);
        let seen = Tensor::scaled_dot_product_attention(q, k, v, given, 0.0, causal, None, false);
        self.out_proj.forward(&seen.transpose(1, 2).flatten(2, 3))
    }
}
