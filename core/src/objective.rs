//! Training objectives: losses as functions of features.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use rand_core::RngCore;
use tch::{Tensor, nn};

use crate::{Batch, Error, Features, InputSpec, Result, Skills};

/// A training objective: a loss of encoder outputs, which may own parameters. It never sees the towers, the chunks of gradient caching, other
/// processes or other objectives.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use vlhub_core::{Batch, Encoded, Features, Loss, Modality, Need, Objective, Result, Scope};
///
/// /// Mean squared distance of the embeddings of image and text.
/// #[derive(Debug)]
/// struct Distance;
///
/// impl Objective for Distance {
///     fn scope(&self) -> Scope {
///         Scope::Batch
///     }
///     fn needs(&self) -> Vec<Need> {
///         vec![Need::image("main"), Need::text("main")]
///     }
///     fn loss(&self, features: &Features, _batch: &Batch) -> Result<Loss> {
///         let apart = &features.image("main")?.embed - &features.text("main")?.embed;
///         // The own rows' share of the mean over all rows.
///         let sum = features.own_rows(&apart).square().sum(Kind::Float);
///         Ok(Loss::from(sum / features.total() as f64))
///     }
/// }
///
/// let encoded = |value: f64| {
///     let rows = Tensor::full([2, 8], value, (Kind::Float, Device::Cpu));
///     Encoded { embed: rows.shallow_clone(), pooled: rows, tokens: None }
/// };
/// let mut features = Features::new(0..2, 2);
/// features.insert(Modality::Image, "main", encoded(1.0));
/// features.insert(Modality::Text, "main", encoded(3.0));
/// assert_eq!(Distance.loss(&features, &Batch::new(2))?.value(), 32.0);
/// # Ok::<(), vlhub_core::Error>(())
/// ```
pub trait Objective: Debug + Send {
    /// Whether the loss couples samples.
    fn scope(&self) -> Scope;
    /// The encoder outputs that it reads. The engine runs these forward passes and no others; what is not declared cannot be read.
    fn needs(&self) -> Vec<Need>;
    /// Adds derived inputs (masked captions, targets) to the batch before anything is encoded: views that [`Objective::needs`] names, and
    /// extras that [`Objective::loss`] reads. All randomness comes from `rng`.
    ///
    /// # Errors
    /// A batch that lacks what is derived from.
    fn prepare(&self, _batch: &mut Batch, _rng: &mut dyn RngCore) -> Result<()> {
        Ok(())
    }
    /// The weight of these rows in the mean: their number, unless the loss is a mean over masked tokens or the like. Finite, at least 0;
    /// called for [`Scope::Sample`] alone.
    fn weight(&self, batch: &Batch) -> f64 {
        batch.rows() as f64
    }
    /// The loss, a scalar with its graph.
    ///
    /// [`Scope::Batch`]: the sum over the anchors in [`Features::own`], divided by [`Features::total`]; so the losses of parts of the rows
    /// add up to the loss of the whole (the partition law). [`Scope::Sample`]: the weighted mean over the rows.
    ///
    /// # Shapes
    /// - features: the declared needs, [`Encoded`](crate::Encoded) `[N, …]` each, for the N rows of all processes (or of a chunk, for
    ///   [`Scope::Sample`])
    /// - batch: the same N rows, token ids and extras; no pictures where several processes are gathered
    ///
    /// # Errors
    /// Features that were not declared, or inputs of another shape.
    fn loss(&self, features: &Features, batch: &Batch) -> Result<Loss>;
    /// Called after each optimiser step: to clamp a scale, push to a queue, move an average. `seen` holds this step's detached features of
    /// all processes; `progress` is the share of the run that is done, above 0 and at most 1. For [`Scope::Batch`] alone: features of
    /// per-sample losses are never in one place.
    ///
    /// # Errors
    /// Features that were not declared.
    fn after_step(&mut self, _seen: &Features, _progress: f64) -> Result<()> {
        Ok(())
    }
    /// Momentum m of the moving average of the towers, in 0..=1, for objectives that read it ([`Weights::Average`]): after each step it
    /// becomes `m · average + (1 - m) · towers`. `progress` is as in [`Objective::after_step`].
    fn momentum(&self, _progress: f64) -> Option<f64> {
        None
    }
    /// Skills at evaluation beyond cosine similarity: scoring pairs, writing captions, predicting classes.
    fn skills(&self) -> Skills<'_> {
        Skills::default()
    }
}

/// The scope of a loss: whether it couples samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// It couples samples: contrast, a memory bank, batch norm over the batch.
    Batch,
    /// It is a weighted mean over samples.
    Sample,
}

/// The modality of a tower: images or texts.
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

/// The weights of a forward pass: those that are trained, or others that are only read and get no gradient.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weights {
    /// The towers of the run.
    #[default]
    Trained,
    /// A moving average of them (BYOL's target), which follows as [`Objective::momentum`] says. It runs as in training: its batch norms use
    /// the batch.
    Average,
    /// Another model, `[teacher.NAME]` of the run file, which evaluates.
    Teacher(String),
}

