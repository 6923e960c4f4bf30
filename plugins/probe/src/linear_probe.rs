//! A linear classifier on frozen features.

use std::collections::BTreeSet;

use vlhub_sdk::prelude::*;
use vlhub_sdk::suites::{checked_topk, predicted};
use vlhub_sdk::{serde_json, tch};

use crate::features::{Known, Output, Pair, Reading, add};
use crate::few_shot::averaged;
use crate::lbfgs::Stop;
use crate::logistic::Problem;

/// Linear classification of frozen features: multinomial logistic regression by L-BFGS (as in CLIP, Radford et al., 2021, section 3.2).
///
/// The loss is the mean cross-entropy over `train` plus `l2 / 2` times the squared weights; biases are free. scikit-learn's `C` is
/// `1 / (l2 · pictures)`. Of several `l2` the one is taken that is most often right on a held-out fifth of `train`: every fifth picture in the
/// order of classes. All of `train` is then fitted again. Nothing is drawn unless `shots` says so. The features of `train` stay in memory, twice while an `l2` is
/// chosen.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct LinearProbeConfig {
    /// The labelled pictures to which the classifier is fitted: a table as in `[data.train]`.
    pub train: serde_json::Value,
    /// The labelled pictures that are classified. Classes are matched by name; one that `train` does not have is refused.
    pub data: serde_json::Value,
    /// Which features are used: the tower's pooled output, or its projection into the joint space.
    pub features: Output,
    /// Subtract each feature's mean over `train` and divide by its standard deviation. A feature that does not vary is left out.
    pub standardise: bool,
    /// So many pictures of each class of `train` are drawn, and the rest is as if it were not there (few-shot); 0 takes all.
    pub shots: usize,
    /// A classifier is fitted to the pictures that each seed draws, and the metrics are averaged. Only with `shots`.
    pub seeds: Vec<u64>,
    /// Strengths of the regularisation, at least 0; of several the best is chosen, of equally good ones the strongest.
    pub l2: Vec<f64>,
    /// The fit ends when no entry of the gradient is larger.
    pub tolerance: f64,
    /// Most steps of one fit.
    pub iterations: usize,
    /// Pictures in one call of the model.
    pub batch: usize,
    /// Report `topK` for each of these K. More than the number of classes counts as all of them.
    pub topk: Vec<usize>,
}

impl Default for LinearProbeConfig {
    fn default() -> Self {
        Self {
            train: serde_json::json!({ "use": "shapes", "seed": 2 }),
            data: serde_json::json!({ "use": "shapes", "seed": 1 }),
            features: Output::Pooled,
            standardise: true,
            shots: 0,
            seeds: vec![0],
            l2: vec![1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0],
            tolerance: 1e-5,
            iterations: 1000,
            batch: 64,
            topk: vec![1, 5],
        }
    }
}

impl Config<dyn EvalSuite> for LinearProbeConfig {
    fn build(&self, cx: &EvalCx<'_>) -> Result<Box<dyn EvalSuite>> {
        let topk = checked_topk(&self.topk, self.batch)?;
        let fits = |number: &f64| number.is_finite() && *number >= 0.0;
        if self.l2.is_empty() || !self.l2.iter().all(fits) {
            return Err(Error::Options(format!("`l2` is {:?}; give at least one number, each at least 0", self.l2)));
        }
        if !fits(&self.tolerance) {
            return Err(Error::Options(format!("`tolerance` is {}; it is at least 0", self.tolerance)));
        }
        if self.iterations == 0 {
            return Err(Error::Options("`iterations` is 0; at least one step is needed".into()));
        }
        let mut seeds = self.seeds.clone();
        seeds.sort_unstable();
        seeds.dedup();
        if seeds.is_empty() || seeds.len() < self.seeds.len() || (self.shots == 0 && self.seeds.len() > 1) {
            let text = format!("`seeds` is {:?}; give at least one number, each once, and several only with `shots`", self.seeds);
            return Err(Error::Options(text));
        }
        let mut l2 = self.l2.clone();
        l2.sort_unstable_by(|a, b| b.total_cmp(a));
        l2.dedup();
        Ok(Box::new(LinearProbe { config: Self { l2, topk, ..self.clone() }, pair: Pair::open(cx, &self.train, &self.data)? }))
    }
}

struct LinearProbe {
    /// `l2` from the strongest to the weakest.
    config: LinearProbeConfig,
    pair: Pair,
}

impl std::fmt::Debug for LinearProbe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinearProbe").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The rows of `labels` that are fitted, and those that are held out: every fifth in the order of classes, so that a class of five or more gives
/// its share whatever the order of the data.
fn split(labels: &[i64]) -> (Vec<i64>, Vec<i64>) {
    let mut order: Vec<_> = (0..labels.len() as i64).collect();
    order.sort_by_key(|at| labels[*at as usize]);
    let (out, fitted): (Vec<_>, Vec<_>) = order.into_iter().enumerate().partition(|(place, _)| place % 5 == 4);
    let rows = |side: Vec<(usize, i64)>| side.into_iter().map(|(_, row)| row).collect();
    (rows(fitted), rows(out))
}

