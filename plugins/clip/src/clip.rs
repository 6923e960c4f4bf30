//! The softmax loss.

use vlhub_sdk::nn::LogitScale;
use vlhub_sdk::pairs::{self, UnitFeatures, ViewPair};
use vlhub_sdk::prelude::*;

use crate::extra::Extra;
use crate::options;
use crate::positives::{Groups, Positives};
use crate::similarity;
use crate::softmax::{Softmax, Weights};

/// Symmetric InfoNCE over the whole batch (CLIP, Radford et al., 2021).
///
/// With unit features I and T and the learnt scale s, `image_weight · CE(s I Tᵀ) + text_weight · CE(s T Iᵀ)`, where each row's right answer
/// is its own pair. The weights are not normalised. The options below change one thing each, and go together.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ClipConfig {
    /// Natural logarithm of the logit scale at the start. The first objective of a run that owns `logit_scale` decides it.
    pub init_log_scale: f64,
    /// Upper bound of the logit scale, kept after every step; its lower bound is 1.
    pub max_scale: f64,
    /// Weight of the image-to-text half: each image chooses among all texts.
    pub image_weight: f64,
    /// Weight of the text-to-image half: each text chooses among all images.
    pub text_weight: f64,
    /// Pairs of an image view and a text view; the loss is the mean over them.
    pub pairs: Vec<ViewPair>,
    /// Which other rows' pairs are right answers too: `pairs` (none), `labels` (of rows with a common class label) or `texts` (of rows with
    /// equal token ids). The target is spread evenly over a row's right answers.
    pub positives: Positives,
    /// Decoupled contrastive learning (Yeh et al., 2021, arXiv 2110.06848): take the right answers out of the denominator. The loss may
    /// then be negative.
    pub dcl: bool,
    /// Let images choose texts in a joint space of their own, with two more projections of the pooled features (as in CLOOB, Fürst et al.,
    /// 2021, arXiv 2110.11316). Evaluation does not use it.
    pub extra_projections: bool,
    /// Weight of the mean squared difference between the cosines among images and those among their texts (Sim-reg, arXiv 2309.08773).
    pub sim_reg_weight: f64,
    /// Tile size: rows and columns of the tiles in which the logits are made, exactly, so that memory grows with the batch and not with its
    /// square. 0 takes 512 for batches above 1,024 on a CPU and 4,096 for those above 8,192 on a GPU, and the whole matrix below.
    pub tile: i64,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            init_log_scale: LogitScale::clip_start(),
            max_scale: 100.0,
            image_weight: 0.5,
            text_weight: 0.5,
            pairs: pairs::main_pair(),
            positives: Positives::Pairs,
            dcl: false,
            extra_projections: false,
            sim_reg_weight: 0.0,
            tile: 0,
        }
    }
}

impl Config<dyn Objective> for ClipConfig {
    fn build(&self, cx: &ObjectiveCx<'_>) -> Result<Box<dyn Objective>> {
        let mut problems = options::problems(&self.pairs, self.init_log_scale, self.max_scale, self.tile, cx);
        problems.weight("image_weight", self.image_weight);
        problems.weight("text_weight", self.text_weight);
        problems.weight("sim_reg_weight", self.sim_reg_weight);
        problems.ensure(self.image_weight != 0.0 || self.text_weight != 0.0, || {
            "`image_weight` and `text_weight` are both 0; nothing would be contrasted".into()
        });
        problems.finish()?;
        let extra = if self.extra_projections { Some(Extra::new(cx)?) } else { None };
        let scale = LogitScale::new(cx, self.init_log_scale, self.max_scale);
        Ok(Box::new(Clip { config: self.clone(), scale, extra }))
    }
}

#[derive(Debug)]
struct Clip {
    config: ClipConfig,
    scale: LogitScale,
    extra: Option<Extra>,
}

/// Image and text, `[N, D]` each, of unit length and at least fp32.
type Both<'a> = (&'a Tensor, &'a Tensor);