/// One forward pass of a tower: the key under which [`Features`] holds its outputs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forward {
    /// Which tower.
    pub modality: Modality,
    /// Which view of the batch it reads.
    pub view: String,
    /// With which weights.
    pub weights: Weights,
}

impl Forward {
    /// The image tower over a view.
    pub fn image(view: impl Into<String>) -> Self {
        Self { modality: Modality::Image, view: view.into(), weights: Weights::Trained }
    }
    /// The text tower over a view.
    pub fn text(view: impl Into<String>) -> Self {
        Self { modality: Modality::Text, ..Self::image(view) }
    }
    /// With the moving average of the towers.
    pub fn from_average(self) -> Self {
        Self { weights: Weights::Average, ..self }
    }
    /// With the teacher `name`.
    pub fn from_teacher(self, name: impl Into<String>) -> Self {
        Self { weights: Weights::Teacher(name.into()), ..self }
    }
    /// Whether gradients flow back through it.
    pub fn is_trained(&self) -> bool {
        self.weights == Weights::Trained
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.modality, self.view)?;
        match &self.weights {
            Weights::Trained => Ok(()),
            Weights::Average => f.write_str(" of the moving average"),
            Weights::Teacher(name) => write!(f, " of the teacher `{name}`"),
        }
    }
}

/// An encoder output that an objective requests: a forward pass, and whether its tokens are read too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The forward pass.
    pub forward: Forward,
    /// Whether the tokens are read too.
    pub tokens: bool,
}

impl Need {
    /// The image tower's output for a view.
    pub fn image(view: impl Into<String>) -> Self {
        Forward::image(view).into()
    }
    /// The text tower's output for a view.
    pub fn text(view: impl Into<String>) -> Self {
        Forward::text(view).into()
    }
    /// With its tokens.
    pub fn tokens(self) -> Self {
        Self { tokens: true, ..self }
    }
    /// Of the moving average of the towers.
    pub fn from_average(self) -> Self {
        Self { forward: self.forward.from_average(), ..self }
    }
    /// Of the teacher `name`.
    pub fn from_teacher(self, name: impl Into<String>) -> Self {
        Self { forward: self.forward.from_teacher(name), ..self }
    }
    /// One need for each forward pass, sorted; with tokens where any of `needs` asks for them.
    pub fn union<'a>(needs: impl IntoIterator<Item = &'a Self>) -> Vec<Self> {
        let mut union: BTreeMap<&Forward, bool> = BTreeMap::new();
        for need in needs {
            *union.entry(&need.forward).or_default() |= need.tokens;
        }
        union.into_iter().map(|(forward, tokens)| Self { forward: forward.clone(), tokens }).collect()
    }
}

impl From<Forward> for Need {
    fn from(forward: Forward) -> Self {
        Self { forward, tokens: false }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.forward, if self.tokens { " with tokens" } else { "" })
    }
}

/// The value of a loss, and metrics for the log.
#[derive(Debug)]
pub struct Loss {
    /// The loss, a float scalar with its graph.
    pub total: Tensor,
    /// Metrics for the log by name, such as `logit_scale`.
    pub metrics: Vec<(&'static str, f64)>,
}

impl Loss {
    /// Adds a metric for the log.
    pub fn with(mut self, name: &'static str, value: f64) -> Self {
        self.metrics.push((name, value));
        self
    }
    /// The loss as a number.
    pub fn value(&self) -> f64 {
        self.total.double_value(&[])
    }
}

impl From<Tensor> for Loss {
    fn from(total: Tensor) -> Self {
        Self { total, metrics: Vec::new() }
    }
}

/// The context in which an objective is built: where it makes its parameters, and what the towers look like.
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
    /// The teachers of the run.
    pub teachers: Vec<Teacher>,
}

impl ObjectiveCx<'_> {
    /// The teacher of this name.
    ///
    /// # Errors
    /// When the run has none of this name; the error lists those that it has.
    pub fn teacher(&self, name: &str) -> Result<&Teacher> {
        self.teachers.iter().find(|teacher| teacher.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.teachers.iter().map(|teacher| teacher.name.as_str()).collect();
            let known = if known.is_empty() { "none".into() } else { known.join(" ") };
            Error::Options(format!("the run has no teacher `{name}`; it has: {known}. Add a table `[teacher.{name}]` with a `model`"))
        })
    }
}

/// A teacher model of distillation, which is only read.
#[derive(Clone, Debug, PartialEq)]
pub struct Teacher {
    /// Its key in the run file.
    pub name: String,
    /// Width of its joint space.
    pub embed: i64,
    /// Its image tower, if it has one.
    pub image: Option<Tower>,
    /// Its text tower, if it has one.
    pub text: Option<Tower>,
    /// Natural logarithm of its logit scale, if its weights have one.
    pub log_scale: Option<f64>,
}

/// A tower as objectives see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tower {
    /// Its input specification.
    pub input: InputSpec,
    /// Width of the pooled output and of each token.
    pub width: i64,
}
