//! Attention inside windows.

use vlhub_sdk::nn::{Init, Linear, Path, normal, parameter};
use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;

use crate::layers::Start;
use crate::windows::{key_minus_query, query_minus_key};

/// What a family adds to the logits, under which name, and how it makes queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Swin's table of biases.
    Swin,
    /// Cosine attention with biases that an MLP makes of the distance (Swin V2). `pretrained` is the side of the window at whose distances
    /// the MLP was trained; 0 is this one's own.
    SwinV2 {
        /// In places.
        pretrained: i64,
    },
    /// MaxViT's table, of another shape and order.
    MaxVit,
    /// GC ViT: Swin's table. A global block has keys and values alone; its queries come from the whole picture.
    GcVit {
        /// Whether the block is global.
        global: bool,
    },
}

/// Multi-head attention among the places of a window. Parameters: `qkv`, `proj` and those of the bias.
#[derive(Debug)]
pub(crate) struct WindowAttention {
    qkv: Linear,
    proj: Linear,
    bias: Bias,
    heads: i64,
    side: i64,
}

#[derive(Debug)]
enum Bias {
    /// `[(2 · side − 1)², heads]`.
    Table(Tensor),
    /// `[heads, 2 · side − 1, 2 · side − 1]`.
    Square(Tensor),
    Continuous(Continuous),
}

#[derive(Debug)]
struct Continuous {
    logit_scale: Tensor,
    q_bias: Tensor,
    v_bias: Tensor,
    mlp: [Linear; 2],
    /// Side of the window of which a distance of 1 is the whole.
    reach: i64,
}

impl WindowAttention {
    /// Makes the parameters for windows of `side` × `side` places.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, flavour: Flavour, [width, heads, side]: [i64; 3], start: Start) -> Result<Self> {
        let (offsets, qkv) = (2 * side - 1, path.sub("qkv"));
        let table = |path: &Path<'_>, dims: &[i64]| parameter(path, "relative_position_bias_table", dims, normal(0.02));
        let flat = [offsets * offsets, heads];
        let bias = match flavour {
            Flavour::Swin => Bias::Table(table(path, &flat)?),
            Flavour::GcVit { .. } => Bias::Table(table(&path.sub("rel_pos"), &flat)?),
            Flavour::MaxVit => Bias::Square(table(&path.sub("rel_pos"), &[heads, offsets, offsets])?),
            Flavour::SwinV2 { pretrained } => {
                let reach = if pretrained > 0 { pretrained } else { side };
                Bias::Continuous(Continuous::new(path, width, heads, reach)?)
            }
        };
        let qkv = match flavour {
            Flavour::SwinV2 { .. } => Linear::without_bias(&qkv, width, 3 * width, start.weight(width, 3 * width))?,
            Flavour::GcVit { global: true } => start.linear(&qkv, width, 2 * width)?,
            _ => start.linear(&qkv, width, 3 * width)?,
        };
        Ok(Self { qkv, proj: start.linear(&path.sub("proj"), width, width)?, bias, heads, side })
    }

    /// Windows `[B · windows, places, width]` to the same shape. `query` `[B, places, width]` is for each window of its row, in global
    /// blocks; `mask` is `[windows, places, places]`.
    pub fn forward(&self, x: &Tensor, query: Option<&Tensor>, mask: Option<&Tensor>) -> Tensor {
        let size = x.size();
        let split = |x: &Tensor, parts: i64| x.reshape([size[0], size[1], parts, self.heads, -1]).permute([2, 0, 3, 1, 4]);
        let qkv = match &self.bias {
            Bias::Continuous(bias) => self.qkv.forward(x) + bias.of_qkv(),
            Bias::Table(_) | Bias::Square(_) => self.qkv.forward(x),
        };
        let (q, kv) = match query {
            Some(query) => {
                let windows = size[0] / query.size()[0];
                let query = query.unsqueeze(1).expand([-1, windows, -1, -1], false).reshape(size.as_slice());
                (split(&query, 1).get(0), split(&qkv, 2))
            }
            None => {
                let qkv = split(&qkv, 3);
                (qkv.get(0), qkv.narrow(0, 1, 2))
            }
        };
        let (k, v, offsets) = (kv.get(0), kv.get(1), 2 * self.side - 1);
        // A scale that is not given is the square root of a head's width.
        let (q, k, scale, bias) = match &self.bias {
            Bias::Table(table) => (q, k, None, query_minus_key(&table.tr().reshape([self.heads, offsets, offsets]), self.side)),
            Bias::Square(table) => (q, k, None, key_minus_query(table, self.side)),
            Bias::Continuous(bias) => {
                (normalize(&q) * bias.scale(), normalize(&k), Some(1.0), query_minus_key(&bias.table(self.side), self.side))
            }
        };
        let bias = match mask {
            Some(mask) => {
                let windows = mask.size()[0];
                let each = (bias + mask.unsqueeze(1)).unsqueeze(0);
                each.expand([size[0] / windows, -1, -1, -1, -1], false).reshape([size[0], self.heads, size[1], size[1]])
            }
            None => bias,
        };
        let seen = Tensor::scaled_dot_product_attention(&q, &k, &v, Some(&bias), 0.0, false, scale, false);
        self.proj.forward(&seen.transpose(1, 2).flatten(2, 3))
    }
}

impl Continuous {
    /// Width inside the MLP that makes the biases.
    const INNER: i64 = 512;

    fn new(path: &Path<'_>, width: i64, heads: i64, reach: i64) -> Result<Self> {
        let (mlp, start) = (path.sub("cpb_mlp"), Start::Normal);
        Ok(Self {
            logit_scale: parameter(path, "logit_scale", &[heads, 1, 1], Init::Const(10f64.ln()))?,
            q_bias: parameter(path, "q_bias", &[width], Init::Const(0.0))?,
            v_bias: parameter(path, "v_bias", &[width], Init::Const(0.0))?,
            mlp: [
                start.linear(&mlp.sub(0), 2, Self::INNER)?,
                Linear::without_bias(&mlp.sub(2), Self::INNER, heads, start.weight(Self::INNER, heads))?,
            ],
            reach,
        })
    }

    /// `[3 · width]`: keys have no bias.
    fn of_qkv(&self) -> Tensor {
        Tensor::cat(&[&self.q_bias, &self.v_bias.zeros_like(), &self.v_bias], 0)
    }

    /// What cosines are multiplied by, at most 100.
    fn scale(&self) -> Tensor {
        self.logit_scale.clamp_max(100f64.ln()).exp()
    }

    /// Biases between 0 and 16 for each distance, `[heads, 2 · side − 1, 2 · side − 1]`. Distances go in logarithmically, scaled so that the
    /// reach is 8.
    fn table(&self, side: i64) -> Tensor {
        let offsets = 2 * side - 1;
        let x = (Tensor::arange(offsets, (Kind::Float, self.q_bias.device())) - (side - 1)) * (8.0 / (self.reach - 1).max(1) as f64);
        // With the sign of the distance.
        let log = |x: &Tensor| (x.relu() + 1.0).log2() / 3.0;
        let x = log(&x) - log(&x.neg());
        let down = x.view([offsets, 1]).expand([offsets, offsets], false);
        let inner = self.mlp[0].forward(&Tensor::stack(&[&down, &down.tr()], 2)).relu();
        self.mlp[1].forward(&inner).sigmoid().permute([2, 0, 1]) * 16.0
    }
}
