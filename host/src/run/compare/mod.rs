//! Several runs side by side: what they were told differently, what came of it, and which differences are more than chance.

mod aligned;
mod formats;
mod groups;
mod page;
mod paired;
mod result_table;

use std::path::{Path, PathBuf};

use serde::Serialize;
use vlhub_core::{Error, Result};

use super::history::{Evaluation, RunData};
use super::robustness::{Baseline, Robustness};
pub use groups::{RunGroup, SeedSpread};
pub use paired::{MetricVerdict, PairTest};
pub use result_table::result_table;

/// Runs side by side.
#[derive(Debug, Default, Serialize)]
pub struct Comparison {
    /// The runs, in the order given; lists of values below have one for each run.
    pub runs: Vec<RunRow>,
    /// Options that are not the same in all runs.
    pub config: Vec<OptionRow>,
    /// Final numbers of the evaluation suites.
    pub metrics: Vec<MetricRow>,
    /// The runs by what they were told: those that differ in their seed alone are one group.
    pub groups: Vec<RunGroup>,
    /// Mean and spread over the seeds of each group; empty where no group has several.
    pub spreads: Vec<SeedSpread>,
    /// Paired tests between groups.
    pub tests: Vec<PairTest>,
    /// What the tests say of each metric.
    pub verdicts: Vec<MetricVerdict>,
    /// Why tests are missing.
    pub remarks: Vec<String>,
    /// Accuracy on ImageNet's distribution shifts, for each run; none where it was not measured.
    pub robustness: Vec<Option<Robustness>>,
    /// What was read.
    #[serde(skip)]
    data: Vec<RunData>,
    #[serde(skip)]
    baseline: Option<Baseline>,
}

/// One run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunRow {
    /// Its name, made unique.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// Its seed, where its options tell.
    pub seed: Option<String>,
    /// Steps taken.
    pub steps: u64,
    /// Median over the steps.
    pub samples_per_second: Option<f64>,
    /// Share of the time spent waiting for data.
    pub waiting_for_data: Option<f64>,
    /// Mean over the last tenth of the steps.
    pub final_loss: Option<f64>,
    /// Which weights the suites measured: `raw` or `average`; none where nothing was measured, or the run is older than the choice.
    pub measured_weights: Option<String>,
}

/// One option.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OptionRow {
    /// Dotted key in the configuration.
    pub key: String,
    /// Its value in each run, as TOML; none where the run does not have it.
    pub values: Vec<Option<String>>,
}

/// One number of one suite.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricRow {
    /// The suite.
    pub suite: String,
    /// The number's name.
    pub metric: String,
    /// What guessing would get, where that is known and the same in all runs that have it.
    pub chance: Option<f64>,
    /// Its last value in each run.
    pub values: Vec<Option<f64>>,
    /// Its 95 % interval in each run.
    pub intervals: Vec<Option<[f64; 2]>>,
    /// Samples measured in each run.
    pub samples: Vec<Option<u64>>,
    /// Index of the best run, when at least two differ. Ranks, losses and perplexities are better when small.
    pub best: Option<usize>,
}

/// Compares runs, or folders of `vlhub eval --out`. `baseline` is a table of standard models for effective robustness.
///
/// # Errors
/// No folder is given, one is neither, or a file cannot be read.
pub fn compare(runs: &[PathBuf], baseline: Option<&Path>) -> Result<Comparison> {
    if runs.is_empty() {
        return Err(Error::Options("no run to compare; name their folders: `LOGS/NAME`".into()));
    }
    let data = runs.iter().map(|path| RunData::read(path)).collect::<Result<Vec<_>>>()?;
    Comparison::of(data, baseline.map(Baseline::read).transpose()?)
}