impl LinearProbe {
    fn stop(&self) -> Stop {
        Stop { tolerance: self.config.tolerance, iterations: self.config.iterations }
    }

    /// The best `l2` on a held-out fifth of `known`.
    fn choose(&self, known: &Known, classes: usize, report: &mut Report) -> Result<f64> {
        let [strongest, _, ..] = self.config.l2[..] else { return Ok(self.config.l2[0]) };
        let (fitted, out) = split(&known.labels);
        if out.is_empty() {
            let count = known.labels.len();
            return Err(Error::invalid(format!("`train` has only {count} usable pictures, too few to choose among `l2`; give one number")));
        }
        let fitted_classes: BTreeSet<i64> = fitted.iter().map(|row| known.labels[*row as usize]).collect();
        if !out.iter().any(|row| fitted_classes.contains(&known.labels[*row as usize])) {
            let text = "no class of `train` has pictures both to fit and to hold out, so nothing tells which `l2` is best; give one number";
            return Err(Error::invalid(text));
        }
        let (fitted, out) = (known.rows(&fitted), known.rows(&out));
        let problem = Problem::new(&fitted, self.config.standardise);
        let mut weights = problem.zeros();
        let (mut best, mut most, mut told, mut unended) = (strongest, None, Vec::new(), 0);
        for &l2 in &self.config.l2 {
            // A weaker one begins where the stronger one ended.
            let fit = problem.fit(l2, weights, self.stop())?;
            unended += usize::from(fit.gradient > self.config.tolerance);
            weights = fit.at;
            let scores = problem.scores(&out.features, &weights, classes)?;
            let right = scores.iter().zip(&out.labels).filter(|(scores, label)| predicted(scores) as i64 == **label).count();
            if most.is_none_or(|most| right > most) {
                (best, most) = (l2, Some(right));
            }
            told.push(format!("{l2:e}: {right}"));
        }
        report.notes.push(format!("l2 {best:e} was chosen; right of {} held-out pictures: {}", out.labels.len(), told.join(", ")));
        if unended > 0 {
            report
                .notes
                .push(format!("{unended} of {} fits that chose it ended after `iterations`, above `tolerance`", self.config.l2.len()));
        }
        Ok(best)
    }
}

impl EvalSuite for LinearProbe {
    fn requires(&self) -> Requires {
        Requires { images: true, ..Requires::default() }
    }

    fn run(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let LinearProbeConfig { features, batch, ref topk, .. } = self.config;
        let reading = Reading { model, output: features, batch };
        let (known, names) = self.pair.learn(&reading, report)?;
        let seeds = if self.config.shots == 0 { &self.config.seeds[..1] } else { &self.config.seeds };
        let mut fits = Vec::with_capacity(seeds.len());
        for seed in seeds {
            let drawn = if self.config.shots == 0 { None } else { Some(known.drawn(self.config.shots, *seed)) };
            fits.push(self.fit(drawn.as_ref().unwrap_or(&known), names.len(), report)?);
        }
        let lacking = names.len() - fits[0].0.present();
        if lacking > 0 {
            report.notes.push(format!("{lacking} of {} classes have no picture in `train`; they are never predicted", names.len()));
        }
        let classes = names.len();
        let scorers: Vec<_> =
            fits.iter().map(|(problem, found)| move |features: &Tensor| problem.scores(features, found, classes)).collect();
        let found = self.pair.measure(&reading, topk, &names, report, &scorers)?;
        add(report, averaged(found, seeds));
        Ok(())
    }
}

impl LinearProbe {
    /// A classifier of what is known, with the best `l2`.
    fn fit(&self, known: &Known, classes: usize, report: &mut Report) -> Result<(Problem, Tensor)> {
        let l2 = self.choose(known, classes, report)?;
        let problem = Problem::new(known, self.config.standardise);
        let found = problem.fit(l2, problem.zeros(), self.stop())?;
        if found.gradient > self.config.tolerance {
            let (steps, left) = (found.iterations, found.gradient);
            report.notes.push(format!("the fit ended after {steps} steps with a gradient of {left:.1e}, above `tolerance`"));
        }
        Ok((problem, found.at))
    }
}

register!(dyn EvalSuite, "linear_probe", LinearProbeConfig);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_gives_a_fifth_whatever_the_order() {
        for labels in
            [(0..40).map(|at| at % 5).collect::<Vec<i64>>(), (0..40).map(|at| at / 8).collect(), (0..40).map(|at| (at * 7) % 5).collect()]
        {
            let (fitted, out) = split(&labels);
            for class in 0..5 {
                let count = |rows: &[i64]| rows.iter().filter(|row| labels[**row as usize] == class).count();
                assert!((1..=2).contains(&count(&out)), "class {class}: {out:?}");
                assert_eq!(count(&out) + count(&fitted), 8, "no picture is lost");
            }
        }
        assert_eq!(split(&[0, 1, 2, 3]).1, [0i64; 0], "too few");
    }
}
