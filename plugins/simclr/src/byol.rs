//! The objective `byol`.

use std::f64::consts::PI;

use vlhub_sdk::nn::Projector;
use vlhub_sdk::ops::unit;
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch;

use crate::views::{self, On};

/// Bootstrap your own latent: predicts what a moving average of the run makes of the other view of each picture (BYOL, Grill et al., 2020, arXiv 2006.07733).
///
/// The image tower, a projector and a predictor see one view; the average of the tower and of the projector sees the other, and nothing
/// flows back into it. With unit predictions p and unit targets t of the views a and b, the loss is the mean over pictures of
/// `‖p_a − t_b‖² + ‖p_b − t_a‖²`, that is `(2 − 2 cos) + (2 − 2 cos)`, 0 to 8: both ways are added, as in the paper. The log shows as `spread` how far
/// apart the targets of different pictures lie: 1 minus the squared length of their mean, 0 when all are one point. A batch has at least 2
/// pictures.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ByolConfig {
    /// The two image views. Batch norm sees each alone.
    pub views: [String; 2],
    /// Momentum of the moving average at the start, the share of itself that it keeps in each step, 0 to 1. Where several objectives read
    /// the average of the towers, the first decides how it moves.
    pub momentum: f64,
    /// Momentum at the end of the run, reached, along half a cosine; equal to `momentum` for a constant one.
    pub momentum_end: f64,
    /// Width inside the projector and the predictor; behind it there is batch norm and ReLU.
    pub hidden: i64,
    /// Width of projections and predictions.
    pub out: i64,
    /// What the projector reads: `pooled` (the image tower's output before the projection) or `embed` (behind it).
    pub on: On,
}

impl Default for ByolConfig {
    fn default() -> Self {
        Self { views: views::two_views(), momentum: 0.996, momentum_end: 1.0, hidden: 4096, out: 256, on: On::Pooled }
    }
}

impl Config<dyn Objective> for ByolConfig {
    fn build(&self, cx: &ObjectiveCx<'_>) -> Result<Box<dyn Objective>> {
        let mut problems = OptionProblems::default();
        views::check(&mut problems, &self.views);
        problems.within("momentum", self.momentum, [0.0, 1.0]);
        problems.within("momentum_end", self.momentum_end, [0.0, 1.0]);
        problems.at_least_one(&[("hidden", self.hidden), ("out", self.out)]);
        problems.finish()?;
        let widths = [self.on.width(cx)?, self.hidden, self.out];
        let projector = Projector::new(&cx.path.sub("projector"), &widths, false)?;
        let predictor = Projector::new(&cx.path.sub("predictor"), &[self.out, self.hidden, self.out], false)?;
        let target = projector.average(&cx.path.sub("target"), &widths, false)?;
        Ok(Box::new(Byol { config: self.clone(), projector, predictor, target }))
    }
}

#[derive(Debug)]
struct Byol {
    config: ByolConfig,
    projector: Projector,
    predictor: Projector,
    /// The average of `projector`: not trained, saved with the checkpoint.
    target: Projector,
}

impl Byol {
    /// Unit predictions of a view, `[N, out]`.
    fn prediction(&self, features: &Features, view: &str) -> Result<Tensor> {
        let projected = self.projector.forward(&self.config.on.of(features.image(view)?))?;
        Ok(unit(&self.predictor.forward(&projected)?))
    }

    /// Unit targets of a view, `[N, out]`, without a graph.
    fn target(&self, features: &Features, view: &str) -> Result<Tensor> {
        tch::no_grad(|| {
            let encoded = features.get(&Forward::image(view).from_average())?;
            Ok(unit(&self.target.forward(&self.config.on.of(encoded))?))
        })
    }
}

/// How far apart unit rows lie, 0 to 1.
fn spread(units: &Tensor) -> f64 {
    tch::no_grad(|| 1.0 - units.mean_dim([0i64].as_slice(), false, units.kind()).square().sum(units.kind()).double_value(&[])).max(0.0)
}

impl Objective for Byol {
    fn scope(&self) -> Scope {
        Scope::Batch
    }

    fn needs(&self) -> Vec<Need> {
        let views = &self.config.views;
        views.iter().map(Need::image).chain(views.iter().map(|view| Need::image(view).from_average())).collect()
    }

    fn loss(&self, features: &Features, _batch: &Batch) -> Result<Loss> {
        let [a, b] = &self.config.views;
        let (target_a, target_b) = (self.target(features, a)?, self.target(features, b)?);
        // Of unit rows this is 2 − 2 cos, but does not cancel where they are near.
        let apart =
            |prediction: &Tensor, target: &Tensor| (features.own_rows(prediction) - features.own_rows(target)).square().sum(target.kind());
        let sum = apart(&self.prediction(features, a)?, &target_b) + apart(&self.prediction(features, b)?, &target_a);
        Ok(Loss::from(sum / features.total() as f64).with("spread", (spread(&target_a) + spread(&target_b)) / 2.0))
    }