impl Comparison {
    fn of(data: Vec<RunData>, baseline: Option<Baseline>) -> Result<Self> {
        let named = |name: &str| data.iter().filter(|run| run.name == name).count();
        let row = |run: &RunData| RunRow {
            name: if named(&run.name) > 1 { run.path.display().to_string() } else { run.name.clone() },
            path: run.path.clone(),
            seed: run.option("seed").map(str::to_owned),
            steps: run.last_step(),
            samples_per_second: run.rate(),
            waiting_for_data: run.waiting(),
            final_loss: run.final_loss(),
            measured_weights: run.measured_weights(),
        };
        let mut all = Self {
            runs: data.iter().map(row).collect(),
            config: options(&data),
            metrics: metrics(&data),
            robustness: data.iter().map(|run| Robustness::of(run, baseline.as_ref())).collect(),
            ..Self::default()
        };
        all.groups = groups::of(&all.runs, &data);
        all.spreads = groups::spreads(&all.groups, &all.metrics);
        let found = paired::of(&all.groups, &all.runs, &all.metrics, &data)?;
        (all.tests, all.verdicts, all.remarks) = (found.tests, found.verdicts, found.remarks);
        (all.data, all.baseline) = (data, baseline);
        Ok(all)
    }
}

/// Options that differ. Where a run is kept says nothing about it.
fn options(data: &[RunData]) -> Vec<OptionRow> {
    let mut keys: Vec<&String> = data.iter().flat_map(|run| run.options.keys()).filter(|key| !groups::is_place(key)).collect();
    keys.sort();
    keys.dedup();
    let row = |key: &String| OptionRow { key: key.clone(), values: data.iter().map(|run| run.options.get(key).cloned()).collect() };
    keys.into_iter().map(row).filter(|row| row.values.iter().any(|value| *value != row.values[0])).collect()
}

/// Final numbers, in the order in which suites first have them.
fn metrics(data: &[RunData]) -> Vec<MetricRow> {
    let finals: Vec<_> = data.iter().map(RunData::finals).collect();
    let mut names: Vec<(&str, &str)> = Vec::new();
    for one in finals.iter().flatten() {
        for metric in one.metrics.keys() {
            if !names.contains(&(&one.name, metric)) {
                names.push((&one.name, metric));
            }
        }
    }
    let row = |(suite, metric): (&str, &str)| {
        let of = |run: &Vec<&'_ Evaluation>| run.iter().find(|one| one.name == suite && one.metrics.contains_key(metric)).copied().cloned();
        let found: Vec<Option<Evaluation>> = finals.iter().map(of).collect();
        let values: Vec<_> = found.iter().map(|one| one.as_ref()?.metrics.get(metric).copied()).collect();
        let mut chances: Vec<f64> = found.iter().filter_map(|one| one.as_ref()?.chance.get(metric).copied()).collect();
        chances.dedup();
        MetricRow {
            suite: suite.into(),
            metric: metric.into(),
            chance: if chances.len() == 1 { chances.first().copied() } else { None },
            best: best(metric, &values),
            values,
            intervals: found.iter().map(|one| one.as_ref()?.interval.get(metric).copied()).collect(),
            samples: found.iter().map(|one| Some(one.as_ref()?.samples)).collect(),
        }
    };
    names.into_iter().map(row).collect()
}

/// Whether a metric is better when small.
fn is_small_better(metric: &str) -> bool {
    ["rank", "loss", "perplexity"].iter().any(|word| metric.to_lowercase().contains(word))
}

/// Place of the best value; none where all are alike.
fn best(metric: &str, values: &[Option<f64>]) -> Option<usize> {
    let known: Vec<_> = values.iter().enumerate().filter_map(|(at, value)| Some((at, (*value)?))).collect();
    if known.iter().all(|(_, value)| *value == known[0].1) {
        return None;
    }
    let order = |value: f64| if is_small_better(metric) { -value } else { value };
    known.into_iter().max_by(|a, b| order(a.1).total_cmp(&order(b.1))).map(|(at, _)| at)
}

#[cfg(test)]
mod tests;
