//! The residual attention block.

use vlhub_sdk::nn::{Activation, Init, LayerNorm, Linear, Path, default_bound, drop_path, normal, parameter};
use vlhub_sdk::prelude::*;

use crate::net::{Plan, Style};
use crate::relative::Relative;

/// How a linear layer starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// As torch's layers do.
    Torch,
    /// Normal with this standard deviation, and no bias.
    Normal(f64),
}

/// A linear layer `[input, output]`.
///
/// # Errors
/// When a name is taken.
pub(crate) fn linear(path: &Path<'_>, [input, output]: [i64; 2], bias: bool, start: Start) -> Result<Linear> {
    let (weight, start) = match start {
        Start::Torch => (default_bound(input), default_bound(input)),
        Start::Normal(std) => (normal(std), Init::Const(0.0)),
    };
    if bias { Linear::new(path, input, output, weight, start) } else { Linear::without_bias(path, input, output, weight) }
}

/// Each of the queries `[B, heads, Q, d]` looks at the keys, with a number added to each pair's logit; `[B, Q, heads · d]`.
pub(crate) fn look([q, k, v]: [&Tensor; 3], added: Option<&Tensor>) -> Tensor {
    let added = added.map(|added| added.to_kind(q.kind()));
    Tensor::scaled_dot_product_attention(q, k, v, added.as_ref(), 0.0, false, None, false).transpose(1, 2).flatten(2, 3)
}

/// timm's `Mlp`: `fc1` and `fc2`.
#[derive(Debug)]
pub(crate) struct Mlp {
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
}

impl Mlp {
    /// Of the plan's widths; `ends` is how `fc2` starts.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, plan: &Plan, ends: Start) -> Result<Self> {
        let (width, inside) = (plan.common.width, plan.common.mlp_width());
        Ok(Self {
            fc1: linear(&path.sub("fc1"), [width, inside], true, plan.start())?,
            fc2: linear(&path.sub("fc2"), [inside, width], true, ends)?,
            activation: plan.activation,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.fc2.forward(&self.activation.forward(&self.fc1.forward(x)))
    }
}

/// Attention of the tokens of a row to each other: `qkv`, `proj`, and by plan `q_norm`, `k_norm`, and relative positions.
#[derive(Debug)]
struct Attention {
    qkv: Tensor,
    bias: Bias,
    norms: Option<[LayerNorm; 2]>,
    relative: Option<Relative>,
    proj: Linear,
    heads: i64,
}

/// What is added to queries, keys and values.
#[derive(Debug)]
enum Bias {
    None,
    Whole(Tensor),
    /// BEiT's keys have none: a number that is added to all of a query's logits changes nothing.
    NotKeys {
        q: Tensor,
        v: Tensor,
    },
}

impl Attention {
    fn new(path: &Path<'_>, plan: &Plan, ends: Start, places: Option<&Tensor>) -> Result<Self> {
        let (width, heads) = (plan.common.width, plan.common.heads);
        let qkv = path.sub("qkv");
        let (weight, start) = match plan.start() {
            Start::Torch => (default_bound(width), default_bound(width)),
            Start::Normal(std) => (normal(std), Init::Const(0.0)),
        };
        let bias = match (plan.common.qkv_bias, plan.style) {
            (false, _) => Bias::None,
            (true, Style::Beit) => {
                Bias::NotKeys { q: parameter(path, "q_bias", &[width], start)?, v: parameter(path, "v_bias", &[width], start)? }
            }
            (true, _) => Bias::Whole(parameter(&qkv, "bias", &[3 * width], start)?),
        };
        let norm = |name: &str| LayerNorm::with_epsilon(&path.sub(name), width / heads, plan.epsilon);
        let relative = plan.relative.filter(|_| !plan.shared_relative).zip(places);
        let on = if plan.style == Style::Beit { path.clone() } else { path.sub("rel_pos") };
        Ok(Self {
            qkv: parameter(&qkv, "weight", &[3 * width, width], weight)?,
            bias,
            norms: if plan.qk_norm { Some([norm("q_norm")?, norm("k_norm")?]) } else { None },
            relative: relative.map(|(positions, places)| Relative::new(&on, positions, plan.common.grid(), heads, places)).transpose()?,
            proj: linear(&path.sub("proj"), [width, width], true, ends)?,
            heads,
        })
    }

