//! The objective `iqe`.

use vlhub_sdk::nn::{Init, LogitScale, parameter};
use vlhub_sdk::ops::diagonal_cross_entropy_sum;
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pairs::{self, UnitFeatures, ViewPair};
use vlhub_sdk::prelude::*;

use crate::metric::Metric;

/// Largest component that is chosen for a run, and the smallest that the paper advises.
const COMPONENT: i64 = 16;
const LEAST: i64 = 8;

/// CLIP's loss over distances that have a direction (interval quasimetric embeddings, Wang and Isola, 2022, arXiv 2211.15120).
///
/// With unit features I and T and the learnt scale s, ½ CE(L) + ½ CE(Lᵀ) where `L_ij = −s (½ d(I_i, T_j) + ½ d(T_j, I_i))` and each row's
/// right answer is its own pair. d cuts the features into components; a component's distance is the length of the union of the intervals
/// [x_j, y_j] where x_j < y_j. Evaluation compares by cosine, as for every other objective without a score of its own.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct IqeConfig {
    /// Numbers in a component; it must divide the joint width. Without it, the largest divisor of the width up to 16. The paper advises at
    /// least 8.
    pub component: Option<i64>,
    /// What becomes of the components' distances: `sum` adds them up, `maxmean` takes a learnt convex combination of their mean and maximum.
    pub reduce: Reduce,
    /// Natural logarithm of the logit scale at the start. The first objective of a run that owns `logit_scale` decides it.
    pub init_log_scale: f64,
    /// Upper bound of the logit scale, kept after every step; its lower bound is 1.
    pub max_scale: f64,
    /// Tile size: rows whose distances to all others are computed at once. It changes time and memory, not the loss: at most 80 · tile · N
    /// · D bytes are in use for a moment, for N rows of width D.
    pub tile: i64,
    /// Pairs of an image view and a text view; the loss is the mean over them.
    pub pairs: Vec<ViewPair>,
    /// Compatibility: whose numbers are to be reproduced: `none`, or `vlhub` for the Python VL Hub's loss, which does not compare images
    /// with texts.
    pub compat: Compat,
}

/// What becomes of the distances of the components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Reduce {
    /// Their sum.
    #[default]
    Sum,
    /// `(1 − α) · mean + α · maximum`, where α is learnt and starts at 0.27, as in the paper.
    MaxMean,
}

/// Compatibility: whose numbers are to be reproduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Compat {
    /// Nobody's.
    #[default]
    None,
    /// VL Hub's: `CE(L)` with `L_ij = s · ½ d(I_i, T_i) · ½ d(T_j, I_j)`. Only pairs that belong together are measured, a larger distance
    /// is a larger logit, and texts choose nothing: it trains, but not what it was meant to. It is a loss over the batch all the same:
    /// anchors are the rows of L.
    Vlhub,
}

impl Default for IqeConfig {
    fn default() -> Self {
        Self {
            component: None,
            reduce: Reduce::Sum,
            init_log_scale: LogitScale::clip_start(),
            max_scale: 100.0,
            tile: 16,
            pairs: pairs::main_pair(),
            compat: Compat::None,
        }
    }
}

impl IqeConfig {
    /// Refuses options that cannot mean anything.
    fn check(&self, cx: &ObjectiveCx<'_>) -> Result<()> {
        let mut problems = OptionProblems::default();
        problems.pairs(&self.pairs);
        problems.logit_scale(self.init_log_scale, self.max_scale);
        problems.ensure(self.tile >= 1, || format!("`tile` is {}; at least one row is computed at once", self.tile));
        problems.both_towers(cx, "a contrastive objective");
        problems.finish()
    }

