//! The objective `iqe`.

use vlhub_sdk::nn;
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch;
use vlhub_sdk::tch::nn::Init;

use crate::metric::Metric;
use crate::pairs::{self, Pair};

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
    /// Rows whose distances to all others are computed at once. It changes time and memory, not the loss: at most 80 · tile · N · D bytes are
    /// in use for a moment, for N rows of width D.
    pub tile: i64,
    /// Pairs of an image view and a text view; the loss is the mean over them.
    pub pairs: Vec<Pair>,
    /// Whose numbers are to be reproduced: `none`, or `vlhub` for the Python VL Hub's loss, which does not compare images with texts.
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

/// Whose numbers are to be reproduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Compat {
    /// Nobody's.
    #[default]
    None,
    /// VL Hub's: `CE(L)` with `L_ij = s · ½ d(I_i, T_i) · ½ d(T_j, I_j)`. Only pairs that belong together are measured, a larger distance is a
    /// larger logit, and texts choose nothing: it trains, but not what it was meant to. It is a loss over the batch all the same: anchors
    /// are the rows of L.
    Vlhub,
}

impl Default for IqeConfig {
    fn default() -> Self {
        Self {
            component: None,
            reduce: Reduce::Sum,
            init_log_scale: (1.0f64 / 0.07).ln(),
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
        if self.pairs.is_empty() {
            return Err(Error::Options("`pairs` is empty; name at least one pair, such as `[[\"main\", \"main\"]]`".into()));
        }
        if !(self.max_scale.is_finite() && self.max_scale >= 1.0) {
            return Err(Error::Options(format!(
                "`max_scale` is {}; it must be at least 1, because the scale is kept in 1..=max_scale",
                self.max_scale
            )));
        }
        if !self.init_log_scale.is_finite() {
            return Err(Error::Options(format!("`init_log_scale` is {}; it must be a finite number", self.init_log_scale)));
        }
        if self.tile < 1 {
            return Err(Error::Options(format!("`tile` is {}; at least one row is computed at once", self.tile)));
        }
        for (tower, what) in [(&cx.image, "image"), (&cx.text, "text")] {
            if tower.is_none() {
                return Err(Error::Options(format!("a contrastive objective needs an {what} tower; add `[backbone.{what}]` to the run")));
            }
        }
        Ok(())
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
            Reduce::MaxMean => Some(nn::parameter(&cx.path, "raw_alpha", &[], Init::Const(-1.0))?),
        };
        let log_scale = cx.shared.entry("logit_scale").or_var(&[], Init::Const(self.init_log_scale));
        let metric = Metric { component, tile: self.tile, raw_alpha };
        Ok(Box::new(Iqe { config: self.clone(), metric, log_scale }))
    }
}

#[derive(Debug)]
struct Iqe {
    config: IqeConfig,
    metric: Metric,
    log_scale: Tensor,
}

impl Iqe {
    /// # Shapes
    /// - image, text: `[N, D]`, unit rows; returns the sum over the own rows as anchors, a scalar.
    fn sum_over_own(&self, scale: &Tensor, image: &Tensor, text: &Tensor, features: &Features) -> Result<Tensor> {
        let own = features.own();
        let (own_image, own_text) = (features.own_rows(image), features.own_rows(text));
        if self.config.compat == Compat::Vlhub {
            let (there, back) = (self.metric.across(&own_image, &own_text) * 0.5, self.metric.across(text, image) * 0.5);
            return Ok(cross_entropy(&(scale * there.outer(&back)), 1, own.start));
        }
        if own == (0..features.total()) {
            // The distances of both ways are the same for images and for texts: the columns of the one matrix are the rows of the other.
            return self.metric.loss_of_both_ways(image, text, |distances| {
                let logits = -scale * distances;
                (cross_entropy(&logits, 1, 0) + cross_entropy(&logits, 0, 0)) * 0.5
            });
        }
        let choose = |distances: &Tensor| cross_entropy(&(-scale * distances), 1, own.start) * 0.5;
        Ok(self.metric.loss_of_both_ways(&own_image, text, choose)? + self.metric.loss_of_both_ways(&own_text, image, choose)?)
    }
}

/// Sum of the cross-entropies along `dim`, whose right answers lie on a diagonal that starts in column `offset`. The log-softmax subtracts the
/// largest logit first, so it is exact where pairs are told apart.
fn cross_entropy(logits: &Tensor, dim: i64, offset: i64) -> Tensor {
    -logits.log_softmax(dim, logits.kind()).diagonal(offset, 0, 1).sum(logits.kind())
}

impl Objective for Iqe {
    fn scope(&self) -> Scope {
        Scope::Batch
    }

    fn needs(&self) -> Vec<Need> {
        pairs::needs(&self.config.pairs)
    }

    fn loss(&self, features: &Features, _batch: &Batch) -> Result<Loss> {
        let scale = self.log_scale.exp();
        let sum = pairs::mean_over(&self.config.pairs, features, |image, text| self.sum_over_own(&scale, image, text, features))?;
        Ok(Loss::from(sum / features.total() as f64).with("logit_scale", scale.double_value(&[])))
    }

    fn after_step(&mut self, _seen: &Features, _progress: f64) -> Result<()> {
        tch::no_grad(|| {
            let _ = self.log_scale.clamp_(0.0, self.config.max_scale.ln());
        });
        Ok(())
    }
}

register!(dyn Objective, "iqe", IqeConfig);
