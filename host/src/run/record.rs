//! What a run remembers of its steps: `metrics.jsonl`, TensorBoard, and the console.

use serde_json::json;
use vlhub_core::{Report, Result};

use super::console::{ProgressDisplay, StepStats};
use super::folder::{Measurement, RunFolder};
use super::jsonl::Jsonl;
use super::tensorboard::EventWriter;

/// Lines of `metrics.jsonl` that a run writes at most, so that a long run's report stays readable.
const MOST_LINES: u64 = 20_000;

/// Records steps and evaluations.
#[derive(Debug)]
pub struct Recorder {
    metrics: Jsonl,
    events: EventWriter,
    progress: ProgressDisplay,
    every: u64,
}

impl Recorder {
    /// Starts recording. `resumed` is the committed step after which the run goes on; what was recorded of later ones is dropped.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn open(run: &RunFolder, progress: ProgressDisplay, resumed: Option<u64>) -> Result<Self> {
        run.truncate(resumed.unwrap_or(0))?;
        Ok(Self {
            metrics: Jsonl::open(run.metrics())?,
            events: EventWriter::create(&run.tensorboard(), resumed)?,
            every: progress.total().div_ceil(MOST_LINES).max(1),
            progress,
        })
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
        self.metrics.append(&json!({
            "step": stats.step,
            "epoch": stats.epoch,
            "loss": stats.loss,
            "lr": stats.lr,
            "samples": stats.samples,
            "samples_per_second": stats.rate(),
            "data_time": stats.data_wait,
            "batch_time": stats.step_time,
            "metrics": metrics,
        }))?;
        let own = [
            ("loss", stats.loss),
            ("lr", stats.lr),
            ("data_time", stats.data_wait),
            ("batch_time", stats.step_time),
            ("samples_per_second", stats.rate()),
        ];
        let own = own.iter().map(|(name, value)| (*name, *value));
        let others = stats.metrics.iter().map(|(name, value)| (name.as_str(), *value)).filter(|(name, _)| *name != "loss");
        let tagged: Vec<_> = own.chain(others).map(|(name, value)| (format!("train/{name}"), value)).collect();
        self.events.scalars(stats.step, &tagged)
    }

    /// Records what an evaluation suite found: `results.jsonl`, the confusion matrix, and `val/NAME-METRIC` (just `val/METRIC` for a metric
    /// whose name already starts with the suite's) at the epoch, as open_clip does.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn eval(&mut self, run: &RunFolder, name: &str, place: Measurement, report: &Report) -> Result<()> {
        run.write_eval(name, place, report)?;
        let tag = |metric: &str| if metric.starts_with(name) { format!("val/{metric}") } else { format!("val/{name}-{metric}") };
        let tagged: Vec<_> = report.metrics.iter().map(|metric| (tag(&metric.name), metric.value)).collect();
        self.events.scalars(place.epoch, &tagged)
    }

    /// For texts and pictures.
    pub fn tensorboard(&mut self) -> &mut EventWriter {
        &mut self.events
    }

    /// Takes the bar off the console.
    pub fn finish(&mut self) {
        self.progress.finish();
    }
}