impl Clip {
    /// The sum over the own rows as anchors, a scalar; `extra` is the space in which images choose, if that is another one.
    fn sum_over_own(&self, (image, text): Both<'_>, extra: Option<Both<'_>>, groups: &Groups, own: std::ops::Range<i64>) -> Tensor {
        let ClipConfig { image_weight, text_weight, dcl, sim_reg_weight, tile, .. } = self.config;
        let softmax = Softmax { log_scale: self.scale.log(), own: own.clone(), groups, decoupled: dcl, tile };
        let contrast = match extra {
            None => softmax.sum_over_own(image, text, Weights { image: image_weight, text: text_weight }),
            Some((extra_image, extra_text)) => {
                softmax.sum_over_own(extra_image, extra_text, Weights { image: image_weight, text: 0.0 })
                    + softmax.sum_over_own(image, text, Weights { image: 0.0, text: text_weight })
            }
        };
        if sim_reg_weight == 0.0 {
            return contrast;
        }
        let apart = similarity::sum_over_own(image, text, &own, tile);
        let apart = match extra {
            None => apart,
            Some((image, text)) => (apart + similarity::sum_over_own(image, text, &own, tile)) / 2.0,
        };
        contrast + apart * sim_reg_weight
    }
}

impl Objective for Clip {
    fn scope(&self) -> Scope {
        Scope::Batch
    }

    fn needs(&self) -> Vec<Need> {
        pairs::needs(&self.config.pairs)
    }

    fn reads(&self) -> Wants {
        self.config.positives.reads()
    }

    fn loss(&self, features: &Features, batch: &Batch) -> Result<Loss> {
        let pairs = &self.config.pairs;
        let units = UnitFeatures::of_embeds(pairs, features)?;
        let extra = self.extra.as_ref().map(|extra| extra.units(pairs, features)).transpose()?;
        let sum = pairs::mean(pairs, |pair| {
            let both = units.of(pair);
            let groups = self.config.positives.groups(batch, &pair.1, features.total(), both.0.device())?;
            Ok(self.sum_over_own(both, extra.as_ref().map(|extra| extra.of(pair)), &groups, features.own()))
        })?;
        Ok(Loss::from(sum / features.total() as f64).with("logit_scale", self.scale.value()))
    }

    fn after_step(&mut self, _seen: &Features, _progress: f64) -> Result<()> {
        self.scale.clamp();
        Ok(())
    }
}

