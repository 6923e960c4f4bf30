//! The objective `classify`.

use vlhub_sdk::Classifier;
use vlhub_sdk::nn::{Init, Linear, normal};
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch;

use crate::mix::{Mix, partner_name, share_name};
use crate::rows::{cross_entropy, hits, labels_of, mass, targets};
use crate::{ClassifyConfig, Criterion};

impl Config<dyn Objective> for ClassifyConfig {
    fn build(&self, cx: &ObjectiveCx<'_>) -> Result<Box<dyn Objective>> {
        let mut problems = self.problems();
        let Some(image) = cx.image.as_ref().filter(|_| problems.is_empty()) else {
            if cx.image.is_none() {
                problems.push("classification needs an image tower; add `[backbone.image]` to the run".into());
            }
            return Err(Error::Options(problems.join("; ")));
        };
        // timm cuts the normal distribution at ±2, a hundred deviations away.
        let head = Linear::new(&cx.path, image.width, self.classes, normal(0.02), Init::Const(0.0))?;
        Ok(Box::new(Classify { config: self.clone(), head }))
    }
}

#[derive(Debug)]
struct Classify {
    config: ClassifyConfig,
    head: Linear,
}

/// Labels `[B, K]` of which each row has a share, and how much they count for, `[B]`.
struct Part {
    labels: Tensor,
    share: Option<Tensor>,
    mass: Tensor,
}

impl Classify {
    /// The view whose features are read.
    fn read(&self) -> &str {
        if self.config.mixes() { &self.config.mixed_view } else { &self.config.view }
    }

    /// The rows' own labels, and those of their partners.
    fn parts(&self, batch: &Batch) -> Result<Vec<Part>> {
        let labels = labels_of(batch, self.config.classes)?.shallow_clone();
        let mass_of = |labels: &Tensor| mass(labels, self.config.several);
        if !self.config.mixes() {
            return Ok(vec![Part { mass: mass_of(&labels), labels, share: None }]);
        }
        let partner = batch.extra(&partner_name(self.read()))?.shallow_clone();
        let share = batch.extra(&share_name(self.read()))?;
        let part = |labels: Tensor, share: Tensor| Part { mass: mass_of(&labels) * &share, labels, share: Some(share) };
        Ok(vec![part(labels, share.shallow_clone()), part(partner, 1.0 - share)])
    }

    fn logits(&self, pooled: &Tensor) -> Tensor {
        // Half precision has too few digits for a softmax over many classes.
        match pooled.kind() {
            Kind::Half | Kind::BFloat16 => self.head.forward(&pooled.to_kind(Kind::Float)),
            _ => self.head.forward(pooled),
        }
    }

    /// The sum over the rows of what they lose, each times its mass.
    fn sum(&self, logits: &Tensor, parts: &[Part]) -> Tensor {
        let ClassifyConfig { classes, several, label_smoothing, .. } = self.config;
        let add = |sum: Option<Tensor>, more: Tensor| Some(sum.map_or_else(|| more.shallow_clone(), |sum| sum + &more));
        let rows = match self.config.loss {
            Criterion::CrossEntropy => {
                let log_probs = logits.log_softmax(-1, logits.kind());
                let of_part = |part: &Part| {
                    let rows = cross_entropy(&log_probs, &part.labels, several, label_smoothing);
                    part.share.as_ref().map_or_else(|| rows.shallow_clone(), |share| &rows * share)
                };
                parts.iter().map(of_part).fold(None, add)
            }
            Criterion::Bce => {
                let weighted = |part: &Part| targets(&part.labels, classes, label_smoothing) * part.mass.unsqueeze(1);
                let target = parts.iter().map(weighted).fold(None, add);
                let mass = parts.iter().map(|part| part.mass.shallow_clone()).fold(None, add);
                target.zip(mass).map(|(target, mass)| self.binary(logits, &target, &mass))
            }
        };
        rows.map_or_else(|| logits.sum(logits.kind()) * 0.0, |rows| rows.sum(logits.kind()))
    }

    /// Binary cross-entropies of rows, `[B]`, times their mass; `target` is times the mass already.
    fn binary(&self, logits: &Tensor, target: &Tensor, mass: &Tensor) -> Tensor {
        let mut target = target / mass.clamp_min(f64::from(f32::MIN_POSITIVE)).unsqueeze(1);
        if let Some(threshold) = self.config.target_threshold {
            target = target.gt(threshold).to_kind(Kind::Float);
        }
        // Two logarithms, because torch's own loss rounds the small ones of sure noes away, and most answers are such.
        let (yes, no) = (-logits.log_sigmoid() * &target, (-logits).log_sigmoid() * (&target - 1.0));
        let each = yes + no;
        let rows = match self.config.sum_classes {
            true => each.sum_dim_intlist([1i64].as_slice(), false, each.kind()),
            false => each.mean_dim([1i64].as_slice(), false, each.kind()),
        };
        rows * mass
    }
}

/// What all rows together count for.
fn total(parts: &[Part]) -> f64 {
    parts.iter().map(|part| part.mass.sum(Kind::Double).double_value(&[])).sum()
}

impl Objective for Classify {
    fn scope(&self) -> Scope {
        Scope::Sample
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::image(self.read())]
    }

    fn reads(&self) -> Wants {
        Wants::NOTHING.label(Want::Optional)
    }

    fn prepare(&self, batch: &mut Batch, rng: &mut dyn RngCore) -> Result<()> {
        let labels = labels_of(batch, self.config.classes)?.shallow_clone();
        if !self.config.mixes() {
            return Ok(());
        }
        let &[_, _, height, width] = &batch.image(&self.config.view)?.size()[..] else {
            return Err(Error::invalid(format!("pictures of the view `{}` are not [B, C, H, W]", self.config.view)));
        };
        Mix::draw(&self.config, height, width, rng).apply(&self.config, &labels, batch)
    }

    fn weight(&self, batch: &Batch) -> f64 {
        // The engine refuses what is no number, with the objective's name.
        self.parts(batch).map_or(f64::NAN, |parts| total(&parts))
    }

    fn loss(&self, features: &Features, batch: &Batch) -> Result<Loss> {
        let parts = self.parts(batch)?;
        let logits = self.logits(&features.image(self.read())?.pooled);
        // Without any label the sum is 0.
        let count = Some(total(&parts)).filter(|count| *count > 0.0).unwrap_or(1.0);
        let right = tch::no_grad(|| {
            let guess = logits.argmax(-1, false);
            let of_part = |part: &Part| (hits(&guess, &part.labels) * &part.mass).sum(Kind::Double).double_value(&[]);
            parts.iter().map(of_part).sum::<f64>()
        });
        Ok(Loss::from(self.sum(&logits, &parts) / count).with("classify_accuracy", right / count))
    }

    fn skills(&self) -> Skills<'_> {
        Skills { classifier: Some(self), ..Skills::default() }
    }
}

impl Classifier for Classify {
    fn classes(&self) -> usize {
        // Checked to be at least 1.
        self.config.classes.max(0) as usize
    }

    fn classify(&self, images: &Encoded) -> Result<Tensor> {
        Ok(self.logits(&images.pooled))
    }
}

register!(dyn Objective, "classify", ClassifyConfig);
