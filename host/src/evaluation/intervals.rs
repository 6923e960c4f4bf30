//! Confidence intervals by bootstrap (Efron, 1979): sampling units are drawn anew with replacement, and the metric is computed each time.

use vlhub_core::Report;

use super::resampling::Resampler;
use crate::data::philox::Philox;

/// Times that the units are drawn anew.
pub const DRAWS: usize = 1000;

/// The share of the draws that lies outside of an interval, half of it on each side.
const OUTSIDE: f64 = 0.05;

/// Adds a 95 % interval to each metric of which the report has the samples. The numbers are the same each time.
pub fn add(report: &mut Report) {
    for table in &report.tables {
        for column in &table.columns {
            if let Some(metric) = report.metrics.iter_mut().find(|metric| metric.name == column.metric) {
                metric.interval = interval(&Resampler::of_column(table, column));
            }
        }
    }
}

/// The percentile interval of the first column's mean. Units are drawn from the whole table and not within classes: drawn within, a class
/// of n rows would show only (n - 1) / n of its variance, and a class of one row none. `None` for fewer than two units, which say nothing
/// of how units differ.
pub fn interval(resampler: &Resampler) -> Option<[f64; 2]> {
    if resampler.units() < 2 {
        return None;
    }
    let mut rng = Philox::new([0u64]);
    let mut means: Vec<f64> = (0..DRAWS).filter_map(|_| resampler.redrawn(&mut rng).first().copied()).collect();
    means.sort_by(f64::total_cmp);
    Some([percentile(&means, OUTSIDE / 2.0), percentile(&means, 1.0 - OUTSIDE / 2.0)])
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
    use vlhub_core::{MeanOf, SampleTable, ScoreColumn};

    use super::*;

    fn of_values(values: Vec<f32>, mean: MeanOf, classes: Vec<u32>, units: Vec<String>) -> Option<[f64; 2]> {
        let column = ScoreColumn { metric: "recall".into(), values, mean };
        interval(&Resampler::of_column(&SampleTable { classes, units, ..SampleTable::default() }, &column))
    }

    #[test]
    fn an_interval_of_right_and_wrong_is_the_binomials() {
        // 700 of 1000 right: the binomial's 2.5 % and 97.5 % quantiles are 671 and 728 (scipy 1.17, binom.ppf).
        let values: Vec<f32> = (0..1000).map(|at| f32::from(u8::from(at % 10 < 7))).collect();
        let of = |values| of_values(values, MeanOf::Rows, Vec::new(), Vec::new());
        let [low, high] = of(values).expect("an interval");
        assert!((low - 0.671).abs() < 0.004 && (high - 0.728).abs() < 0.004, "{low} {high}");
        assert_eq!(of(vec![1.0; 9]), Some([1.0, 1.0]), "nothing varies");
        assert_eq!((of(Vec::new()), of(vec![1.0])), (None, None), "one sample says nothing of how samples differ");
    }

    #[test]
    fn classes_count_alike_however_large_they_are() {
        let of = |mean| {
            let classes: Vec<u32> = [vec![0; 90], vec![1; 10]].concat();
            let values: Vec<f32> = [vec![1.0; 90], vec![0.0; 10]].concat();
            of_values(values, mean, classes, Vec::new()).expect("an interval")
        };
        assert_eq!(of(MeanOf::Classes), [0.5, 0.5], "each class is all right or all wrong");
        let [low, high] = of(MeanOf::Rows);
        assert!(low < 0.87 && high > 0.93 && high < 1.0, "{low} {high}");
    }

    #[test]
    fn classes_of_one_picture_have_the_uncertainty_of_their_pictures() {
        // With one picture in each class the mean over classes is the mean over pictures.
        let values: Vec<f32> = (0..100).map(|at| f32::from(u8::from(at % 10 < 7))).collect();
        let classes = of_values(values.clone(), MeanOf::Classes, (0..100).collect(), Vec::new()).expect("an interval");
        let rows = of_values(values, MeanOf::Rows, Vec::new(), Vec::new()).expect("an interval");
        assert!(classes[1] - classes[0] > 0.1, "drawn within classes it would be [0.7, 0.7]: {classes:?}");
        // A picture that is drawn twice is still one class, so the interval of classes is about three quarters as wide.
        assert!((classes[0] - rows[0]).abs() < 0.05 && (classes[1] - rows[1]).abs() < 0.05, "{classes:?} {rows:?}");
    }

    #[test]
    fn rows_of_one_picture_are_no_more_certain_than_the_picture() {
        let pictures: Vec<f32> = (0..40).map(|at| f32::from(u8::from(at % 2 == 0))).collect();
        let rows: Vec<f32> = pictures.iter().flat_map(|value| [*value; 25]).collect();
        let units: Vec<String> = (0..1000).map(|row| format!("picture {}", row / 25)).collect();
        let of = |values: &[f32], units: &[String]| of_values(values.to_vec(), MeanOf::Rows, Vec::new(), units.to_vec());
        assert_eq!(of(&rows, &units), of(&pictures, &[]), "25 copies of each picture say what the pictures say");
        let [low, high] = of(&rows, &[]).expect("an interval");
        assert!(high - low < 0.08, "as 1000 pictures it would be five times as narrow: {low} {high}");
    }

    #[test]
    fn a_column_of_no_metric_has_no_interval() {
        let mut report = Report::default();
        report.metric("mean_average_precision", 0.5);
        let column = ScoreColumn { metric: "average_precision".into(), values: vec![0.0, 1.0], mean: MeanOf::Rows };
        report.tables.push(SampleTable { name: "classes".into(), columns: vec![column], ..SampleTable::default() });
        add(&mut report);
        assert_eq!(report.metrics[0].interval, None);
    }
}
