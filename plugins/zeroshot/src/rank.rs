//! Ranks among scores, and what is counted from them.

use vlhub_sdk::{Matrix, Report};

/// Classes that are above `right` in a row of finite scores. Of equal scores the lower index comes first, so that a model which finds
/// everything alike scores what guessing scores, and one that gives only ties cannot win by them.
pub(crate) fn rank(scores: &[f32], right: usize) -> usize {
    let own = scores[right];
    scores.iter().enumerate().filter(|(at, score)| **score > own || (**score == own && *at < right)).count()
}

/// The class that comes first by the same rule.
pub(crate) fn first(scores: &[f32]) -> usize {
    (0..scores.len()).reduce(|best, at| if scores[at] > scores[best] { at } else { best }).unwrap_or_default()
}

/// A confusion matrix of more classes cannot be read.
const LARGEST_MATRIX: usize = 200;

/// Counts over samples.
#[derive(Debug)]
pub(crate) struct Counts {
    samples: u64,
    /// Samples whose class is among the first k, for each asked k.
    hits: Vec<(usize, u64)>,
    /// Per class: samples, and those that were predicted right.
    classes: Vec<(u64, u64)>,
    matrix: Option<Vec<Vec<u64>>>,
}

impl Counts {
    pub(crate) fn new(classes: usize, topk: &[usize]) -> Self {
        Self {
            samples: 0,
            hits: topk.iter().map(|k| (*k, 0)).collect(),
            classes: vec![(0, 0); classes],
            matrix: (classes <= LARGEST_MATRIX).then(|| vec![vec![0; classes]; classes]),
        }
    }

    pub(crate) fn add(&mut self, scores: &[f32], label: usize) {
        let rank = rank(scores, label);
        self.samples += 1;
        for (k, hits) in &mut self.hits {
            *hits += u64::from(rank < *k);
        }
        self.classes[label].0 += 1;
        self.classes[label].1 += u64::from(rank == 0);
        if let Some(matrix) = &mut self.matrix {
            matrix[label][first(scores)] += 1;
        }
    }

    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    pub(crate) fn write(self, names: &[String], report: &mut Report) {
        let classes = self.classes.len() as f64;
        for (k, hits) in &self.hits {
            report.metric_with_chance(format!("top{k}"), *hits as f64 / self.samples as f64, (*k as f64).min(classes) / classes);
        }
        let seen: Vec<_> = self.classes.iter().filter(|(samples, _)| *samples > 0).collect();
        let recall = seen.iter().map(|(samples, right)| *right as f64 / *samples as f64).sum::<f64>() / seen.len() as f64;
        report.metric_with_chance("mean_per_class_recall", recall, 1.0 / classes);
        let unseen = self.classes.len() - seen.len();
        if unseen > 0 {
            report
                .notes
                .push(format!("{unseen} of {} classes have no sample; they are left out of mean_per_class_recall", self.classes.len()));
        }
        report.samples += self.samples;
        report.confusion = self.matrix.map(|counts| Matrix { classes: names.to_vec(), counts });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_scores_the_lower_index_comes_first() {
        for (scores, right, expected, why) in [
            ([0.1, 0.9, 0.3], 1, 0, "the largest"),
            ([0.1, 0.9, 0.3], 0, 2, "the smallest"),
            ([0.5, 0.5, 0.5], 0, 0, "the first of three equals"),
            ([0.5, 0.5, 0.5], 2, 2, "the last of three equals"),
            ([0.5, 0.9, 0.5], 2, 2, "behind a larger one and an equal one"),
        ] {
            assert_eq!(rank(&scores, right), expected, "{why}");
        }
        assert_eq!(first(&[0.5, 0.9, 0.9]), 1, "the prediction keeps the same rule");
    }

    #[test]
    fn recall_is_averaged_over_classes_that_have_samples() {
        let mut counts = Counts::new(3, &[1, 2, 5]);
        for (scores, label) in [([0.9, 0.1, 0.0], 0), ([0.9, 0.1, 0.0], 0), ([0.9, 0.1, 0.0], 1)] {
            counts.add(&scores, label);
        }
        let mut report = Report::default();
        counts.write(&["a", "b", "c"].map(String::from), &mut report);
        assert_eq!(report.get("top1"), Some(2.0 / 3.0));
        assert_eq!(report.get("top2"), Some(1.0), "the true class is second for the third sample");
        assert_eq!(report.get("top5"), Some(1.0), "more than the classes is all of them");
        assert_eq!(report.get("mean_per_class_recall"), Some(0.5), "1 for a, 0 for b, c has no sample");
        assert_eq!(report.confusion.expect("three classes").counts, [[2, 0, 0], [1, 0, 0], [0, 0, 0]]);
        assert!(report.notes[0].contains("1 of 3 classes"));
    }
}
