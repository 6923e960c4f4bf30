//! Which differences between groups of runs are more than chance.

use serde::Serialize;
use vlhub_core::Result;

use super::super::history::RunData;
use super::super::statistics::{Paired, SeedMeans, holm, mcnemar, over_seeds, replicates};
use super::super::svg::number;
use super::aligned::{self, AlignedMetric};
use super::groups::RunGroup;
use super::{MetricRow, RunRow, is_small_better};

/// A difference whose adjusted p is at least this is the same within noise.
const LEVEL: f64 = 0.05;
/// Up to as many groups all pairs are tested, and more against the best alone: each test makes it harder for the others.
const ALL_PAIRS: usize = 8;

/// Two groups on the same samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PairTest {
    /// The suite.
    pub suite: String,
    /// The metric.
    pub metric: String,
    /// A group.
    pub first: String,
    /// The other.
    pub second: String,
    /// Samples that both have.
    pub samples: usize,
    /// Runs of each: above 1 the test is over seeds, too.
    pub seeds: [usize; 2],
    /// The second's mean less the first's.
    pub difference: f64,
    /// Its 95 % interval, by paired bootstrap.
    pub interval: [f64; 2],
    /// Of the bootstrap, two-sided.
    pub p: f64,
    /// After Holm's adjustment over the pairs of this metric.
    pub p_holm: f64,
    /// McNemar's exact test, where both are one run and each sample is right or wrong, and none shares a picture with another.
    pub mcnemar: Option<f64>,
    /// Whether the difference is no more than noise: the adjusted p is 0.05 or more.
    pub same: bool,
}

/// What the tests say of one metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MetricVerdict {
    /// The suite.
    pub suite: String,
    /// The metric.
    pub metric: String,
    /// The best group.
    pub best: String,
    /// Its mean.
    pub value: f64,
    /// Groups that are the same within noise.
    pub same: Vec<String>,
    /// Groups that are worse by more than noise.
    pub worse: Vec<String>,
}

