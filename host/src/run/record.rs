//! What a run remembers of its steps: `metrics.jsonl`, the console, and whatever `report_to` names.

use std::sync::Arc;

use serde_json::json;
use vlhub_core::{Report, Result};

use super::console::{ProgressDisplay, StepStats};
use super::folder::{Measurement, RunFolder};
use super::jsonl::Jsonl;
use super::loggers::{LogRecord, Loggers, RunEnding};
use crate::evaluation::EmbeddingSample;

/// Lines of `metrics.jsonl` that a run writes at most, so that a long run's report stays readable.
const MOST_LINES: u64 = 20_000;

/// Records steps and evaluations.
#[derive(Debug)]
pub struct Recorder {
    metrics: Jsonl,
    loggers: Loggers,
    progress: ProgressDisplay,
    every: u64,
}

impl Recorder {
    /// Starts recording, without loggers. `resumed` is the committed step after which the run goes on; what was recorded of later ones is dropped.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn open(run: &RunFolder, progress: ProgressDisplay, resumed: Option<u64>) -> Result<Self> {
        run.truncate(resumed.unwrap_or(0))?;
        Ok(Self {
            metrics: Jsonl::open(run.metrics())?,
            loggers: Loggers::default(),
            every: progress.total().div_ceil(MOST_LINES).max(1),
            progress,
        })
    }

    /// Hands everything to these loggers, too.
    pub fn report_to(mut self, loggers: Loggers) -> Self {
        self.loggers = loggers;
        self
    }

    /// Records a step that was taken.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn step(&mut self, stats: &StepStats) -> Result<()> {
        self.progress.step(stats);
        if !stats.step.is_multiple_of(self.every) && stats.step != 1 && stats.step != self.progress.total() {
            return Ok(());
        }
        let metrics: serde_json::Map<_, _> = stats.metrics.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let written = self.metrics.append(&json!({
            "step": stats.step,
            "epoch": stats.epoch,
            "loss": stats.loss,
            "lr": stats.lr,
            "samples": stats.samples,
            "samples_per_second": stats.rate(),
            "data_time": stats.data_wait,
            "batch_time": stats.step_time,
            "metrics": metrics,
        }));
        let own = [
            ("loss", stats.loss),
            ("lr", stats.lr),
            ("data_time", stats.data_wait),
            ("batch_time", stats.step_time),
            ("samples_per_second", stats.rate()),
        ];
        let own = own.iter().map(|(name, value)| (*name, *value));
        let others = stats.metrics.iter().map(|(name, value)| (name.as_str(), *value)).filter(|(name, _)| *name != "loss");
        let values = own.chain(others).map(|(name, value)| (name.to_owned(), value)).collect();
        self.loggers.write(&LogRecord::Step { step: stats.step, epoch: stats.epoch, values });
        written
    }

    /// Records what an evaluation suite found: `results.jsonl`, the confusion matrix, and the loggers.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn eval(&mut self, run: &RunFolder, name: &str, place: Measurement, report: &Report) -> Result<()> {
        let written = run.write_eval(name, place, report);
        self.loggers.write(&LogRecord::Evaluation { suite: name.to_owned(), place, metrics: report.metrics.clone() });
        written
    }

    /// Records a picture: the bytes of a PNG of `size` (width and height in pixels).
    pub fn image(&mut self, tag: &'static str, step: u64, size: (u32, u32), png: Vec<u8>) {
        self.loggers.write(&LogRecord::Image { tag, step, size, png: Arc::new(png) });
    }

    /// Whether a logger shows embeddings.
    pub fn takes_embeddings(&self) -> bool {
        self.loggers.take_embeddings()
    }

    /// Records embeddings of a suite's pictures and texts.
    pub fn embeddings(&mut self, suite: &str, step: u64, sample: EmbeddingSample) {
        self.loggers.write(&LogRecord::Embeddings { suite: suite.to_owned(), step, sample: Arc::new(sample) });
    }

    /// Takes the bar off the console, and ends the loggers.
    pub fn finish(&mut self, ending: RunEnding) {
        self.progress.finish();
        self.loggers.finish(ending);
    }
}
