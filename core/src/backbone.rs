//! Towers: images or token ids in, features out.

use std::fmt::Debug;

use tch::{Tensor, nn};

use crate::{Noise, Result};

/// Turns images or token ids into features. Holds its parameters; owns no projection and no loss.
pub trait Backbone: Debug + Send {
    /// What goes in.
    fn input(&self) -> InputSpec;
    /// Width of [`Hidden::pooled`] and of each token.
    fn width(&self) -> i64;
    /// Runs the tower.
    ///
    /// # Shapes
    /// - input: `[B, 3, H, W]` float, or `[B, L]` int64 ids
    /// - pooled: `[B, width]`; when `tokens` is true also `[B, T, width]` and a mask `[B, T]`
    ///
    /// `noise` is given in training, and all randomness (dropout, patch dropout) comes from it: a row's output depends on the row and its
    /// seed alone. Without it the tower evaluates.
    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden>;
    /// Parameter-name prefixes, relative to the tower, from input to output: for freezing and layer-wise rates. Together they cover
    /// every parameter exactly once.
    fn stages(&self) -> Vec<String>;
    /// How the pooled output becomes an embedding: the host makes these parameters, under the names that published checkpoints use.
    fn projection(&self) -> Projection {
        Projection::Matrix("proj")
    }
}

/// The map from the pooled output `[B, width]` into the joint space `[B, D]`. Names are relative to the tower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Projection {
    /// `pooled · M` with one parameter `M`, `[width, D]`, of this name.
    Matrix(&'static str),
    /// A linear layer: `name.weight` `[D, width]`, and `name.bias` `[D]` if it has one.
    Linear {
        /// Of the layer.
        name: &'static str,
        /// Whether it has a bias.
        bias: bool,
    },
    /// Two linear layers with GELU between them.
    Mlp {
        /// Of the layers.
        names: [&'static str; 2],
        /// Width between them.
        hidden: i64,
        /// Whether they have a bias.
        bias: [bool; 2],
    },
    /// None: the pooled output is the embedding, and its width is `D`.
    Identity,
}

impl Projection {
    /// Prefixes of its parameters.
    pub fn names(&self) -> Vec<&'static str> {
        match self {
            Self::Matrix(name) | Self::Linear { name, .. } => vec![name],
            Self::Mlp { names, .. } => names.to_vec(),
            Self::Identity => Vec::new(),
        }
    }
}

/// What a tower computes.
#[derive(Debug)]
pub struct Hidden {
    /// `[B, width]`.
    pub pooled: Tensor,
    /// The tokens, when they were asked for.
    pub tokens: Option<crate::Tokens>,
}

/// What a tower reads.
#[derive(Clone, Debug, PartialEq)]
pub enum InputSpec {
    /// Pictures.
    Image {
        /// Height and width in pixels.
        size: (i64, i64),
        /// Mean of each channel, for values in 0..1.
        mean: [f64; 3],
        /// Standard deviation of each channel.
        std: [f64; 3],
    },
    /// Token ids.
    Text {
        /// Longest text, in tokens, start and end included.
        context: i64,
        /// Number of token ids.
        vocab: i64,
        /// Id that fills up short texts.
        pad: i64,
        /// The output does not depend on trailing padding (a causal tower pooled at the end token), so the token matrix may be cut to the
        /// longest text of the batch.
        truncates: bool,
    },
}

/// Where a backbone makes its parameters.
#[derive(Debug)]
pub struct BackboneCx<'a> {
    /// The tower's own path. A name is created once: a second tower on the same path is an error.
    pub path: nn::Path<'a>,
    /// Width of the joint space, for towers whose own pooling or projection needs to know it.
    pub embed: i64,
}
