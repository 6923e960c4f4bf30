//! Towers: images or token ids in, features out.

use std::fmt::Debug;

use tch::{Tensor, nn};

use crate::{Noise, Result};

/// An encoder ("tower") of images or of token ids. It holds its parameters, and neither a projection nor a loss.
///
/// ```
/// use tch::nn::{Init, VarStore};
/// use tch::{Device, Kind, Tensor};
/// use vlhub_core::{Backbone, Hidden, InputSpec, Noise, Result, Tokens};
///
/// /// A linear map of 8 × 8 pictures.
/// #[derive(Debug)]
/// struct Linear {
///     weight: Tensor,
/// }
///
/// impl Backbone for Linear {
///     fn input(&self) -> InputSpec {
///         InputSpec::Image { size: (8, 8), mean: [0.5; 3], std: [0.5; 3] }
///     }
///     fn width(&self) -> i64 {
///         16
///     }
///     fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden> {
///         let pooled = input.f_flatten(1, -1)?.f_matmul(&self.weight)?;
///         let pooled = noise.map_or_else(|| pooled.shallow_clone(), |noise| noise.dropout(&pooled, 0.1));
///         // One token: the picture itself.
///         let tokens = tokens.then(|| Tokens::unmasked(pooled.unsqueeze(1)));
///         Ok(Hidden { pooled, tokens })
///     }
///     fn stages(&self) -> Vec<String> {
///         vec!["weight".into()]
///     }
/// }
///
/// let store = VarStore::new(Device::Cpu);
/// let tower = Linear { weight: store.root().var("weight", &[192, 16], Init::Randn { mean: 0.0, stdev: 0.1 }) };
/// let pictures = Tensor::zeros([5, 3, 8, 8], (Kind::Float, Device::Cpu));
/// assert_eq!(tower.encode(&pictures, false, None)?.pooled.size(), [5, 16]);
/// # Ok::<(), vlhub_core::Error>(())
/// ```
pub trait Backbone: Debug + Send {
    /// The input specification: pictures of which size and normalisation, or texts of which length and vocabulary. It never changes.
    fn input(&self) -> InputSpec;
    /// Feature width: that of [`Hidden::pooled`] and of each token, at least 1. It never changes.
    fn width(&self) -> i64;
    /// The forward pass. With `tokens` it also returns the token outputs.
    ///
    /// `noise` is given in training, and all randomness (dropout, patch dropout) comes from it: a row's output depends on the row and its
    /// seed alone. Without it the tower evaluates.
    ///
    /// # Shapes
    /// - input: `[B, 3, H, W]` float, normalised by the mean and deviation of [`Backbone::input`]; or `[B, L]` int64 ids in `0..vocab`, where
    ///   L is at most the context
    /// - pooled: `[B, width]`, float
    /// - tokens: `[B, T, width]` float, and their mask `[B, T]` bool
    ///
    /// # Errors
    /// An input of another shape, or ids outside of the vocabulary.
    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden>;
    /// The pooled output, in evaluation, of texts that begin alike: each row is `prefix` and then its row of `rest`. Equal to
    /// [`Backbone::encode`] of the whole rows; a causal tower computes what they have in common once. `None`, the default, where there is nothing
    /// to gain.
    ///
    /// # Shapes
    /// - prefix: `[P]` int64; rest: `[B, L]` int64, filled up with padding; P + L is at most the context
    /// - pooled: `[B, width]`, float
    ///
    /// # Errors
    /// As [`Backbone::encode`].
    fn encode_after(&self, _prefix: &Tensor, _rest: &Tensor) -> Result<Option<Hidden>> {
        Ok(None)
    }
    /// Whether the forward pass runs its blocks by [`Noise::recompute`], so that they are computed again in the backward pass where a run asks for
    /// gradient checkpointing. `false`, the default: then activations are kept, and the host warns. It never changes.
    fn recomputes(&self) -> bool {
        false
    }
    /// Layers from input to output, as prefixes of parameter names relative to the tower: for locking and layer-wise learning rates. Together
    /// they cover every parameter exactly once.
    fn stages(&self) -> Vec<String>;
    /// The projection of the pooled output into the joint space. The host makes its parameters, under the names that published checkpoints
    /// use.
    fn projection(&self) -> Projection {
        Projection::Matrix("proj")
    }
}

/// A projection head: the map from the pooled output `[B, width]` into the joint space `[B, D]`. Names are relative to the tower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Projection {
    /// `pooled · M` with one parameter `M`, `[width, D]`, of this name.
    Matrix(&'static str),
    /// A linear layer: `name.weight` `[D, width]`, and `name.bias` `[D]` if it has one.
    Linear {
        /// Name of the layer.
        name: &'static str,
        /// Whether it has a bias.
        bias: bool,
    },
    /// Two linear layers with GELU between them.
    Mlp {
        /// Names of the layers.
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

/// The output of a tower's forward pass.
#[derive(Debug)]
pub struct Hidden {
    /// The pooled output, `[B, width]`, float.
    pub pooled: Tensor,
    /// The token outputs, when they were asked for.
    pub tokens: Option<crate::Tokens>,
}

/// The input specification of a tower.
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
        /// Context length: the longest text, in tokens, start and end included.
        context: i64,
        /// Vocabulary size; ids are in `0..vocab`.
        vocab: i64,
        /// Padding id, which fills up short texts.
        pad: i64,
        /// Whether trailing padding leaves the output as it is (as in a causal tower pooled at the end token), so that the token matrix may
        /// be cut to the longest text of the batch.
        truncates: bool,
    },
}

/// The context in which a backbone is built.
#[derive(Debug)]
pub struct BackboneCx<'a> {
    /// The tower's own path. A name is created once: a second tower on the same path is an error.
    pub path: nn::Path<'a>,
    /// Width of the joint space, for towers whose own pooling or projection needs to know it.
    pub embed: i64,
}