    fn after_step(&mut self, _seen: &Features, progress: f64) -> Result<()> {
        if let Some(momentum) = self.momentum(progress) {
            self.target.follow(&self.projector, momentum);
        }
        Ok(())
    }

    fn momentum(&self, progress: f64) -> Option<f64> {
        let ByolConfig { momentum, momentum_end, .. } = self.config;
        Some(momentum_end - (momentum_end - momentum) * (1.0 + (PI * progress).cos()) / 2.0)
    }
}

register!(dyn Objective, "byol", ByolConfig);

#[cfg(test)]
mod tests {
    use super::*;
    use vlhub_sdk::tch::nn::VarStore;
    use vlhub_sdk::testkit::toy;

    fn small() -> ByolConfig {
        ByolConfig { hidden: 7, out: 5, ..Default::default() }
    }

    fn build(config: &ByolConfig, store: &VarStore) -> Box<dyn Objective> {
        config.build(&toy::objective_cx(store.root())).expect("builds")
    }

    #[test]
    fn the_momentum_rises_along_a_cosine() {
        let store = VarStore::new(Device::Cpu);
        let objective = build(&small(), &store);
        for (progress, expected, why) in [
            (0.0, 0.996, "the start"),
            (0.25, 1.0 - 0.004 * 0.853_553_390_593_273_8, "a quarter: (1 + √½) / 2 of the way is left"),
            (0.5, 0.998, "half way"),
            (1.0, 1.0, "the end"),
        ] {
            let momentum = objective.momentum(progress).expect("it reads the average");
            assert!((momentum - expected).abs() < 1e-12, "{why}: {momentum} for {expected}");
        }
        let store = VarStore::new(Device::Cpu);
        let constant = build(&ByolConfig { momentum: 0.99, momentum_end: 0.99, ..small() }, &store);
        assert_eq!([0.1, 0.7, 1.0].map(|progress| constant.momentum(progress)), [Some(0.99); 3], "it is constant");
    }

    #[test]
    fn the_target_is_saved_but_not_trained_and_follows() {
        let store = VarStore::new(Device::Cpu);
        let mut objective = build(&ByolConfig { momentum: 0.75, momentum_end: 0.75, ..small() }, &store);
        let of_target = |name: &String| name.starts_with("objective.target.");
        let variables = store.variables();
        assert_eq!(variables.keys().filter(|name| of_target(name)).count(), 6, "two maps and a norm");
        assert!(variables.iter().all(|(name, value)| value.requires_grad() != of_target(name)), "the others are trained");

        let features = toy::features(&objective.needs(), 3);
        objective.loss(&features, &Batch::new(toy::ROWS)).expect("a loss").total.backward();
        assert!(features.forwards().filter(|(forward, _)| !forward.is_trained()).all(|(_, encoded)| !encoded.pooled.grad().defined()));

        let (online, target) = (&variables["objective.projector.linears.0.weight"], &variables["objective.target.linears.0.weight"]);
        assert!(online.equal(target), "it begins as a copy");
        let before = target.copy();
        let _ = tch::no_grad(|| online.shallow_clone().g_add_scalar_(1.0));
        objective.after_step(&Features::new(0..0, 0), 0.5).expect("it follows");
        assert!((target - before - 0.25).abs().max().double_value(&[]) < 1e-6, "by a quarter");
    }

    #[test]
    fn the_spread_tells_of_collapse() {
        for (rows, expected, why) in [
            ([[1.0f32, 0.0], [1.0, 0.0]], 0.0, "one point"),
            ([[1.0, 0.0], [0.0, 1.0]], 0.5, "a right angle"),
            ([[1.0, 0.0], [-1.0, 0.0]], 1.0, "opposite"),
        ] {
            assert_eq!(spread(&Tensor::from_slice2(&rows)), expected, "{why}");
        }
    }

    #[test]
    fn options_that_mean_nothing_are_refused_by_name() {
        for (config, word) in [
            (ByolConfig { views: ["main".into(), "main".into()], ..Default::default() }, "`views`"),
            (ByolConfig { momentum: -0.1, ..Default::default() }, "`momentum`"),
            (ByolConfig { momentum: f64::NAN, ..Default::default() }, "`momentum`"),
            (ByolConfig { momentum_end: 1.1, ..Default::default() }, "`momentum_end`"),
            (ByolConfig { hidden: 0, ..Default::default() }, "`hidden`"),
            (ByolConfig { out: -4, ..Default::default() }, "`out`"),
        ] {
            let store = VarStore::new(Device::Cpu);
            let error = config.build(&toy::objective_cx(store.root())).expect_err(word).to_string();
            assert!(error.contains(word), "{word}: {error}");
            assert!(store.is_empty(), "{word}: nothing was made");
        }
    }
}
