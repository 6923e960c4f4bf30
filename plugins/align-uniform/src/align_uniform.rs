//! The objective `align_uniform`.

use vlhub_sdk::nn::LogitScale;
use vlhub_sdk::ops::unit;
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pairs::{self, ViewPair};
use vlhub_sdk::prelude::*;

use crate::terms::{align, uniformity};

/// Alignment and uniformity (Wang and Isola, 2020, arXiv 2005.10242): draws pairs together and spreads all features over the sphere.
///
/// With unit features x of images and y of texts, `align_weight · mean ‖x_i − y_i‖^alpha + uniform_weight · (½ U(x) + ½ U(y))`, where
/// `U(x) = log mean exp(−t ‖x_i − x_j‖²)` over all pairs of different rows. Uniformity is at most 0, and lower is more even; the log shows it
/// as `uniform_image` and `uniform_text`, and the first mean as `align`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct AlignUniformConfig {
    /// What distances are taken of: `features`, or `logits`, which reproduces the Python VL Hub.
    pub on: On,
    /// Exponent α of the distance of a pair, above 0.
    pub alpha: f64,
    /// Bandwidth t of the Gaussian potential exp(−t d²): how fast the repulsion of two rows fades, above 0.
    pub t: f64,
    /// Weight of alignment.
    pub align_weight: f64,
    /// Weight of uniformity, the mean of both sides'.
    pub uniform_weight: f64,
    /// With `on = "logits"`: natural logarithm of the logit scale at the start. The first objective of a run that owns `logit_scale` decides
    /// it.
    pub init_log_scale: f64,
    /// With `on = "logits"`: upper bound of the logit scale, kept after every step; its lower bound is 1.
    pub max_scale: f64,
    /// Pairs of an image view and a text view; the loss is the mean over them.
    pub pairs: Vec<ViewPair>,
}

/// What distances are taken of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum On {
    /// Of unit features, as in the paper.
    #[default]
    Features,
    /// Of the rows of the logits s x yᵀ and of s y xᵀ, as in VL Hub: what is drawn together are row i and column i of one matrix, which asks
    /// images and texts for the same similarities, not for being similar. It is computed in double precision, because squares of logits
    /// cancel; VL Hub's exponentials underflow in single precision, where its loss is −∞ from the scale at which CLIP starts.
    Logits,
}

impl Default for AlignUniformConfig {
    fn default() -> Self {
        Self {
            on: On::Features,
            alpha: 2.0,
            t: 2.0,
            align_weight: 1.0,
            uniform_weight: 1.0,
            init_log_scale: LogitScale::clip_start(),
            max_scale: 100.0,
            pairs: pairs::main_pair(),
        }
    }
}

impl AlignUniformConfig {
    /// Refuses options that cannot mean anything.
    fn check(&self, cx: &ObjectiveCx<'_>) -> Result<()> {
        let mut problems = OptionProblems::default();
        problems.pairs(&self.pairs);
        for (name, value) in [("alpha", self.alpha), ("t", self.t)] {
            problems.positive(name, value);
        }
        for (name, weight) in [("align_weight", self.align_weight), ("uniform_weight", self.uniform_weight)] {
            problems.weight(name, weight);
        }
        problems.ensure(self.align_weight != 0.0 || self.uniform_weight != 0.0, || {
            "`align_weight` and `uniform_weight` are both 0; nothing would be trained".into()
        });
        problems.logit_scale(self.init_log_scale, self.max_scale);
        problems.both_towers(cx, "alignment");
        problems.finish()
    }
}

impl Config<dyn Objective> for AlignUniformConfig {
    fn build(&self, cx: &ObjectiveCx<'_>) -> Result<Box<dyn Objective>> {
        self.check(cx)?;
        let scale = (self.on == On::Logits).then(|| LogitScale::new(cx, self.init_log_scale, self.max_scale));
        Ok(Box::new(AlignUniform { config: self.clone(), scale }))
    }
}

#[derive(Debug)]
struct AlignUniform {
    config: AlignUniformConfig,
    /// Where distances are of logits.
    scale: Option<LogitScale>,
}

impl AlignUniform {
    /// What one pair of views gives.
    ///
    /// # Shapes
    /// - image, text: `[N, D]`, not normalised; returns `[3]`: alignment, uniformity of images, and of texts.
    fn of_pair(&self, image: &Tensor, text: &Tensor, features: &Features) -> Tensor {
        let (mut x, mut y) = (unit(image), unit(text));
        if let Some(scale) = &self.scale {
            let logits = scale.log().to_kind(Kind::Double).exp() * x.to_kind(Kind::Double).matmul(&y.to_kind(Kind::Double).tr());
            (x, y) = (logits.shallow_clone(), logits.tr());
        }
        let t = self.config.t;
        Tensor::stack(&[align(&x, &y, self.config.alpha, features), uniformity(&x, t, features), uniformity(&y, t, features)], 0)
    }
}

impl Objective for AlignUniform {
    fn scope(&self) -> Scope {
        Scope::Batch
    }

    fn needs(&self) -> Vec<Need> {
        pairs::needs(&self.config.pairs)
    }

    fn loss(&self, features: &Features, _batch: &Batch) -> Result<Loss> {
        let mut each = Vec::new();
        for (image, text) in &self.config.pairs {
            each.push(self.of_pair(&features.image(image)?.embed, &features.text(text)?.embed, features));
        }
        let terms = Tensor::stack(&each, 0).mean_dim([0i64].as_slice(), false, None);
        let AlignUniformConfig { align_weight, uniform_weight, .. } = self.config;
        let total = terms.get(0) * align_weight + (terms.get(1) + terms.get(2)) * (0.5 * uniform_weight);
        let mut loss = Loss::from(total.to_kind(Kind::Float));
        for (at, name) in ["align", "uniform_image", "uniform_text"].into_iter().enumerate() {
            loss = loss.with(name, terms.double_value(&[at as i64]));
        }
        Ok(match &self.scale {
            Some(scale) => loss.with("logit_scale", scale.value()),
            None => loss,
        })
    }

    fn after_step(&mut self, _seen: &Features, _progress: f64) -> Result<()> {
        if let Some(scale) = &mut self.scale {
            scale.clamp();
        }
        Ok(())
    }
}

register!(dyn Objective, "align_uniform", AlignUniformConfig);
