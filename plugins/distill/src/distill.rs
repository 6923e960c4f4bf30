//! The objective `distill`.

use vlhub_sdk::nn::LogitScale;
use vlhub_sdk::ops::unit;
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pairs::{self, ViewPair};
use vlhub_sdk::prelude::*;

/// Knowledge distillation: chooses among the texts and images of a batch as a teacher does (open_clip's `DistillClipLoss` without its contrastive part).
///
/// With unit features I and T and the scale s of each model, Z = s I Tᵀ, and the rows of the whole batch as anchors, the loss is the mean
/// over the rows i and both directions of `−Σⱼ softmax(Zᵢⱼ of the teacher) · log softmax(Zᵢⱼ)`. Nothing flows back into the teacher, whose
/// joint space may have another width. open_clip trains with `[objective.clip]` beside it, each with the weight 1.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct DistillConfig {
    /// The teacher, as in `[teacher.NAME]`.
    pub teacher: String,
    /// Natural logarithm of the teacher's logit scale; that of its weights by default.
    pub teacher_log_scale: Option<f64>,
    /// Natural logarithm of the logit scale at the start. The first objective of a run that owns `logit_scale` decides it.
    pub init_log_scale: f64,
    /// Upper bound of the logit scale, kept after every step; its lower bound is 1.
    pub max_scale: f64,
    /// Pairs of an image view and a text view, which the teacher reads too; the loss is the mean over them.
    pub pairs: Vec<ViewPair>,
}

impl Default for DistillConfig {
    fn default() -> Self {
        Self {
            teacher: "teacher".into(),
            teacher_log_scale: None,
            init_log_scale: LogitScale::clip_start(),
            max_scale: 100.0,
            pairs: pairs::main_pair(),
        }
    }
}

impl DistillConfig {
    /// Everything that is wrong, before a parameter is made.
    fn check(&self, cx: &ObjectiveCx<'_>) -> Result<()> {
        let mut problems = OptionProblems::default();
        problems.pairs(&self.pairs);
        problems.logit_scale(self.init_log_scale, self.max_scale);
        if let Some(log_scale) = self.teacher_log_scale {
            problems.finite("teacher_log_scale", log_scale);
        }
        problems.both_towers(cx, "distillation");
        match cx.teacher(&self.teacher) {
            Ok(teacher) => {
                for (tower, what) in [(&teacher.image, "image"), (&teacher.text, "text")] {
                    problems.ensure(tower.is_some(), || {
                        format!("the teacher `{}` has no {what} tower; take a model with both towers", self.teacher)
                    });
                }
            }
            Err(error) => problems.push(format!("`teacher`: {error}")),
        }
        problems.finish()
    }
}

impl Config<dyn Objective> for DistillConfig {
    fn build(&self, cx: &ObjectiveCx<'_>) -> Result<Box<dyn Objective>> {
        self.check(cx)?;
        let teacher_log_scale = self.teacher_log_scale.or(cx.teacher(&self.teacher)?.log_scale);
        let scale = LogitScale::new(cx, self.init_log_scale, self.max_scale);
        Ok(Box::new(Distill { config: self.clone(), scale, teacher_log_scale }))
    }
}

#[derive(Debug)]
struct Distill {
    config: DistillConfig,
    scale: LogitScale,
    teacher_log_scale: Option<f64>,
}

/// Unit features of one model for one pair of views, `[N, D]` each, and the model's scale.
struct Side {
    image: Tensor,
    text: Tensor,
    scale: Tensor,
}

impl Side {
    /// Logits `[own, N]` of the own rows of `anchors` among all `others`.
    fn choose(&self, anchors: &Tensor, others: &Tensor, features: &Features) -> Tensor {
        &self.scale * features.own_rows(anchors).matmul(&others.tr())
    }
}

impl Distill {
    fn teacher_scale(&self) -> Result<f64> {
        // A trained model is built to be measured while its teacher's weights are not at hand, so this cannot be asked for in `build`.
        self.teacher_log_scale.map(f64::exp).ok_or_else(|| {
            Error::Options(format!(
                "the weights of the teacher `{}` have no logit scale; set `teacher_log_scale`, for example to 4.6052, the logarithm of 100",
                self.config.teacher
            ))
        })
    }

    /// The student's features, or the teacher's, whose graph is cut off.
    fn side(&self, features: &Features, pair: &ViewPair, teacher: bool) -> Result<Side> {
        let (image, text) = (Forward::image(&pair.0), Forward::text(&pair.1));
        if !teacher {
            return Ok(Side { image: of(features, &image)?, text: of(features, &text)?, scale: self.scale.exp() });
        }
        let of_teacher = |forward: Forward| Ok::<_, Error>(of(features, &forward.from_teacher(&self.config.teacher))?.detach());
        let (image, text) = (of_teacher(image)?, of_teacher(text)?);
        let scale = Tensor::from(self.teacher_scale()?).to_kind(image.kind()).to_device(image.device());
        Ok(Side { image, text, scale })
    }
}

/// The sum over the rows of both directions, of which the loss takes the mean.
fn sum_over_own(student: &Side, teacher: &Side, features: &Features) -> Tensor {
    let [ours, theirs] = [student, teacher].map(|side| side.choose(&side.image, &side.text, features));
    let images_choose = cross_entropy(&theirs, &ours, 1);
    let texts_choose = if features.own() == (0..features.total()) {
        // The columns of the one matrix are the rows of the other: half the products.
        cross_entropy(&theirs, &ours, 0)
    } else {
        let [ours, theirs] = [student, teacher].map(|side| side.choose(&side.text, &side.image, features));
        cross_entropy(&theirs, &ours, 1)
    };
    (images_choose + texts_choose) * 0.5
}

/// The sum over all anchors of `−Σ softmax(teacher) · log softmax(student)` along `dim`.
fn cross_entropy(teacher: &Tensor, student: &Tensor, dim: i64) -> Tensor {
    -(teacher.softmax(dim, teacher.kind()) * student.log_softmax(dim, student.kind())).sum(student.kind())
}

/// Unit rows of the embeddings of a forward pass, `[N, D]`.
fn of(features: &Features, forward: &Forward) -> Result<Tensor> {
    Ok(unit(&features.get(forward)?.embed))
}

impl Objective for Distill {
    fn scope(&self) -> Scope {
        Scope::Batch
    }

    fn needs(&self) -> Vec<Need> {
        let of_both = |need: Need| [need.clone(), need.from_teacher(&self.config.teacher)];
        let mut needs: Vec<_> = pairs::needs(&self.config.pairs).into_iter().flat_map(of_both).collect();
        needs.sort();
        needs
    }

    fn prepare(&self, _batch: &mut Batch, _rng: &mut dyn RngCore) -> Result<()> {
        // Before two models encode a batch for nothing.
        self.teacher_scale().map(drop)
    }

    fn loss(&self, features: &Features, _batch: &Batch) -> Result<Loss> {
        let of_pair = |pair: &ViewPair| {
            let (student, teacher) = (self.side(features, pair, false)?, self.side(features, pair, true)?);
            Ok(sum_over_own(&student, &teacher, features))
        };
        let sums = self.config.pairs.iter().map(of_pair).collect::<Result<Vec<_>>>()?;
        let loss = Tensor::stack(&sums, 0).mean(None::<Kind>) / features.total() as f64;
        Ok(Loss::from(loss).with("logit_scale", self.scale.value()))
    }

    fn after_step(&mut self, _seen: &Features, _progress: f64) -> Result<()> {
        self.scale.clamp();
        Ok(())
    }
}

register!(dyn Objective, "distill", DistillConfig);
