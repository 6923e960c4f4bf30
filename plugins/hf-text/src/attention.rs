//! Multi-head attention with maps of any name and width of head.

use vlhub_sdk::nn::Linear;
use vlhub_sdk::prelude::*;

/// Attention whose four maps the family has made under its own names.
#[derive(Debug)]
pub(crate) struct Attention {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub out: Linear,
    pub heads: i64,
    /// Factor of the logits.
    pub scale: f64,
    /// Attention dropout: share of the attention weights that is zeroed while training.
    pub dropout: f64,
    /// Longest text: what a token draws for its weights must not depend on the length of its row.
    pub context: i64,
}

impl Attention {
    /// Each token of `[B, T, width]` looks at those tokens where the mask is true (bool), or with the mask added to the logits (float). The
    /// mask is broadcast to `[B, heads, T, T]` and lets each token look at one at least.
    pub fn forward(&self, x: &Tensor, mask: &Tensor, noise: Option<&Noise>) -> Tensor {
        let [q, k, v] = [&self.query, &self.key, &self.value].map(|map| self.heads_of(&map.forward(x)));
        let seen = match noise {
            Some(noise) if self.dropout > 0.0 => self.dropped(&q, &k, mask, noise).matmul(&v),
            _ => {
                let mask = if mask.kind() == Kind::Bool { mask.shallow_clone() } else { mask.to_kind(q.kind()) };
                Tensor::scaled_dot_product_attention(&q, &k, &v, Some(&mask), 0.0, false, Some(self.scale), false)
            }
        };
        self.out.forward(&seen.transpose(1, 2).flatten(2, 3))
    }

    /// `[B, T, heads · width of a head]` to `[B, heads, T, width of a head]`.
    fn heads_of(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        x.view([size[0], size[1], self.heads, -1]).transpose(1, 2)
    }

    /// The weights after dropout, `[B, heads, T, T]`. libtorch's attention would draw from its own generator, which knows no rows.
    fn dropped(&self, q: &Tensor, k: &Tensor, mask: &Tensor, noise: &Noise) -> Tensor {
        let logits = q.matmul(&k.transpose(-2, -1)) * self.scale;
        let logits = match mask.kind() {
            Kind::Bool => logits.masked_fill(&mask.bitwise_not(), f64::NEG_INFINITY),
            _ => logits + mask,
        };
        let weights = logits.softmax(-1, None::<Kind>);
        let length = q.size()[2];
        let drawn = noise.uniform(&[length, self.heads, self.context]).narrow(3, 0, length).transpose(1, 2);
        weights * drawn.ge(self.dropout).to_kind(q.kind()) / (1.0 - self.dropout)
    }
}
