//! Training signals: functions of features.

use std::fmt::{self, Debug};

use rand_core::RngCore;
use tch::{Tensor, nn};

use crate::{Batch, Features, InputSpec, Result, Skills};

/// A training signal: reads encoder outputs, returns a scalar, may own parameters. It never sees the towers, the chunks of gradient
/// caching, other processes or other objectives.
pub trait Objective: Debug + Send {
    /// Whether the loss couples samples.
    fn scope(&self) -> Scope;
    /// The encoder outputs it reads. The engine runs these forwards and no others.
    fn needs(&self) -> Vec<Need>;
    /// Adds derived inputs (masked captions, targets) before anything is encoded.
    fn prepare(&self, _batch: &mut Batch, _rng: &mut dyn RngCore) -> Result<()> {
        Ok(())
    }
    /// How much these rows count for: their number, unless it is masked tokens or the like. [`Scope::Sample`] only.
    fn weight(&self, batch: &Batch) -> f64 {
        batch.rows() as f64
    }
    /// The loss. [`Scope::Batch`]: the sum over the anchors in [`Features::own`], divided by [`Features::total`]; so the sum of the losses
    /// over all parts of the rows is the loss of the whole. [`Scope::Sample`]: the weighted mean over the rows.
    fn loss(&self, features: &Features, batch: &Batch) -> Result<Loss>;
    /// After the optimiser: clamp a scale, push to a queue. `seen` holds this step's detached features of all processes. [`Scope::Batch`]
    /// only: features of per-sample losses are never in one place.
    fn after_step(&mut self, _seen: &Features) -> Result<()> {
        Ok(())
    }
    /// What it can do at evaluation beyond cosine similarity.
    fn skills(&self) -> Skills<'_> {
        Skills::default()
    }
}

/// Whether a loss couples samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// It couples samples: contrast, a memory bank, batch norm over the batch.
    Batch,
    /// It is a weighted mean over samples.
    Sample,
}

/// Images or texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Modality {
    /// The image tower.
    Image,
    /// The text tower.
    Text,
}

impl fmt::Display for Modality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "image",
            Self::Text => "text",
        })
    }
}

/// An encoder output that an objective reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// Which tower.
    pub modality: Modality,
    /// Which view.
    pub view: String,
    /// Whether the tokens are read too.
    pub tokens: bool,
}

impl Need {
    /// The image tower's output for a view.
    pub fn image(view: impl Into<String>) -> Self {
        Self { modality: Modality::Image, view: view.into(), tokens: false }
    }
    /// The text tower's output for a view.
    pub fn text(view: impl Into<String>) -> Self {
        Self { modality: Modality::Text, view: view.into(), tokens: false }
    }
    /// With its tokens.
    pub fn tokens(self) -> Self {
        Self { tokens: true, ..self }
    }
}

/// A loss, and numbers to show beside it.
#[derive(Debug)]
pub struct Loss {
    /// Scalar, with its graph.
    pub total: Tensor,
    /// Named numbers for the log, such as `logit_scale`.
    pub metrics: Vec<(&'static str, f64)>,
}

impl Loss {
    /// Adds a number for the log.
    pub fn with(mut self, name: &'static str, value: f64) -> Self {
        self.metrics.push((name, value));
        self
    }
    /// The number.
    pub fn value(&self) -> f64 {
        self.total.double_value(&[])
    }
}

impl From<Tensor> for Loss {
    fn from(total: Tensor) -> Self {
        Self { total, metrics: Vec::new() }
    }
}

/// Where an objective makes its parameters, and what the towers look like.
#[derive(Debug)]
pub struct ObjectiveCx<'a> {
    /// For its own parameters: `objective.NAME`.
    pub path: nn::Path<'a>,
    /// For parameters that objectives share under the names of published checkpoints: `logit_scale`, `logit_bias`. Use [`nn::Path::entry`].
    pub shared: nn::Path<'a>,
    /// Width of the joint space.
    pub embed: i64,
    /// The image tower, if the run has one.
    pub image: Option<Tower>,
    /// The text tower, if the run has one.
    pub text: Option<Tower>,
}

/// What an objective may know of a tower.
#[derive(Clone, Debug, PartialEq)]
pub struct Tower {
    /// What goes in.
    pub input: InputSpec,
    /// Width of the pooled output and of each token.
    pub width: i64,
}