    /// The width of a component of `width` numbers.
    fn component(&self, width: i64) -> Result<i64> {
        let divides = |component: &i64| width % component == 0;
        match self.component {
            None => {
                let largest = (1..=COMPONENT.min(width)).rev().find(divides).unwrap_or(1);
                if largest < LEAST.min(width) {
                    return Err(Error::Options(format!(
                        "`component` has no good default for the joint width {width}, whose largest divisor up to {COMPONENT} is {largest}; \
                         set it, or `embed` to a multiple of {COMPONENT}"
                    )));
                }
                Ok(largest)
            }
            Some(component) if component < 1 => Err(Error::Options(format!("`component` is {component}; it holds at least one number"))),
            Some(component) if !divides(&component) => {
                let below = (1..component.min(width + 1)).rev().find(divides);
                let above = (component..=width).find(divides);
                let near: Vec<String> = below.into_iter().chain(above).map(|divisor| divisor.to_string()).collect();
                Err(Error::Options(format!(
                    "`component` = {component} does not divide the joint width {width}; near it are {}",
                    near.join(" and ")
                )))
            }
            Some(component) => Ok(component),
        }
    }
}

impl Config<dyn Objective> for IqeConfig {
    fn build(&self, cx: &ObjectiveCx<'_>) -> Result<Box<dyn Objective>> {
        self.check(cx)?;
        let component = self.component(cx.embed)?;
        let raw_alpha = match self.reduce {
            Reduce::Sum => None,
            Reduce::MaxMean => Some(parameter(&cx.path, "raw_alpha", &[], Init::Const(-1.0))?),
        };
        let scale = LogitScale::new(cx, self.init_log_scale, self.max_scale);
        let metric = Metric { component, tile: self.tile, raw_alpha };
        Ok(Box::new(Iqe { config: self.clone(), metric, scale }))
    }
}

#[derive(Debug)]
struct Iqe {
    config: IqeConfig,
    metric: Metric,
    scale: LogitScale,
}

impl Iqe {
    /// # Shapes
    /// - image, text: `[N, D]`, unit rows; returns the sum over the own rows as anchors, a scalar.
    fn sum_over_own(&self, scale: &Tensor, image: &Tensor, text: &Tensor, features: &Features) -> Result<Tensor> {
        let own = features.own();
        let (own_image, own_text) = (features.own_rows(image), features.own_rows(text));
        if self.config.compat == Compat::Vlhub {
            let (there, back) = (self.metric.across(&own_image, &own_text) * 0.5, self.metric.across(text, image) * 0.5);
            return Ok(diagonal_cross_entropy_sum(&(scale * there.outer(&back)), 1, own.start));
        }
        if own == (0..features.total()) {
            // The distances of both ways are the same for images and for texts: the columns of the one matrix are the rows of the other.
            return self.metric.loss_of_both_ways(image, text, |distances| {
                let logits = -scale * distances;
                (diagonal_cross_entropy_sum(&logits, 1, 0) + diagonal_cross_entropy_sum(&logits, 0, 0)) * 0.5
            });
        }
        let choose = |distances: &Tensor| diagonal_cross_entropy_sum(&(-scale * distances), 1, own.start) * 0.5;
        Ok(self.metric.loss_of_both_ways(&own_image, text, choose)? + self.metric.loss_of_both_ways(&own_text, image, choose)?)
    }
}

impl Objective for Iqe {
    fn scope(&self) -> Scope {
        Scope::Batch
    }

    fn needs(&self) -> Vec<Need> {
        pairs::needs(&self.config.pairs)
    }

    fn loss(&self, features: &Features, _batch: &Batch) -> Result<Loss> {
        let (scale, pairs) = (self.scale.exp(), &self.config.pairs);
        let units = UnitFeatures::of_embeds(pairs, features)?;
        let sum = pairs::mean(pairs, |pair| {
            let (image, text) = units.of(pair);
            self.sum_over_own(&scale, image, text, features)
        })?;
        Ok(Loss::from(sum / features.total() as f64).with("logit_scale", scale.double_value(&[])))
    }

    fn after_step(&mut self, _seen: &Features, _progress: f64) -> Result<()> {
        self.scale.clamp();
        Ok(())
    }
}

register!(dyn Objective, "iqe", IqeConfig);