impl MetricVerdict {
    /// In words; `tests` are all of them.
    pub fn words(&self, tests: &[PairTest]) -> String {
        let quoted = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let mut said = format!("{} {}: `{}` has the best mean, {}.", self.suite, self.metric, self.best, number(self.value));
        if self.worse.is_empty() {
            said += " No difference from it is more than noise.";
        } else if !self.same.is_empty() {
            said += &format!(" The same within noise: {}.", quoted(&self.same));
        }
        let by = |name: &String| {
            let is_it = |test: &&PairTest| {
                let pair = [&test.first, &test.second];
                test.suite == self.suite && test.metric == self.metric && pair.contains(&name) && pair.contains(&&self.best)
            };
            let found = tests.iter().find(is_it);
            let bounds = |test: &PairTest| {
                let mut ends = test.interval.map(f64::abs);
                ends.sort_by(f64::total_cmp);
                let [low, high] = ends.map(number);
                format!("`{name}` by {} ({low} to {high}, p = {})", number(test.difference.abs()), number(test.p_holm))
            };
            found.map_or_else(|| format!("`{name}`"), bounds)
        };
        if !self.worse.is_empty() {
            said += &format!(" Worse: {}.", self.worse.iter().map(by).collect::<Vec<_>>().join("; "));
        }
        said
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Tested {
    /// All tests.
    pub tests: Vec<PairTest>,
    /// What they say.
    pub verdicts: Vec<MetricVerdict>,
    /// Why some are missing.
    pub remarks: Vec<String>,
}

/// Tests all metrics of which the samples are known.
///
/// # Errors
/// A table that cannot be read.
pub fn of(groups: &[RunGroup], runs: &[RunRow], metrics: &[MetricRow], data: &[RunData]) -> Result<Tested> {
    let mut found = Tested::default();
    if groups.len() < 2 {
        return Ok(found);
    }
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let aligned = aligned::of(data, &names, &mut found.remarks)?;
    // In the order of the other tables.
    let place = |suite: &str, metric: &str| metrics.iter().position(|row| row.suite == suite && row.metric == metric);
    // A column of no metric is of rows that were not sampled, and one unit says nothing of how units differ.
    for one in aligned.iter().filter(|one| place(&one.suite, &one.metric).is_some() && one.unit_count() > 1) {
        let means = replicates(&one.runs.iter().map(|(_, values)| values.clone()).collect::<Vec<_>>(), &one.units, &one.classes);
        test(one, &means, groups, &mut found);
    }
    found.tests.sort_by_key(|test| place(&test.suite, &test.metric));
    found.verdicts.sort_by_key(|verdict| place(&verdict.suite, &verdict.metric));
    let untested = metrics.iter().filter(|row| {
        row.values.iter().flatten().count() > 1 && !found.tests.iter().any(|test| test.suite == row.suite && test.metric == row.metric)
    });
    let untested: Vec<String> = untested.map(|row| format!("{} {}", row.suite, row.metric)).collect();
    if !untested.is_empty() {
        let why = "Not tested, because they are no means over samples, or what was found for each sample is not known";
        found.remarks.push(format!("{why}: {}", untested.join(", ")));
    }
    Ok(found)
}

/// Tests one metric; `means` belong to its runs.
fn test(one: &AlignedMetric, means: &[SeedMeans], groups: &[RunGroup], found: &mut Tested) {
    let of_run = |run: &usize| one.runs.iter().position(|(known, _)| known == run);
    let places = |group: &RunGroup| group.runs.iter().map(of_run).collect::<Option<Vec<usize>>>();
    // A group of which a run lacks the metric is not the group.
    let known: Vec<(&RunGroup, Vec<usize>)> = groups.iter().filter_map(|group| Some((group, places(group)?))).collect();
    let mean = |at: usize| known[at].1.iter().map(|place| means[*place].mean).sum::<f64>() / known[at].1.len() as f64;
    let order = |at: usize| if is_small_better(&one.metric) { -mean(at) } else { mean(at) };
    let Some(best) = (0..known.len()).max_by(|a, b| order(*a).total_cmp(&order(*b)).then(b.cmp(a))).filter(|_| known.len() > 1) else {
        return;
    };
    let all = (0..known.len()).flat_map(|first| (first + 1..known.len()).map(move |second| (first, second)));
    let pairs: Vec<(usize, usize)> = all.filter(|pair| known.len() <= ALL_PAIRS || pair.0 == best || pair.1 == best).collect();
    let mut tests: Vec<PairTest> = pairs.iter().filter_map(|&(first, second)| pair(one, means, &known[first], &known[second])).collect();
    let adjusted = holm(&tests.iter().map(|test| test.p).collect::<Vec<_>>());
    for (test, p) in tests.iter_mut().zip(adjusted) {
        (test.p_holm, test.same) = (p, p >= LEVEL);
    }
    let name = &known[best].0.name;
    let against = |same: bool| {
        let pairs = tests.iter().filter(|test| test.same == same && (test.first == *name || test.second == *name));
        pairs.map(|test| if test.first == *name { test.second.clone() } else { test.first.clone() }).collect()
    };
    found.verdicts.push(MetricVerdict {
        suite: one.suite.clone(),
        metric: one.metric.clone(),
        best: name.clone(),
        value: mean(best),
        same: against(true),
        worse: against(false),
    });
    found.tests.extend(tests);
}

fn pair(one: &AlignedMetric, means: &[SeedMeans], first: &(&RunGroup, Vec<usize>), second: &(&RunGroup, Vec<usize>)) -> Option<PairTest> {
    let of = |places: &[usize]| places.iter().map(|place| &means[*place]).collect::<Vec<_>>();
    let Paired { difference, interval, p } = over_seeds(&of(&first.1), &of(&second.1), first.0.seeds == second.0.seeds)?;
    let mcnemar = match (&first.1[..], &second.1[..]) {
        // It holds for rows that are independent of each other, and counts them alike.
        ([a], [b]) if one.is_binary && one.classes.is_empty() && one.unit_count() == one.units.len() => {
            let both = || one.runs[*a].1.iter().zip(&one.runs[*b].1);
            let only = |in_first: bool| both().filter(|(a, b)| a != b && (**a > **b) == in_first).count() as u64;
            Some(mcnemar(only(true), only(false)))
        }
        _ => None,
    };
    Some(PairTest {
        suite: one.suite.clone(),
        metric: one.metric.clone(),
        first: first.0.name.clone(),
        second: second.0.name.clone(),
        samples: one.units.len(),
        seeds: [first.1.len(), second.1.len()],
        difference,
        interval,
        p,
        mcnemar,
        ..PairTest::default()
    })
}
