//! Hits averaged over classes, as VL Hub measures OpenImages.

use vlhub_sdk::prelude::*;
use vlhub_sdk::suites::{Labelled, predicted, rank, shared_units};
use vlhub_sdk::{MeanOf, SampleTable, ScoreColumn};

/// Fewest pictures of a class that counts.
const FEWEST: usize = 2;

/// What was found for each picture.
pub(super) struct Balanced {
    classes: usize,
    topk: Vec<usize>,
    rows: Vec<Row>,
}

struct Row {
    key: String,
    unit: Option<String>,
    class: usize,
    predicted: usize,
    /// Classes that are ranked above the right one.
    rank: usize,
}

impl Balanced {
    /// Nothing yet, for so many classes.
    pub fn new(classes: usize, topk: &[usize]) -> Self {
        Self { classes, topk: topk.to_vec(), rows: Vec::new() }
    }

    /// Adds a batch with its scores.
    pub fn add(&mut self, scores: &[Vec<f32>], batch: &Labelled) {
        for (at, ((scores, class), key)) in scores.iter().zip(&batch.labels).zip(&batch.keys).enumerate() {
            let unit = batch.units.get(at).cloned().flatten();
            self.rows.push(Row { key: key.clone(), unit, class: *class, predicted: predicted(scores), rank: rank(scores, *class) });
        }
    }

    /// Adds `balanced_topK` for each K, and the pictures that count.
    pub fn write(self, report: &mut Report) {
        let mut sizes = vec![0; self.classes];
        self.rows.iter().for_each(|row| sizes[row.class] += 1);
        let rows: Vec<Row> = self.rows.into_iter().filter(|row| sizes[row.class] >= FEWEST).collect();
        let counted = sizes.iter().filter(|size| **size >= FEWEST).count();
        report
            .notes
            .push(format!("balanced_top is the mean over {counted} of {} classes: those with at least {FEWEST} pictures", self.classes));
        if counted == 0 {
            return;
        }
        let all = self.classes as f64;
        let column = |k: usize| {
            let values: Vec<f32> = rows.iter().map(|row| f32::from(u8::from(row.rank < k))).collect();
            ScoreColumn { metric: format!("balanced_top{k}"), values, mean: MeanOf::Classes }
        };
        let columns: Vec<ScoreColumn> = self.topk.iter().map(|k| column(*k)).collect();
        for (k, column) in self.topk.iter().zip(&columns) {
            let shares = rows.iter().zip(&column.values).map(|(row, hit)| f64::from(*hit) / sizes[row.class] as f64);
            report.metric_with_chance(column.metric.clone(), shares.sum::<f64>() / counted as f64, (*k as f64).min(all) / all);
        }
        report.tables.push(SampleTable {
            name: "balanced".into(),
            units: shared_units(rows.iter().map(|row| row.unit.clone()).collect()),
            classes: rows.iter().map(|row| row.class as u32).collect(),
            predicted: rows.iter().map(|row| row.predicted as u32).collect(),
            keys: rows.into_iter().map(|row| row.key).collect(),
            columns,
        });
    }
}
