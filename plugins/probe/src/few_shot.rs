//! A few pictures of each class, drawn by a seed; and the mean of what several draws give.

use std::collections::BTreeMap;

use vlhub_sdk::prelude::*;
use vlhub_sdk::random::{SplitMix64, shuffle};

use crate::features::Known;

impl Known {
    /// The rows that are given, in that order.
    pub(crate) fn rows(&self, rows: &[i64]) -> Self {
        Self {
            features: self.features.index_select(0, &Tensor::from_slice(rows).to_device(self.features.device())),
            labels: rows.iter().map(|row| self.labels[*row as usize]).collect(),
        }
    }

    /// `shots` rows of each class, drawn without repetition; all of a class that has fewer. Which are drawn of a class depends on the seed, the
    /// class and its rows alone.
    pub(crate) fn drawn(&self, shots: usize, seed: u64) -> Self {
        let mut classes: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (row, label) in (0..).zip(&self.labels) {
            classes.entry(*label).or_default().push(row);
        }
        let mut chosen = Vec::new();
        for (class, mut rows) in classes {
            // As far apart as seeds of a generator that only counts them up have to be.
            let mut rng = SplitMix64(seed.wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ (class as u64) << 32);
            shuffle(&mut rng, &mut rows);
            rows.truncate(shots);
            chosen.extend(rows);
        }
        // In the order of the data, as the rows of a smaller data set would be.
        chosen.sort_unstable();
        self.rows(&chosen)
    }
}

/// The mean of several reports on the same pictures: of each metric, and of what was found for each picture. The predictions, examples and the
/// confusion matrix are those of the first.
pub(crate) fn averaged(reports: Vec<Report>, seeds: &[u64]) -> Report {
    let count = reports.len() as f64;
    let mut reports = reports.into_iter();
    let Some(mut mean) = reports.next() else { return Report::default() };
    let others: Vec<Report> = reports.collect();
    if others.is_empty() {
        return mean;
    }
    let mut told = Vec::new();
    for (at, metric) in mean.metrics.iter_mut().enumerate() {
        let values: Vec<f64> = std::iter::once(metric.value).chain(others.iter().map(|other| other.metrics[at].value)).collect();
        metric.value = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - metric.value).powi(2)).sum::<f64>() / (count - 1.0);
        told.push(format!("{} {:.4} ± {:.4}", metric.name, metric.value, variance.sqrt()));
    }
    for (number, table) in mean.tables.iter_mut().enumerate() {
        for (place, column) in table.columns.iter_mut().enumerate() {
            for (row, value) in column.values.iter_mut().enumerate() {
                let sum: f32 = others.iter().map(|other| other.tables[number].columns[place].values[row]).sum();
                *value = (*value + sum) / count as f32;
            }
        }
    }
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    mean.notes.push(format!(
        "mean and standard deviation over the seeds {}: {}; predictions and examples are those of the first",
        seeds.join(", "),
        told.join(", ")
    ));
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_of_each_class_are_drawn() {
        let labels: Vec<i64> = (0..30).map(|at| at % 3).chain([3]).collect();
        let features = Tensor::arange(31, (Kind::Float, Device::Cpu)).unsqueeze(1);
        let known = Known { features, labels };
        let rows = |shots, seed| Vec::<f32>::try_from(known.drawn(shots, seed).features.view(-1)).expect("numbers");
        let two = known.drawn(2, 0);
        assert_eq!(two.labels.len(), 7, "the last class has one picture");
        for class in 0..3 {
            assert_eq!(two.labels.iter().filter(|label| **label == class).count(), 2);
        }
        assert_eq!(rows(2, 0), rows(2, 0));
        assert_ne!(rows(2, 0), rows(2, 1));
        assert!(rows(2, 0).iter().all(|row| rows(4, 0).contains(row)), "more of them contain fewer of them");
        assert_eq!(rows(99, 5), (0..31).map(|row| row as f32).collect::<Vec<_>>(), "all of them, in their order");
    }
}
