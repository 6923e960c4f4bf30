//! Options that all text towers of this crate have, and what they must fulfil.

use vlhub_sdk::nn::Activation;
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;

/// Pooling of the outputs of the last layer: open_clip's `hf_pooler_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Pooling {
    /// The mean over the tokens that are not padding (`mean_pooler`).
    #[default]
    Mean,
    /// The largest of each feature over the tokens that are not padding (`max_pooler`).
    Max,
    /// The first token, through the network's own pooler layer where it has one; the tokens are then those after the first (`cls_pooler`).
    Cls,
    /// The first token as the last layer gives it (`cls_last_hidden_state_pooler`).
    ClsLast,
}

/// Projection head: what maps the pooled output into the joint space: open_clip's `hf_proj_type`. No layer has a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Proj {
    /// A linear layer, `proj`.
    Linear,
    /// Two linear layers with GELU between them, `proj.0` and `proj.2`; inside as wide as the mean of tower and joint space.
    #[default]
    Mlp,
    /// Nothing: the pooled output is the embedding.
    None,
}

/// Activation function between the maps of an MLP, in transformers' words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Act {
    /// Gaussian error linear unit, exact.
    #[default]
    Gelu,
    /// GELU by the hyperbolic tangent.
    GeluNew,
    /// `x · σ(1.702 x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `x · σ(x)`.
    Silu,
}

impl Act {
    /// Applies it to every element.
    pub(crate) fn forward(self, x: &Tensor) -> Tensor {
        match self {
            Self::Gelu => Activation::Gelu.forward(x),
            Self::GeluNew => Activation::GeluTanh.forward(x),
            Self::QuickGelu => Activation::QuickGelu.forward(x),
            // The same function and gradient; libtorch's `relu` cannot run on shapes alone.
            Self::Relu => x.threshold(0.0, 0.0),
            Self::Silu => Activation::Silu.forward(x),
        }
    }
}

/// What the options of the three families have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common {
    pub context: i64,
    pub vocab: i64,
    pub pad: i64,
    pub width: i64,
    pub layers: i64,
    pub heads: i64,
    pub hidden: i64,
    pub proj: Proj,
    pub dropout: f64,
    pub attention_dropout: f64,
}

impl Common {
    /// What is wrong with them.
    pub fn problems(&self) -> OptionProblems {
        let mut problems = OptionProblems::default();
        let Self { context, vocab, pad, width, layers, heads, hidden, .. } = *self;
        let sizes = [("context", context), ("vocab", vocab), ("width", width), ("layers", layers), ("heads", heads), ("hidden", hidden)];
        problems.at_least_one(&sizes);
        if !(0..vocab).contains(&pad) {
            problems.push(format!("`pad` = {pad} is no id of a vocabulary of `vocab` = {vocab}"));
        }
        problems.share("dropout", self.dropout);
        problems.share("attention_dropout", self.attention_dropout);
        problems
    }

    pub fn input(&self) -> InputSpec {
        let Self { context, vocab, pad, .. } = *self;
        // Padding is looked at by nobody and counts in no pooling, and every kind of position is counted from the first token.
        InputSpec::Text { context, vocab, pad, truncates: true }
    }

    pub fn projection(&self, embed: i64) -> Projection {
        match self.proj {
            Proj::Linear => Projection::Linear { name: "proj", bias: false },
            Proj::Mlp => Projection::Mlp { names: ["proj.0", "proj.2"], hidden: (self.width + embed) / 2, bias: [false, false] },
            Proj::None => Projection::Identity,
        }
    }
}
