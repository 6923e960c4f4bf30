//! Accuracy, recall and a confusion matrix, counted sample by sample.

use vlhub_core::{Answer, Example, Matrix, MeanOf, Report, SampleTable, ScoreColumn, Thumbnail};

use super::{Labelled, shared_units};

/// Largest number of classes for which a confusion matrix is reported; a larger one cannot be read.
const LARGEST_MATRIX: usize = 200;

/// Classes that are shown with pictures, of the best and of the worst.
const SHOWN_CLASSES: usize = 8;

/// Pictures that are kept of each class: of those predicted right, and of those predicted wrong.
const SHOWN_PICTURES: usize = 4;

/// Top-k hits, recall of each class and a confusion matrix over samples.
#[derive(Debug)]
pub struct Counts {
    /// What was found for each sample.
    keys: Vec<String>,
    units: Vec<Option<String>>,
    labels: Vec<u32>,
    predicted: Vec<u32>,
    ranks: Vec<u32>,
    /// For each class, some of its pictures: predicted wrong, and right.
    pictures: Vec<[Vec<Thumbnail>; 2]>,
    /// Samples whose class is among the first k, for each asked k.
    hits: Vec<(usize, u64)>,
    /// For each class: its samples, and those that were predicted right.
    classes: Vec<(u64, u64)>,
    matrix: Option<Vec<Vec<u64>>>,
}

/// The predicted class: the index of the largest score, of equal ones the lower. 0 for no scores.
pub fn predicted(scores: &[f32]) -> usize {
    (0..scores.len()).reduce(|best, at| if scores[at] > scores[best] { at } else { best }).unwrap_or_default()
}

/// Classes that are ranked above `label`. Of equal scores the lower index comes first, so a model that finds everything alike scores what
/// guessing scores.
pub fn rank(scores: &[f32], label: usize) -> usize {
    let own = scores[label];
    scores.iter().enumerate().filter(|(at, score)| **score > own || (**score == own && *at < label)).count()
}

impl Counts {
    /// Nothing counted yet, for so many classes and each k of `topk`.
    pub fn new(classes: usize, topk: &[usize]) -> Self {
        let matrix = (classes <= LARGEST_MATRIX).then(|| vec![vec![0; classes]; classes]);
        Self {
            keys: Vec::new(),
            units: Vec::new(),
            labels: Vec::new(),
            predicted: Vec::new(),
            ranks: Vec::new(),
            pictures: vec![Default::default(); classes],
            hits: topk.iter().map(|k| (*k, 0)).collect(),
            classes: vec![(0, 0); classes],
            matrix,
        }
    }

    /// Counts a batch: for each of its pictures a finite score for each class. `names` are those of all classes in their order.
    pub fn add_batch(&mut self, scores: &[Vec<f32>], batch: &Labelled, names: &[String]) {
        for (at, ((scores, key), image)) in scores.iter().zip(&batch.keys).zip(&batch.images).enumerate() {
            let label = self.add_any(scores, &batch.classes(at), key);
            if let (Some(last), Some(unit)) = (self.units.last_mut(), batch.units.get(at)) {
                last.clone_from(unit);
            }
            let class = predicted(scores);
            let kept = &mut self.pictures[label][usize::from(class == label)];
            if kept.len() < SHOWN_PICTURES {
                let answer = Answer { text: names[class].clone(), score: None, right: Some(class == label) };
                kept.push(Thumbnail::new(image, answer));
            }
        }
    }

    /// Counts one sample of which several classes are right (ReaL, Beyer et al., 2020): it is right where one of them is. It counts as a sample of
    /// the class among them that is ranked highest, which comes back.
    pub fn add_any(&mut self, scores: &[f32], labels: &[usize], key: &str) -> usize {
        let best = labels.iter().copied().min_by_key(|label| rank(scores, *label)).unwrap_or_default();
        self.add(scores, best, key);
        best
    }

    /// Counts one sample: a finite score for each class, the index of its true class, and its key.
    pub fn add(&mut self, scores: &[f32], label: usize, key: &str) {
        let rank = rank(scores, label);
        self.keys.push(key.to_owned());
        self.units.push(None);
        self.labels.push(label as u32);
        self.predicted.push(predicted(scores) as u32);
        self.ranks.push(rank as u32);
        for (k, hits) in &mut self.hits {
            *hits += u64::from(rank < *k);
        }
        self.classes[label].0 += 1;
        self.classes[label].1 += u64::from(rank == 0);
        if let Some(matrix) = &mut self.matrix {
            matrix[label][predicted(scores)] += 1;
        }
    }

    /// Adds `topK` for each k, `mean_per_class_recall`, the number of samples, what was found for each sample, examples of the best and the worst
    /// classes, and the confusion matrix to a report. `names` are those of all classes in their order. Recall is averaged over the classes that have samples, as scikit-learn's balanced accuracy is.
    pub fn write(self, names: &[String], report: &mut Report) {
        report.examples.extend(self.examples(names));
        let samples: u64 = self.classes.iter().map(|(samples, _)| samples).sum();
        let classes = self.classes.len() as f64;
        for (k, hits) in &self.hits {
            report.metric_with_chance(format!("top{k}"), *hits as f64 / samples as f64, (*k as f64).min(classes) / classes);
        }
        let seen: Vec<_> = self.classes.iter().filter(|(samples, _)| *samples > 0).collect();
        let recall = seen.iter().map(|(samples, right)| *right as f64 / *samples as f64).sum::<f64>() / seen.len() as f64;
        report.metric_with_chance("mean_per_class_recall", recall, 1.0 / classes);
        let unseen = self.classes.len() - seen.len();
        if unseen > 0 {
            let all = self.classes.len();
            report.notes.push(format!("{unseen} of {all} classes have no sample; they are left out of mean_per_class_recall"));
        }
        report.samples += samples;
        let hit = |k: usize| self.ranks.iter().map(move |rank| f32::from(u8::from((*rank as usize) < k))).collect::<Vec<f32>>();
        let mut columns: Vec<_> =
            self.hits.iter().map(|(k, _)| ScoreColumn { metric: format!("top{k}"), values: hit(*k), mean: MeanOf::Rows }).collect();
        columns.push(ScoreColumn { metric: "mean_per_class_recall".into(), values: hit(1), mean: MeanOf::Classes });
        report.tables.push(SampleTable {
            name: String::new(),
            keys: self.keys,
            units: shared_units(self.units),
            classes: self.labels,
            predicted: self.predicted,
            columns,
        });
        report.classes = names.to_vec();
        report.confusion = self.matrix.map(|counts| Matrix { classes: names.to_vec(), counts });
    }

