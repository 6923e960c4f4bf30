//! The sigmoid loss.

use vlhub_sdk::nn::{Init, LogitScale};
use vlhub_sdk::pairs::{self, UnitFeatures, ViewPair};
use vlhub_sdk::prelude::*;

use crate::options;
use crate::positives::Positives;
use crate::sigmoid::Sigmoid;

/// Pairwise sigmoid loss: every image with every text is one yes-or-no question (SigLIP, Zhai et al., 2023).
///
/// With unit features I and T, the learnt scale s and bias b, `−Σ log σ(y (s I Tᵀ + b)) / N`, where y is 1 on the diagonal and −1 elsewhere.
/// `positives` makes y = 1 for other pairs too.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct SiglipConfig {
    /// Natural logarithm of the logit scale at the start. The first objective of a run that owns `logit_scale` decides it.
    pub init_log_scale: f64,
    /// Logit bias at the start: about −10 makes the first guess "no", which is nearly always right.
    pub init_bias: f64,
    /// Upper bound of the logit scale, kept after every step; its lower bound is 1. The paper has none; open_clip trains SigLIP with this
    /// one.
    pub max_scale: f64,
    /// Pairs of an image view and a text view; the loss is the mean over them.
    pub pairs: Vec<ViewPair>,
    /// Which other rows' texts belong to an image too: `pairs` (none), `labels` (those of rows with a common class label) or `texts` (those
    /// with equal token ids).
    pub positives: Positives,
    /// Tile size: rows and columns of the tiles in which the logits are made, exactly, so that memory grows with the batch and not with its
    /// square. 0 takes 512 for batches above 1,024 on a CPU and 4,096 for those above 8,192 on a GPU, and the whole matrix below.
    pub tile: i64,
}

impl Default for SiglipConfig {
    fn default() -> Self {
        Self {
            init_log_scale: 10f64.ln(),
            init_bias: -10.0,
            max_scale: 100.0,
            pairs: pairs::main_pair(),
            positives: Positives::Pairs,
            tile: 0,
        }
    }
}

impl Config<dyn Objective> for SiglipConfig {
    fn build(&self, cx: &ObjectiveCx<'_>) -> Result<Box<dyn Objective>> {
        let mut problems = options::problems(&self.pairs, self.init_log_scale, self.max_scale, self.tile, cx);
        problems.finite("init_bias", self.init_bias);
        problems.finish()?;
        let scale = LogitScale::new(cx, self.init_log_scale, self.max_scale);
        let bias = cx.shared.entry("logit_bias").or_var(&[], Init::Const(self.init_bias));
        Ok(Box::new(Siglip { config: self.clone(), scale, bias }))
    }
}

#[derive(Debug)]
struct Siglip {
    config: SiglipConfig,
    scale: LogitScale,
    bias: Tensor,
}

impl Objective for Siglip {
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
        let SiglipConfig { pairs, positives, tile, .. } = &self.config;
        let units = UnitFeatures::of_embeds(pairs, features)?;
        let sum = pairs::mean(pairs, |pair| {
            let (image, text) = units.of(pair);
            let groups = &positives.groups(batch, &pair.1, features.total(), image.device())?;
            let sigmoid = Sigmoid { log_scale: self.scale.log(), bias: &self.bias, own: features.own(), groups, tile: *tile };
            Ok(sigmoid.sum_over_own(image, text))
        })?;
        Ok(Loss::from(sum / features.total() as f64)
            .with("logit_scale", self.scale.value())
            .with("logit_bias", self.bias.double_value(&[])))
    }

    fn after_step(&mut self, _seen: &Features, _progress: f64) -> Result<()> {
        self.scale.clamp();
        Ok(())
    }
}

register!(dyn Objective, "siglip", SiglipConfig);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{self, Setting};
    use vlhub_sdk::tch::nn::VarStore;
    use vlhub_sdk::testkit::golden::losses::{float_waves, near};

    #[test]
    fn equals_the_worked_example_of_the_paper_formula() {
        let (image, text) = float_waves();
        for (scale, bias, expected, why) in [
            (10.0f64, -10.0, 12.491922876731799, "the paper's start"),
            (1.0 / 0.07, 0.0, 13.427157841594854, "CLIP's start without a bias"),
        ] {
            let store = VarStore::new(Device::Cpu);
            let config = SiglipConfig { init_log_scale: scale.ln(), init_bias: bias, ..Default::default() };
            near(Setting::new(&store).loss(&config, &image, &text).value(), expected, 1e-5, why);
        }
    }

    #[test]
    fn loss_and_gradients_equal_open_clip() {
        for case in golden::cases("siglip") {
            let store = VarStore::new(Device::Cpu);
            let config =
                SiglipConfig { init_log_scale: case.number("logit_scale"), init_bias: case.number("logit_bias"), ..Default::default() };
            case.check(&store, &config);
        }
    }

    #[test]
    fn the_parameters_have_the_names_of_published_checkpoints() {
        let store = VarStore::new(Device::Cpu);
        SiglipConfig::default().build(&Setting::new(&store).cx()).expect("builds");
        let mut names: Vec<_> = store.variables().into_keys().collect();
        names.sort();
        assert_eq!(names, ["logit_bias", "logit_scale"]);
    }

    #[test]
    fn the_bias_is_not_clamped_and_the_scale_is() {
        let store = VarStore::new(Device::Cpu);
        let config = SiglipConfig { init_log_scale: 7.0, init_bias: -30.0, ..Default::default() };
        let mut objective = config.build(&Setting::new(&store).cx()).expect("builds");
        objective.after_step(&Features::new(0..0, 0), 1.0).expect("clamps");
        near(store.variables()["logit_scale"].double_value(&[]), 100f64.ln(), 1e-6, "the bound of open_clip");
        near(store.variables()["logit_bias"].double_value(&[]), -30.0, 1e-6, "free");
    }
}