    /// The outputs of the first `read` tokens of `[B, T, width]`.
    fn forward(&self, x: &Tensor, read: i64, shared: Option<&Tensor>, noise: Option<&Noise>) -> Tensor {
        let size = x.size();
        let (rows, tokens, width) = (size[0], size[1], size[2]);
        let bias = match &self.bias {
            Bias::None => None,
            Bias::Whole(bias) => Some(bias.shallow_clone()),
            Bias::NotKeys { q, v } => Some(Tensor::cat(&[q, &q.zeros_like(), v], 0)),
        };
        let part = |x: &Tensor, first: i64, count: i64| {
            // The backward pass of a part is a copy of the whole, so the whole is not taken as a part.
            let of = |all: &Tensor| if count == 3 { all.shallow_clone() } else { all.narrow(0, first * width, count * width) };
            let out = x.linear(&of(&self.qkv), bias.as_ref().map(of).as_ref());
            out.view([rows, x.size()[1], count, self.heads, width / self.heads]).permute([2, 0, 3, 1, 4])
        };
        let (q, kv) = if read == tokens {
            let qkv = part(x, 0, 3);
            (qkv.get(0), qkv.narrow(0, 1, 2))
        } else {
            (part(&x.narrow(1, 0, read), 0, 1).get(0), part(x, 1, 2))
        };
        let (k, v) = (kv.get(0), kv.get(1));
        let own = self.relative.as_ref().map(|relative| relative.forward(x, noise));
        let added = own.as_ref().or(shared).map(|added| added.narrow(2, 0, read));
        let seen = match &self.norms {
            // The norm computes in float32 under mixed precision; attention wants one kind.
            Some([norm_q, norm_k]) => {
                let (q, k) = (norm_q.forward(&q).to_kind(v.kind()), norm_k.forward(&k).to_kind(v.kind()));
                look([&q, &k, &v], added.as_ref())
            }
            None => look([&q, &k, &v], added.as_ref()),
        };
        self.proj.forward(&seen)
    }
}

/// Attention and MLP, each normalised before, scaled behind, and added to what came in.
#[derive(Debug)]
pub(crate) struct Block {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
    scales: Option<[Tensor; 2]>,
    drop_path: f64,
}

impl Block {
    /// Block number `layer`, from 0. `places` are those of the pairs of tokens, if there are relative positions.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, plan: &Plan, layer: i64, places: Option<&Tensor>) -> Result<Self> {
        let (width, start) = (plan.common.width, plan.common.init_values);
        let ends = match plan.style {
            Style::Beit => Start::Normal(0.02 / ((2 * (layer + 1)) as f64).sqrt()),
            Style::Vit | Style::RelPos => plan.start(),
        };
        let scale = |branch: i64| match plan.style {
            Style::Beit => parameter(path, &format!("gamma_{branch}"), &[width], Init::Const(start)),
            Style::Vit | Style::RelPos => parameter(&path.sub(format!("ls{branch}")), "gamma", &[width], Init::Const(start)),
        };
        Ok(Self {
            norm1: LayerNorm::with_epsilon(&path.sub("norm1"), width, plan.epsilon)?,
            attn: Attention::new(&path.sub("attn"), plan, ends, places)?,
            norm2: LayerNorm::with_epsilon(&path.sub("norm2"), width, plan.epsilon)?,
            mlp: Mlp::new(&path.sub("mlp"), plan, ends)?,
            scales: if start == 0.0 { None } else { Some([scale(1)?, scale(2)?]) },
            // The rate rises linearly from block to block, and a single block has none.
            drop_path: plan.common.drop_path * layer as f64 / (plan.common.layers - 1).max(1) as f64,
        })
    }

    /// `[B, T, width]` to the outputs of the first `read` tokens, of all if it is not given. `shared` is added to the logits of a block
    /// without relative positions of its own.
    pub fn forward(&self, x: &Tensor, read: Option<i64>, shared: Option<&Tensor>, noise: Option<&Noise>) -> Tensor {
        let branch = |out: Tensor, number: usize| {
            let out = match &self.scales {
                Some(scales) => out * &scales[number],
                None => out,
            };
            drop_path(out, self.drop_path, noise)
        };
        let read = read.unwrap_or_else(|| x.size()[1]);
        let x = x.narrow(1, 0, read) + branch(self.attn.forward(&self.norm1.forward(x), read, shared, noise), 0);
        let out = branch(self.mlp.forward(&self.norm2.forward(&x)), 1);
        x + out
    }
}
