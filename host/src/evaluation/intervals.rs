//! Confidence intervals by bootstrap (Efron, 1979): the samples are drawn anew with replacement, and the metric is computed each time.

use rand_core::RngCore;
use vlhub_core::{MeanOf, Report, SampleTable, ScoreColumn};

use crate::data::philox::Philox;

/// Times that the samples are drawn anew.
pub const DRAWS: usize = 1000;

/// The share of the draws that lies outside of an interval, half of it on each side.
const OUTSIDE: f64 = 0.05;

/// Adds a 95 % interval to each metric of which the report has the samples. The numbers are the same each time.
pub fn add(report: &mut Report) {
    for table in &report.tables {
        for column in &table.columns {
            if let Some(metric) = report.metrics.iter_mut().find(|metric| metric.name == column.metric) {
                metric.interval = interval(&groups(table, column));
            }
        }
    }
}

/// The values that are averaged: all of them, or those of each class, whose means are averaged.
pub fn groups(table: &SampleTable, column: &ScoreColumn) -> Vec<Vec<f32>> {
    if column.mean == MeanOf::Rows || table.classes.len() != column.values.len() {
        return vec![column.values.clone()];
    }
    let mut groups = vec![Vec::new(); table.classes.iter().max().map_or(0, |last| *last as usize + 1)];
    for (class, value) in table.classes.iter().zip(&column.values) {
        groups[*class as usize].push(*value);
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// The percentile interval of the mean of the groups' means. Samples are drawn within their group, so every class stays as large as it is.
/// `None` without samples.
pub fn interval(groups: &[Vec<f32>]) -> Option<[f64; 2]> {
    if groups.is_empty() || groups.iter().any(Vec::is_empty) {
        return None;
    }
    let mut rng = Philox::new([0u64]);
    let mut means: Vec<f64> =
        (0..DRAWS).map(|_| groups.iter().map(|group| draw(group, &mut rng)).sum::<f64>() / groups.len() as f64).collect();
    means.sort_by(f64::total_cmp);
    Some([percentile(&means, OUTSIDE / 2.0), percentile(&means, 1.0 - OUTSIDE / 2.0)])
}

/// The mean of as many values as there are, each drawn from all of them.
fn draw(values: &[f32], rng: &mut Philox) -> f64 {
    let count = values.len() as u64;
    let sum: f64 = (0..count).map(|_| f64::from(values[((u64::from(rng.next_u32()) * count) >> 32) as usize])).sum();
    sum / count as f64
}

/// The value below which `share` of the sorted values lie, between two of them by their distance, as NumPy has it.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (low, part) = (place.floor() as usize, place.fract());
    let high = sorted[(low + 1).min(sorted.len() - 1)];
    sorted[low] + part * (high - sorted[low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_of_right_and_wrong_is_the_binomials() {
        // 700 of 1000 right: the binomial's 2.5 % and 97.5 % quantiles are 671 and 728 (scipy 1.17, binom.ppf).
        let values: Vec<f32> = (0..1000).map(|at| f32::from(u8::from(at % 10 < 7))).collect();
        let [low, high] = interval(&[values]).expect("an interval");
        assert!((low - 0.671).abs() < 0.004 && (high - 0.728).abs() < 0.004, "{low} {high}");
        assert_eq!(interval(&[vec![1.0; 9]]), Some([1.0, 1.0]), "nothing varies");
        assert_eq!(interval(&[]), None);
    }

    #[test]
    fn classes_count_alike_however_large_they_are() {
        let table = |mean| SampleTable {
            classes: [vec![0; 90], vec![1; 10]].concat(),
            columns: vec![ScoreColumn { metric: "recall".into(), values: [vec![1.0; 90], vec![0.0; 10]].concat(), mean }],
            ..SampleTable::default()
        };
        let of = |mean| {
            let table = table(mean);
            interval(&groups(&table, &table.columns[0])).expect("an interval")
        };
        assert_eq!(of(MeanOf::Classes), [0.5, 0.5], "each class is all right or all wrong");
        let [low, high] = of(MeanOf::Rows);
        assert!(low < 0.87 && high > 0.93 && high < 1.0, "{low} {high}");
    }
}
