//! What several runs found for the same samples, sample beside sample.

use std::collections::{BTreeMap, HashMap, HashSet};

use vlhub_core::{MeanOf, Result, SampleTable};

use super::super::history::RunData;
use crate::evaluation::resampling::unit_numbers;

/// Runs whose samples are not all the same are compared on those that they share, if these are at least so many of the fewest.
const SHARED: f64 = 0.9;

/// A metric's samples in several runs.
#[derive(Debug)]
pub struct AlignedMetric {
    /// The suite.
    pub suite: String,
    /// The metric.
    pub metric: String,
    /// Runs that have it, by place, with the values of their samples in one order.
    pub runs: Vec<(usize, Vec<f32>)>,
    /// The sampling unit of each row.
    pub units: Vec<u32>,
    /// The class of each row, where the metric is the mean of the classes' means; else empty.
    pub classes: Vec<u32>,
    /// Whether every value is 0 or 1.
    pub is_binary: bool,
}

impl AlignedMetric {
    /// How many sampling units there are.
    pub fn unit_count(&self) -> usize {
        self.units.iter().max().map_or(0, |last| *last as usize + 1)
    }
}

/// A run's table with its rows by key.
struct Keyed {
    run: usize,
    table: SampleTable,
    rows: HashMap<String, usize>,
}

impl Keyed {
    /// Keys that occur again are told apart by how often they did before.
    fn of(run: usize, table: SampleTable) -> Self {
        let mut rows = HashMap::with_capacity(table.keys.len());
        let mut again: HashMap<&str, usize> = HashMap::new();
        for (row, key) in table.keys.iter().enumerate() {
            let times = again.entry(key).or_insert(0);
            rows.insert(if *times == 0 { key.clone() } else { format!("{key}\0{times}") }, row);
            *times += 1;
        }
        Self { run, table, rows }
    }

    fn keys(&self) -> HashSet<&str> {
        self.rows.keys().map(String::as_str).collect()
    }
}

/// Lays the tables of all runs beside each other. What cannot be compared is told in `remarks`, with the names of the runs.
///
/// # Errors
/// A table that cannot be read.
pub fn of(data: &[RunData], names: &[&str], remarks: &mut Vec<String>) -> Result<Vec<AlignedMetric>> {
    let mut tables: BTreeMap<(String, String), Vec<Keyed>> = BTreeMap::new();
    for (run, data) in data.iter().enumerate() {
        for one in data.finals() {
            for table in data.tables(one)? {
                tables.entry((one.name.clone(), table.name.clone())).or_default().push(Keyed::of(run, table));
            }
        }
    }
    let mut found = Vec::new();
    for ((suite, _), runs) in tables.into_iter().filter(|(_, runs)| runs.len() > 1) {
        let (runs, keys) = shared(runs, &suite, names, remarks);
        if runs.len() > 1 && !keys.is_empty() {
            found.extend(metrics(&suite, &runs, &keys));
        }
    }
    Ok(found)
}

/// Runs that have the same samples, and the keys of these in the order of the first run.
fn shared(mut runs: Vec<Keyed>, suite: &str, names: &[&str], remarks: &mut Vec<String>) -> (Vec<Keyed>, Vec<String>) {
    let fewest = runs.iter().map(|run| run.rows.len()).min().unwrap_or(0);
    let mut common = runs[0].keys();
    for run in &runs[1..] {
        common.retain(|key| run.rows.contains_key(*key));
    }
    if common.len() as f64 >= SHARED * fewest as f64 {
        let most = runs.iter().map(|run| run.rows.len()).max().unwrap_or(0);
        if common.len() < most {
            remarks.push(format!("{suite}: tested on the {} samples that all runs have, of up to {most}", common.len()));
        }
    } else {
        // The largest number of runs that agree completely.
        let alike = |one: &Keyed| runs.iter().filter(|other| one.keys() == other.keys()).count();
        let best = (0..runs.len()).max_by_key(|at| (alike(&runs[*at]), std::cmp::Reverse(*at))).unwrap_or(0);
        let wanted: HashSet<String> = runs[best].rows.keys().cloned().collect();
        let is_same = |run: &Keyed| run.rows.len() == wanted.len() && wanted.iter().all(|key| run.rows.contains_key(key));
        let (kept, others): (Vec<Keyed>, Vec<Keyed>) = runs.into_iter().partition(is_same);
        let others: Vec<&str> = others.iter().map(|run| names[run.run]).collect();
        remarks.push(format!("{suite}: not tested, because they were measured on other samples: {}", others.join(", ")));
        runs = kept;
        common = runs.first().map(Keyed::keys).unwrap_or_default();
    }
    let common: HashSet<String> = common.into_iter().map(str::to_owned).collect();
    let Some(first) = runs.first() else { return (Vec::new(), Vec::new()) };
    let mut order: Vec<(&String, &usize)> = first.rows.iter().filter(|(key, _)| common.contains(*key)).collect();
    order.sort_by_key(|(_, row)| **row);
    let keys = order.into_iter().map(|(key, _)| key.clone()).collect();
    (runs, keys)
}

fn metrics(suite: &str, runs: &[Keyed], keys: &[String]) -> Vec<AlignedMetric> {
    let mut names: Vec<(&str, MeanOf)> = Vec::new();
    for column in runs.iter().flat_map(|run| &run.table.columns) {
        if !names.iter().any(|(name, _)| *name == column.metric) {
            names.push((&column.metric, column.mean));
        }
    }
    let first = &runs[0];
    let classes: Vec<u32> = keys.iter().filter_map(|key| first.table.classes.get(first.rows[key]).copied()).collect();
    // Folders of older versions do not say which rows are of one picture; beside them, those that say it are believed.
    let told = runs.iter().find(|run| !run.table.units.is_empty());
    let units = told.map(|run| keys.iter().map(|key| run.table.units[run.rows[key]].clone()).collect::<Vec<_>>());
    let units = unit_numbers(&units.unwrap_or_default(), keys.len());
    let of = |(metric, mean): (&str, MeanOf)| {
        let values = |run: &Keyed| {
            let column = run.table.columns.iter().find(|column| column.metric == metric)?;
            Some((run.run, keys.iter().map(|key| column.values[run.rows[key]]).collect::<Vec<f32>>()))
        };
        let runs: Vec<_> = runs.iter().filter_map(values).collect();
        AlignedMetric {
            suite: suite.to_owned(),
            metric: metric.to_owned(),
            is_binary: runs.iter().flat_map(|(_, values)| values).all(|value| *value == 0.0 || *value == 1.0),
            units: units.clone(),
            classes: if mean == MeanOf::Classes { classes.clone() } else { Vec::new() },
            runs,
        }
    };
    names.into_iter().map(of).collect()
}
