//! How fast a run takes steps, and where their time goes.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use vlhub_core::{Batch, Error};

use super::{Training, load_failure};
use crate::data::stream::Stream;
use crate::device::in_words;
use crate::engine::step::nonfinite;
use crate::failure::{Failure, Outcome};
use crate::measuring::{ProductWork, TimeShare, limit, median, operations, parts};

/// Steps before the measured ones: the first asks the system for its memory.
const BEFORE: u64 = 2;

/// Speed of the steps of a run. Times in seconds.
#[derive(Clone, Debug, Serialize)]
pub struct StepSpeed {
    /// Device, threads, library of products.
    pub device: String,
    /// Rows of a batch.
    pub batch: usize,
    /// Steps that were measured.
    pub steps: u64,
    /// Median of a step, without waiting for its batch.
    pub seconds: f64,
    /// The fastest step.
    pub fastest: f64,
    /// The slowest.
    pub slowest: f64,
    /// Median of waiting for a batch.
    pub waiting: f64,
    /// Rows a second, of steps and waiting.
    pub samples_per_second: f64,
    /// Bytes of a step's tensors at most, on the CPU or the GPU.
    pub peak: i64,
    /// One more step, under the profiler.
    pub profiled: f64,
    /// Its parts; what is left of it is bookkeeping.
    pub parts: Vec<TimeShare>,
    /// Its operations, each without those within it, the longest first.
    pub operations: Vec<TimeShare>,
    /// Of it, products of matrices and convolutions, attention's not among them.
    pub products: f64,
    /// Operations of those products, in 10⁹.
    pub gflop: f64,
    /// What a product of square matrices reaches in the same minute ([`limit`]), in 10⁹ operations a second.
    pub limit: f64,
}

impl Training<'_> {
    /// Takes steps of the run from its beginning, and measures `steps` of them. Nothing is saved.
    ///
    /// # Errors
    /// As [`Training::run`]; no step, or a trace that cannot be written.
    pub fn speed(&mut self, steps: u64, trace: Option<&Path>) -> Outcome<StepSpeed> {
        if steps < 1 {
            return Err(Failure::usage("--steps 0: there is nothing to measure"));
        }
        if let Some(path) = trace {
            std::fs::write(path, "").map_err(|error| Failure::usage(format!("--trace {}: {error}", path.display())))?;
        }
        let mut stream = self.loader.start(0);
        let (mut taken, mut waited) = (Vec::new(), Vec::new());
        let (first, usage) = vlhub_torch_ext::metered(|| self.timed_step(&mut stream, 0)).map_err(Error::from)?;
        first?;
        for at in 1..BEFORE + steps {
            let (wait, step) = self.timed_step(&mut stream, at)?;
            if at >= BEFORE {
                taken.push(step.as_secs_f64());
                waited.push(wait.as_secs_f64());
            }
        }
        let (profiled, spans) = vlhub_torch_ext::profiled(trace, || self.timed_step(&mut stream, BEFORE + steps)).map_err(Error::from)?;
        let products = ProductWork::of(&spans);
        let [seconds, waiting] = [taken.clone(), waited].map(|values| median(values).unwrap_or_default());
        Ok(StepSpeed {
            device: in_words(self.device),
            batch: self.config.train.batch,
            steps,
            seconds,
            fastest: taken.iter().copied().fold(f64::INFINITY, f64::min),
            slowest: taken.iter().copied().fold(0.0, f64::max),
            waiting,
            samples_per_second: self.config.train.batch as f64 / (seconds + waiting),
            peak: usage.peak,
            profiled: profiled?.1.as_secs_f64(),
            parts: parts(&spans, "step/"),
            operations: operations(&spans),
            products: products.seconds,
            gflop: products.gflop,
            limit: limit(self.device),
        })
    }

    /// Time of waiting for a batch, and of its step.
    fn timed_step(&mut self, stream: &mut Stream, at: u64) -> Outcome<(Duration, Duration)> {
        let begin = Instant::now();
        let loaded = stream.next().map_err(load_failure)?;
        let wait = begin.elapsed();
        let begin = Instant::now();
        let batch = self.on_device(loaded.batch)?;
        self.take_step(batch, &loaded.keys, at)?;
        Ok((wait, begin.elapsed()))
    }

    /// Step `at` of the run, with the samples `keys`, wherever it stands. Nothing is recorded.
    ///
    /// # Errors
    /// As [`Training::run`].
    pub(super) fn take_step(&mut self, batch: Batch, keys: &[String], at: u64) -> Outcome {
        let lr = self.config.schedule.lr(self.engine.optimizer.lr(), at, self.total);
        let outcome = self.engine.step(batch, at, lr, (at + 1) as f64 / self.total.max(1) as f64)?;
        if outcome.is_finite() { Ok(()) } else { Err(Failure::new(Failure::NONFINITE, nonfinite(&outcome, at, keys).to_string())) }
    }
}
