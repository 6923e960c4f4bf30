//! Runs that differ in their seed alone, and how far seeds carry them apart.

use serde::Serialize;

use super::super::history::RunData;
use super::super::statistics::mean_and_deviation;
use super::{MetricRow, RunRow};

/// Runs that were told the same but for the seed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunGroup {
    /// A run's name, or what the names of several have in common.
    pub name: String,
    /// Places of its runs, in the order of their seeds.
    pub runs: Vec<usize>,
    /// Their seeds; empty for a run alone.
    pub seeds: Vec<String>,
}

/// A metric over the seeds of each group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeedSpread {
    /// The suite.
    pub suite: String,
    /// The number's name.
    pub metric: String,
    /// For each group mean, standard deviation over its runs (none for one), and how many runs have the number.
    pub groups: Vec<Option<(f64, Option<f64>, usize)>>,
}

/// Whether an option says only where a run is kept and what it is called.
pub fn is_place(key: &str) -> bool {
    matches!(key, "name" | "logs" | "folder")
}

/// Groups the runs, in the order of their first ones. Runs with the same seed are never one group: such runs differ in something that options do not
/// tell, such as the checkpoint that was measured.
pub fn of(rows: &[RunRow], data: &[RunData]) -> Vec<RunGroup> {
    let told = |run: &RunData| -> Vec<(String, String)> {
        let kept = run.options.iter().filter(|(key, _)| !is_place(key) && *key != "seed");
        kept.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let told: Vec<_> = data.iter().map(told).collect();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for at in 0..rows.len() {
        let fits = |group: &Vec<usize>| {
            let seed = &rows[at].seed;
            seed.is_some() && group.iter().all(|other| told[*other] == told[at] && rows[*other].seed != *seed)
        };
        match groups.iter_mut().find(|group| fits(group)) {
            Some(group) => group.push(at),
            None => groups.push(vec![at]),
        }
    }
    let name = |group: &Vec<usize>| match group[..] {
        [only] => rows[only].name.clone(),
        _ => common(group.iter().map(|at| rows[*at].name.as_str())).unwrap_or_else(|| rows[group[0]].name.clone()),
    };
    let names: Vec<String> = groups.iter().map(name).collect();
    let is_taken = |at: usize| names.iter().enumerate().any(|(other, name)| other != at && *name == names[at]);
    let finished = |(at, mut runs): (usize, Vec<usize>)| {
        runs.sort_by_key(|run| {
            let seed = rows[*run].seed.clone().unwrap_or_default();
            (seed.parse::<u64>().unwrap_or(u64::MAX), seed)
        });
        let seeds = if runs.len() > 1 { runs.iter().filter_map(|run| rows[*run].seed.clone()).collect() } else { Vec::new() };
        RunGroup { name: if is_taken(at) { rows[runs[0]].name.clone() } else { names[at].clone() }, runs, seeds }
    };
    groups.into_iter().enumerate().map(finished).collect()
}

/// What names have in common at their start, without signs and the word for seed at its end.
fn common<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<String> {
    let first = names.next()?.to_owned();
    let shared = names.fold(first, |shared, name| shared.chars().zip(name.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect());
    let bare = shared.trim_end_matches(|letter: char| !letter.is_alphabetic());
    let bare = ["seed", "_s", "-s"].iter().find_map(|end| bare.strip_suffix(end)).unwrap_or(&shared);
    let bare = bare.trim_end_matches(|letter: char| !letter.is_alphanumeric());
    (!bare.is_empty()).then(|| bare.to_owned())
}

/// A group as one run: the means of its runs.
pub fn as_one(group: &RunGroup, rows: &[RunRow]) -> RunRow {
    let mean = |of: fn(&RunRow) -> Option<f64>| {
        let values: Vec<f64> = group.runs.iter().filter_map(|run| of(&rows[*run])).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    RunRow {
        name: group.name.clone(),
        samples_per_second: mean(|run| run.samples_per_second),
        waiting_for_data: mean(|run| run.waiting_for_data),
        final_loss: mean(|run| run.final_loss),
        ..rows[group.runs[0]].clone()
    }
}

/// The mean of curves at the places that all of them have.
pub fn mean_curve(curves: &[Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    let Some((first, others)) = curves.split_first() else { return Vec::new() };
    let at = |x: f64| {
        let values: Option<Vec<f64>> =
            others.iter().map(|curve| curve.binary_search_by(|point| point.0.total_cmp(&x)).ok().map(|place| curve[place].1)).collect();
        values.map(|values| values.iter().sum::<f64>())
    };
    first.iter().filter_map(|(x, y)| Some((*x, (y + at(*x)?) / curves.len() as f64))).collect()
}

/// Mean and spread of every metric over seeds; empty where no group has several.
pub fn spreads(groups: &[RunGroup], metrics: &[MetricRow]) -> Vec<SeedSpread> {
    if groups.iter().all(|group| group.runs.len() < 2) {
        return Vec::new();
    }
    let of = |group: &RunGroup, row: &MetricRow| {
        let values: Vec<f64> = group.runs.iter().filter_map(|run| row.values[*run]).collect();
        (!values.is_empty()).then(|| {
            let (mean, deviation) = mean_and_deviation(&values);
            (mean, deviation, values.len())
        })
    };
    let spread = |row: &MetricRow| SeedSpread {
        suite: row.suite.clone(),
        metric: row.metric.clone(),
        groups: groups.iter().map(|group| of(group, row)).collect(),
    };
    metrics.iter().map(spread).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, seed: Option<&str>, lr: &str) -> (RunRow, RunData) {
        let mut options: std::collections::BTreeMap<String, String> =
            [("name".to_owned(), name.to_owned()), ("train.lr".to_owned(), lr.to_owned())].into();
        options.extend(seed.map(|seed| ("seed".to_owned(), seed.to_owned())));
        let row = RunRow { name: name.into(), seed: seed.map(str::to_owned), ..RunRow::default() };
        (row, RunData { name: name.into(), options, ..RunData::default() })
    }

    #[test]
    fn runs_that_differ_in_seed_alone_are_one_group() {
        let (rows, data): (Vec<_>, Vec<_>) = [
            run("clip_s10", Some("10"), "1"),
            run("clip_s2", Some("2"), "1"),
            run("siglip-seed0", Some("0"), "2"),
            run("siglip-seed1", Some("1"), "2"),
            run("clip_again", Some("2"), "1"),
            run("old", None, "1"),
        ]
        .into_iter()
        .unzip();
        let groups = of(&rows, &data);
        let told: Vec<_> = groups.iter().map(|group| (group.name.as_str(), group.runs.as_slice(), group.seeds.join(" "))).collect();
        assert_eq!(
            told,
            [
                ("clip", &[1, 0][..], "2 10".to_owned()),
                ("siglip", &[2, 3][..], "0 1".into()),
                ("clip_again", &[4][..], String::new()),
                ("old", &[5][..], String::new())
            ]
        );
        let row = MetricRow {
            suite: "z".into(),
            metric: "top1".into(),
            chance: None,
            values: vec![Some(0.25), Some(0.75), Some(0.5), None, None, None],
            intervals: vec![None; 6],
            samples: vec![None; 6],
            best: None,
        };
        let found = spreads(&groups, &[row]);
        assert_eq!(found[0].groups, [Some((0.5, Some(0.125f64.sqrt()), 2)), Some((0.5, None, 1)), None, None]);
    }

    #[test]
    fn the_mean_of_curves_is_where_all_of_them_are() {
        let curves = [vec![(1.0, 2.0), (2.0, 4.0), (3.0, 1.0)], vec![(1.0, 4.0), (3.0, 2.0)]];
        assert_eq!(mean_curve(&curves), [(1.0, 3.0), (3.0, 1.5)]);
        assert_eq!(mean_curve(&curves[..1]), curves[0]);
        assert!(mean_curve(&[]).is_empty());
    }

    #[test]
    fn names_share_what_stands_before_their_seeds() {
        for (names, expected) in [
            (["a_clip_0", "a_clip_1"], Some("a_clip")),
            (["basis", "basin"], Some("basi")),
            (["vit32-seed1", "vit32-seed2"], Some("vit32")),
            (["vit32", "vit33"], Some("vit3")),
            (["one", "two"], None),
        ] {
            assert_eq!(common(names.into_iter()).as_deref(), expected, "{names:?}");
        }
    }
}
