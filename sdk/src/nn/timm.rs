//! What all image towers of timm have in common as open_clip wraps them: the network under `trunk`, the projection under `head`.

use tch::Tensor;
use tch::nn::{Init, Path};

use super::{Activation, Linear, default_bound, dropout, normal, parameter};
use crate::schemars::{self, JsonSchema};
use crate::serde::{self, Deserialize, Serialize};
use crate::{Noise, Projection, Result};

/// Projection head: what maps the pooled output into the joint space: open_clip's `timm_proj`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "serde")]
#[schemars(crate = "schemars")]
pub enum Proj {
    /// A linear layer, `head.proj`.
    #[default]
    Linear,
    /// Two linear layers with GELU between them, `head.mlp`, twice as wide as the joint space inside.
    Mlp,
    /// The network's own classifier layer, with bias.
    Classifier,
    /// Nothing: the pooled output is the embedding.
    None,
}

impl Proj {
    /// The projection in open_clip's names. `classifier` is the network's own last layer, as `trunk.head`; `bias` is open_clip's
    /// `timm_proj_bias`; `embed` is the width of the joint space.
    pub fn projection(self, bias: bool, classifier: &'static str, embed: i64) -> Projection {
        match self {
            Self::Linear => Projection::Linear { name: "head.proj", bias },
            Self::Mlp => Projection::Mlp { names: ["head.mlp.fc1", "head.mlp.fc2"], hidden: 2 * embed, bias: [true, bias] },
            Self::Classifier => Projection::Linear { name: classifier, bias: true },
            Self::None => Projection::Identity,
        }
    }
}

/// timm's `Mlp`: two linear layers, `fc1` and `fc2`, with bias.
#[derive(Debug)]
pub struct Mlp {
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
    drop: f64,
}

impl Mlp {
    /// Makes the parameters of maps from `input` to `hidden` to `output`; `drop` is the dropout after each.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, [input, hidden, output]: [i64; 3], activation: Activation, drop: f64) -> Result<Self> {
        Ok(Self {
            fc1: Linear::new(&path.sub("fc1"), input, hidden, default_bound(input), Init::Const(0.0))?,
            fc2: Linear::new(&path.sub("fc2"), hidden, output, default_bound(hidden), Init::Const(0.0))?,
            activation,
            drop,
        })
    }

    /// `[B, …, input]` to `[B, …, output]`.
    pub fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        let inner = dropout(self.activation.forward(&self.fc1.forward(x)), self.drop, noise);
        dropout(self.fc2.forward(&inner), self.drop, noise)
    }
}

/// timm's `AttentionPool2d` with absolute positions, open_clip's `timm_pool = "abs_attn"`: the mean of all places attends to them and to
/// itself, as in CLIP's ResNets. Parameters: `qkv`, `proj`, `pos_embed`; the layer projects into the joint space by itself.
#[derive(Debug)]
pub struct AttentionPool {
    qkv: Linear,
    proj: Linear,
    pos_embed: Tensor,
    heads: i64,
}

impl AttentionPool {
    /// Makes the parameters for maps `[B, width, H, W]` with `places` = H · W, to `[B, embed]`; heads are 64 wide.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, width: i64, embed: i64, places: i64) -> Result<Self> {
        let start = normal((width as f64).powf(-0.5));
        Ok(Self {
            qkv: Linear::new(&path.sub("qkv"), width, 3 * width, start, Init::Const(0.0))?,
            proj: Linear::new(&path.sub("proj"), width, embed, default_bound(width), Init::Const(0.0))?,
            pos_embed: parameter(path, "pos_embed", &[places + 1, width], start)?,
            heads: (width / 64).max(1),
        })
    }

    /// `[B, embed]` of `[B, width, H, W]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let tokens = x.flatten(2, 3).transpose(1, 2);
        let mean = tokens.mean_dim([1i64].as_slice(), true, None::<tch::Kind>);
        let x = Tensor::cat(&[mean, tokens], 1) + &self.pos_embed;
        let [rows, count, width] = [x.size()[0], x.size()[1], x.size()[2]];
        let qkv = self.qkv.forward(&x).view([rows, count, 3, self.heads, width / self.heads]).permute([2, 0, 3, 1, 4]);
        let (q, k, v) = (qkv.get(0).narrow(2, 0, 1), qkv.get(1), qkv.get(2));
        let seen = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<Tensor>, 0.0, false, None, false);
        self.proj.forward(&seen.transpose(1, 2).reshape([rows, width]))
    }
}