    /// The classes of the lowest and of the highest recall, with pictures. Nothing where no picture was counted.
    fn examples(&self, names: &[String]) -> Vec<Example> {
        let mut seen: Vec<usize> = (0..self.classes.len()).filter(|class| self.classes[*class].0 > 0).collect();
        let recall = |class: usize| self.classes[class].1 as f64 / self.classes[class].0 as f64;
        seen.sort_by(|left, right| recall(*left).total_cmp(&recall(*right)).then(left.cmp(right)));
        let half = SHOWN_CLASSES.min(seen.len().div_ceil(2));
        let best = seen.iter().rev().take(half.min(seen.len() - half));
        let example = |section: &str, class: usize, right: usize| {
            let [first, second] = [right, 1 - right].map(|side| self.pictures[class][side].iter().cloned());
            let (samples, hits) = self.classes[class];
            Example {
                section: section.to_owned(),
                title: format!("{}: {hits} of {samples}", names[class]),
                pictures: first.chain(second).take(SHOWN_PICTURES).collect(),
                texts: Vec::new(),
            }
        };
        let worst = seen.iter().take(half).map(|class| example("Least recognised", *class, 0));
        let all = worst.chain(best.map(|class| example("Best recognised", *class, 1)));
        all.filter(|example| !example.pictures.is_empty()).collect()
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
        assert_eq!(predicted(&[0.5, 0.9, 0.9]), 1, "the prediction keeps the same rule");
    }

    #[test]
    fn rows_of_one_picture_have_one_sampling_unit() {
        let batch = |units: [Option<&str>; 2]| Labelled {
            images: vec![image::RgbImage::new(1, 1); 2],
            labels: vec![0, 1],
            keys: vec!["a".into(), "b".into()],
            units: units.map(|unit| unit.map(str::to_owned)).to_vec(),
            ..Labelled::default()
        };
        let names = ["a", "b"].map(String::from);
        let table = |batch: &Labelled| {
            let (mut counts, mut report) = (Counts::new(2, &[1]), Report::default());
            counts.add_batch(&[vec![1.0, 0.0], vec![0.0, 1.0]], batch, &names);
            counts.write(&names, &mut report);
            report.tables.remove(0)
        };
        assert_eq!(table(&batch([Some("picture"), Some("picture")])).units, ["picture", "picture"]);
        assert!(table(&batch([Some("picture"), None])).units.is_empty(), "each row is a unit of its own");
    }

    #[test]
    fn of_several_right_classes_one_is_enough() {
        let mut counts = Counts::new(3, &[1, 2]);
        assert_eq!(counts.add_any(&[0.1, 0.9, 0.5], &[0, 1], "a"), 1, "the class that is ranked highest");
        assert_eq!(counts.add_any(&[0.1, 0.9, 0.5], &[0, 2], "b"), 2);
        let mut report = Report::default();
        counts.write(&["a", "b", "c"].map(String::from), &mut report);
        assert_eq!((report.get("top1"), report.get("top2")), (Some(0.5), Some(1.0)));
    }

    #[test]
    fn hits_recall_and_confusion_are_counted() {
        let mut counts = Counts::new(4, &[1, 2, 9]);
        for (scores, label) in [([0.9, 0.1, 0.0, 0.0], 0), ([0.9, 0.1, 0.0, 0.0], 0), ([0.9, 0.1, 0.0, 0.0], 1), ([0.5; 4], 2)] {
            counts.add(&scores, label, "a");
        }
        let mut report = Report::default();
        counts.write(&["a", "b", "c", "d"].map(String::from), &mut report);
        assert_eq!((report.get("top1"), report.get("top2")), (Some(0.5), Some(0.75)), "ties go to the lower index");
        assert_eq!(report.get("top9"), Some(1.0), "more than the classes is all of them");
        assert_eq!(report.get("mean_per_class_recall"), Some(1.0 / 3.0), "d has no sample");
        assert!(report.notes[0].contains("1 of 4 classes"), "{:?}", report.notes);
        assert_eq!(report.confusion.expect("four classes").counts, [[2, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0; 4]]);
    }

    #[test]
    fn a_class_that_is_only_predicted_is_left_out_of_the_recall() {
        // scikit-learn 1.9: balanced_accuracy_score([0, 0, 1], [0, 2, 1]) is 0.75.
        let mut counts = Counts::new(3, &[1]);
        for (scores, label) in [([1.0, 0.0, 0.0], 0), ([0.0, 0.0, 1.0], 0), ([0.0, 1.0, 0.0], 1)] {
            counts.add(&scores, label, "a");
        }
        let mut report = Report::default();
        counts.write(&["a", "b", "c"].map(String::from), &mut report);
        assert_eq!(report.get("mean_per_class_recall"), Some(0.75));
    }
}
