//! Attention with rotary positions.

use vlhub_sdk::nn::{Init, LayerNorm, Linear, Path, normal, parameter};
use vlhub_sdk::prelude::*;

use crate::options::{AttnType, EvaConfig};
use crate::rope::Angles;

/// How timm's `Eva` starts its linear maps.
pub(crate) fn linear(path: &Path<'_>, input: i64, output: i64, stdev: f64) -> Result<Linear> {
    Linear::new(path, input, output, normal(stdev), Init::Const(0.0))
}

/// Multi-head self-attention: timm's `EvaAttention` (queries and values have a bias, keys have none) or `AttentionRope` (all have one).
#[derive(Debug)]
pub struct Attention {
    maps: Maps,
    norm: Option<LayerNorm>,
    proj: Linear,
    heads: i64,
    prefix: i64,
}

/// The maps to queries, keys and values.
#[derive(Debug)]
enum Maps {
    /// One matrix for the three.
    Fused(Linear),
    /// One matrix, and biases of queries and values.
    FusedWithoutKeyBias { weight: Tensor, bias: Option<[Tensor; 2]> },
    /// Three matrices.
    Apart([Linear; 3]),
}

impl Maps {
    fn new(path: &Path<'_>, config: &EvaConfig) -> Result<Self> {
        let (width, bias, start) = (config.width, config.qkv_bias, normal(0.02));
        let map = |name: &str, output: i64, bias: bool| {
            if bias { linear(&path.sub(name), width, output, 0.02) } else { Linear::without_bias(&path.sub(name), width, output, start) }
        };
        let key_bias = bias && config.attn_type == AttnType::Rope;
        Ok(match (config.qkv_fused, config.attn_type) {
            (false, _) => Self::Apart([map("q_proj", width, bias)?, map("k_proj", width, key_bias)?, map("v_proj", width, bias)?]),
            (true, AttnType::Rope) => Self::Fused(map("qkv", 3 * width, bias)?),
            (true, AttnType::Eva) => {
                let part = |name: &str| parameter(path, name, &[width], Init::Const(0.0));
                Self::FusedWithoutKeyBias {
                    weight: parameter(&path.sub("qkv"), "weight", &[3 * width, width], start)?,
                    bias: if bias { Some([part("q_bias")?, part("v_bias")?]) } else { None },
                }
            }
        })
    }

    /// Queries, keys and values, each `[B, heads, T, head]`.
    fn forward(&self, x: &Tensor, heads: i64) -> [Tensor; 3] {
        let cut = |x: Tensor| x.unflatten(-1, [heads, -1].as_slice()).transpose(1, 2);
        let thirds = |x: Tensor| {
            let width = x.size()[2] / 3;
            [0, 1, 2].map(|part| cut(x.narrow(2, part * width, width)))
        };
        match self {
            Self::Apart(maps) => maps.each_ref().map(|map| cut(map.forward(x))),
            Self::Fused(map) => thirds(map.forward(x)),
            Self::FusedWithoutKeyBias { weight, bias } => {
                let bias = bias.as_ref().map(|[q, v]| Tensor::cat(&[q, &q.zeros_like(), v], 0));
                thirds(x.linear(weight, bias.as_ref()))
            }
        }
    }
}

impl Attention {
    /// Makes the parameters of block number `layer`, counted from 0. Deeper output maps start smaller.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, config: &EvaConfig, layer: i64) -> Result<Self> {
        Ok(Self {
            maps: Maps::new(path, config)?,
            norm: if config.scale_attn_inner { Some(config.norm(&path.sub("norm"), config.width)?) } else { None },
            proj: linear(&path.sub("proj"), config.width, config.width, 0.02 / (2.0 * (layer + 1) as f64).sqrt())?,
            heads: config.heads,
            prefix: config.prefix(),
        })
    }

    /// `[B, T, width]` to the same shape; `angles` turn all but the class and register tokens.
    pub fn forward(&self, x: &Tensor, angles: Option<&Angles>) -> Tensor {
        let [mut q, mut k, v] = self.maps.forward(x, self.heads);
        if let Some(angles) = angles {
            (q, k) = (angles.turn(&q, self.prefix), angles.turn(&k, self.prefix));
        }
        let seen = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<Tensor>, 0.0, false, None, false);
        let seen = seen.transpose(1, 2).flatten(2, 3);
        self.proj.forward(&self.norm.as_ref().map_or_else(|| seen.shallow_clone(), |norm| norm.forward(&seen)))
    }
}