register!(dyn Objective, "clip", ClipConfig);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{self, Setting};
    use vlhub_sdk::tch::nn::VarStore;
    use vlhub_sdk::testkit::golden::losses::{encoded, float_waves, near, pair_features};

    #[test]
    fn equals_the_worked_example_of_the_paper_formula() {
        let (image, text) = float_waves();
        for (config, expected, why) in [
            (ClipConfig::default(), 10.192463785155875, "the mean of both directions"),
            (ClipConfig { image_weight: 1.0, text_weight: 0.0, ..Default::default() }, 9.79157764215083, "images choose texts"),
            (ClipConfig { image_weight: 0.0, text_weight: 1.0, ..Default::default() }, 10.593349928160919, "texts choose images"),
            (ClipConfig { image_weight: 0.3, text_weight: 0.7, ..Default::default() }, 10.352818242357891, "weights"),
            (ClipConfig { image_weight: 0.9, text_weight: 0.9, ..Default::default() }, 18.346434813280574, "weights are not normalised"),
        ] {
            let store = VarStore::new(Device::Cpu);
            let loss = Setting::new(&store).loss(&config, &image, &text);
            near(loss.value(), expected, 1e-5, why);
        }
    }

    #[test]
    fn the_gradient_of_the_log_scale_equals_the_worked_example() {
        let (image, text) = float_waves();
        let store = VarStore::new(Device::Cpu);
        Setting::new(&store).loss(&ClipConfig::default(), &image, &text).total.backward();
        near(store.variables()["logit_scale"].grad().double_value(&[]), 10.03730126246814, 1e-4, "d loss / d log s");
    }

    #[test]
    fn loss_and_gradients_equal_open_clip() {
        for case in golden::cases("clip") {
            let store = VarStore::new(Device::Cpu);
            let config = ClipConfig { init_log_scale: case.number("logit_scale"), ..Default::default() };
            case.check(&store, &config);
        }
    }

    #[test]
    fn several_pairs_are_averaged() {
        let (image, text) = float_waves();
        let store = VarStore::new(Device::Cpu);
        let pairs = [("main", "main"), ("main", "eda")].map(|(image, text)| (image.to_owned(), text.to_owned())).to_vec();
        let objective = ClipConfig { pairs, ..Default::default() }.build(&Setting::new(&store).cx()).expect("builds");
        assert_eq!(objective.needs(), [Need::image("main"), Need::text("eda"), Need::text("main")], "one forward for each view");
        let mut features = pair_features(&image, &text);
        features.insert(vlhub_sdk::Modality::Text, "eda", encoded(&image));
        let loss = objective.loss(&features, &Batch::new(4)).expect("a loss").value();
        let store = VarStore::new(Device::Cpu);
        let same = Setting::new(&store).loss(&ClipConfig::default(), &image, &image).value();
        near(loss, (10.192463785155875 + same) / 2.0, 1e-5, "the mean over the two pairs");
    }

    #[test]
    fn the_scale_stays_between_one_and_its_bound() {
        for (start, end, why) in [(9.0, 100f64.ln(), "above"), (-1.0, 0.0, "below"), (2.0, 2.0, "inside")] {
            let store = VarStore::new(Device::Cpu);
            let config = ClipConfig { init_log_scale: start, ..Default::default() };
            let mut objective = config.build(&Setting::new(&store).cx()).expect("builds");
            objective.after_step(&Features::new(0..0, 0), 1.0).expect("clamps");
            near(store.variables()["logit_scale"].double_value(&[]), end, 1e-6, why);
        }
    }

    #[test]
    fn a_second_objective_shares_the_scale() {
        let store = VarStore::new(Device::Cpu);
        let setting = Setting::new(&store);
        for config in [ClipConfig::default(), ClipConfig { init_log_scale: 1.0, ..Default::default() }] {
            config.build(&setting.cx()).expect("builds");
        }
        assert_eq!(store.variables().keys().collect::<Vec<_>>(), ["logit_scale"], "one parameter under the published name");
        near(store.variables()["logit_scale"].double_value(&[]), (1.0f64 / 0.07).ln(), 1e-6, "the first one decides its start");
    }

    #[test]
    fn options_that_mean_nothing_are_refused_by_name() {
        for (config, word, why) in [
            (ClipConfig { pairs: vec![], ..Default::default() }, "pairs", "no pair, no loss"),
            (ClipConfig { max_scale: 0.5, ..Default::default() }, "max_scale", "below the lower bound"),
            (ClipConfig { image_weight: -1.0, ..Default::default() }, "image_weight", "a negative weight maximises the loss"),
            (ClipConfig { sim_reg_weight: f64::NAN, ..Default::default() }, "sim_reg_weight", "nan would spread"),
            (ClipConfig { image_weight: 0.0, text_weight: 0.0, ..Default::default() }, "text_weight", "nothing to learn"),
            (ClipConfig { tile: -1, extra_projections: true, ..Default::default() }, "tile", "no number of rows"),
            (ClipConfig { init_log_scale: f64::NAN, ..Default::default() }, "init_log_scale", "nan would spread"),
        ] {
            let store = VarStore::new(Device::Cpu);
            let error = config.build(&Setting::new(&store).cx()).expect_err(why).to_string();
            assert!(error.contains(word), "{why}: {error}");
            assert!(store.is_empty(), "{why}: nothing was made");
        }
    }
}
