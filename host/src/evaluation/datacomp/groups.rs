//! Metrics that DataComp's tasks have beside accuracy: those of groups of pictures, and the mean F1 over classes.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use vlhub_core::{Extent, Report, SampleTable, SourceCx, Want, Wants};

use super::DatacompTask;
use crate::config::RunConfig;
use crate::data::open_table;
use crate::failure::{Failure, Outcome};

/// A metric over groups: the task, the name, the metric that is averaged in each group, and which number of a picture's `npy` is its group.
/// The numbers are in the order of WILDS (Koh et al., 2021, arXiv 2012.07421) and of DataComp's own shards.
const WORST: [(&str, &str, &str, usize); 5] = [
    ("wilds/fmow", "acc_worst_region", "top1", 0),
    ("wilds/fmow", "acc_worst_year", "top1", 1),
    ("wilds/camelyon17", "acc_wg", "top1", 1),
    ("fairness/dollar_street", "acc_top5_wg", "top5", 0),
    ("fairness/geode", "acc_wg", "top1", 0),
];

/// Adds what DataComp computes for a task beside CLIP_benchmark's metrics. The groups of pictures are read from the shards below `folder`; no
/// picture is read again.
///
/// # Errors
/// A picture without its group, or shards that cannot be read.
pub fn add_metrics(task: &DatacompTask, report: &Report, config: &RunConfig, folder: &Path, metrics: &mut Map<String, Value>) -> Outcome {
    if let [Some(text), Some(image)] =
        ["text", "image"].map(|side| metrics.get(&format!("{side}_retrieval_recall@1")).and_then(Value::as_f64))
    {
        metrics.insert("mean_recall@1".into(), (0.5 * (text + image)).into());
    }
    let Some(table) = report.tables.first() else { return Ok(()) };
    if task.key == "wilds/iwildcam" {
        metrics.insert("F1-macro_all".into(), macro_f1(table).into());
    }
    let wanted: Vec<_> = WORST.iter().filter(|(key, ..)| *key == task.key).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let groups = groups(config, folder)?;
    for (_, name, column, at) in wanted {
        let values = table.columns.iter().find(|known| known.metric == *column).map(|known| &known.values);
        let values =
            values.ok_or_else(|| Failure::new(Failure::RUN, format!("{}: `{name}` needs `{column}` of each picture", task.key)))?;
        let of = |key: &String| {
            let group = groups.get(key).and_then(|numbers| numbers.get(*at)).copied();
            group.ok_or_else(|| Failure::new(Failure::DATA, format!("{}: `{key}` has no number {at} in its `npy` member", task.key)))
        };
        let keys: Vec<f64> = table.keys.iter().map(of).collect::<Outcome<_>>()?;
        metrics.insert((*name).to_owned(), worst(&keys, values).into());
    }
    Ok(())
}

/// The numbers in the `npy` member of each sample, by its key.
fn groups(config: &RunConfig, folder: &Path) -> Outcome<BTreeMap<String, Vec<f64>>> {
    let wants = Wants { label: Want::Required, meta: Want::Required, ..Wants::NOTHING };
    let host = config.opener();
    let cx = SourceCx { folder: Path::new("."), wants, extent: Extent::Whole, host: &host };
    let source = open_table(&config.registry, &json!({ "use": "clip_benchmark", "path": folder }), &cx)?;
    let mut groups = BTreeMap::new();
    for index in 0..source.len() {
        // What cannot be read has no group, which is told where the group is needed.
        let Ok(raw) = source.read(index) else { continue };
        let numbers = raw.caption.meta.get("npy").and_then(|text| serde_json::from_str(text).ok());
        groups.insert(raw.key, numbers.unwrap_or_default());
    }
    Ok(groups)
}

/// The least of the groups' means.
fn worst(groups: &[f64], values: &[f32]) -> f64 {
    let mut sums: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for (group, value) in groups.iter().zip(values) {
        let (sum, count) = sums.entry(group.to_bits()).or_default();
        (*sum, *count) = (*sum + f64::from(*value), *count + 1.0);
    }
    sums.values().map(|(sum, count)| sum / count).fold(f64::INFINITY, f64::min)
}

/// The mean of the classes' F1 scores, over the classes that have pictures, as WILDS has it.
fn macro_f1(table: &SampleTable) -> f64 {
    // For each class: right, predicted, and how many there are.
    let mut counts: BTreeMap<u32, [u64; 3]> = BTreeMap::new();
    for (class, predicted) in table.classes.iter().zip(&table.predicted) {
        counts.entry(*class).or_default()[2] += 1;
        counts.entry(*class).or_default()[0] += u64::from(class == predicted);
        counts.entry(*predicted).or_default()[1] += 1;
    }
    let seen: Vec<_> = counts.values().filter(|[_, _, samples]| *samples > 0).collect();
    let f1 = |[right, predicted, samples]: &[u64; 3]| 2.0 * *right as f64 / (*predicted + *samples) as f64;
    seen.iter().map(|counts| f1(counts)).sum::<f64>() / seen.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_group_and_the_mean_f1_are_those_of_the_definitions() {
        // By hand, by the definition in wilds 2.0.0: the least of the groups' accuracies.
        assert_eq!(worst(&[0.0, 0.0, 2.0, 2.0, 2.0, 2.0], &[1.0, 1.0, 0.0, 1.0, 1.0, 0.0]), 0.5);
        // scikit-learn 1.9.1: f1_score([0, 0, 1, 2, 2], [0, 3, 1, 1, 2], average="macro", labels=[0, 1, 2]) is 2/3.
        let table = SampleTable { classes: vec![0, 0, 1, 2, 2], predicted: vec![0, 3, 1, 1, 2], ..SampleTable::default() };
        assert!((macro_f1(&table) - 2.0 / 3.0).abs() < 1e-12, "{}", macro_f1(&table));
    }
}
