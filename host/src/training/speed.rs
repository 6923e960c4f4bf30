//! How fast a run takes steps, and where their time goes.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use vlhub_core::{Batch, Error};

use super::Training;
use super::feed::Feed;
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
    /// Bytes that were allocated at once on a GPU at most, weights and all.
    pub gpu_peak: Option<i64>,
    /// One more step, under the profiler.
    pub profiled: f64,
    /// Its parts; what is left of it is bookkeeping.
    pub parts: Vec<TimeShare>,
    /// Its operations, each without those within it, the longest first.
    pub operations: Vec<TimeShare>,
    /// Of it, products of matrices, convolutions and gradients of these, attention's not among them.
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
            // What is there stays until there is a new one.
            let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
            opened.map_err(|error| Failure::usage(format!("--trace {}: {error}", path.display())))?;
        }
        let mut feed = Feed::new(self.loader.start(0), self.device)?;
        let (mut taken, mut waited) = (Vec::new(), Vec::new());
        let first = feed.batch().map_err(|error| self.load_failure(error))?;
        // libtorch warns of what is freed within the measurement and was there before.
        let held = first.batch.slice(0..first.batch.rows());
        let (taken_first, usage) = vlhub_torch_ext::metered(|| self.unrecorded_step(first.batch, &first.keys, 0)).map_err(Error::from)?;
        drop(held);
        let mut gpu_peak = taken_first?;
        for at in 1..BEFORE + steps {
            let step = self.timed_step(&mut feed, at)?;
            gpu_peak = gpu_peak.max(step.gpu_peak);
            if at >= BEFORE {
                taken.push(step.time.as_secs_f64());
                waited.push(step.wait.as_secs_f64());
            }
        }
        let (profiled, spans) = vlhub_torch_ext::profiled(trace, || self.timed_step(&mut feed, BEFORE + steps)).map_err(Error::from)?;
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
            gpu_peak,
            profiled: profiled?.time.as_secs_f64(),
            parts: parts(&spans, "step/"),
            operations: operations(&spans),
            products: products.seconds,
            gflop: products.gflop,
            limit: limit(self.device),
        })
    }

    /// Waits for a batch, and takes its step.
    fn timed_step(&mut self, feed: &mut Feed, at: u64) -> Outcome<TimedStep> {
        let begin = Instant::now();
        let loaded = feed.batch().map_err(|error| self.load_failure(error))?;
        let wait = begin.elapsed();
        let begin = Instant::now();
        let gpu_peak = self.unrecorded_step(loaded.batch, &loaded.keys, at)?;
        Ok(TimedStep { wait, time: begin.elapsed(), gpu_peak })
    }

    /// Step `at` of the run on a batch of the loader, with the samples `keys`, wherever the run stands. Nothing is recorded. Tells the most bytes that
    /// were allocated on a GPU meanwhile.
    ///
    /// # Errors
    /// As [`Training::run`].
    pub(super) fn unrecorded_step(&mut self, batch: Batch, keys: &[String], at: u64) -> Outcome<Option<i64>> {
        let lr = self.config.schedule.lr(self.engine.optimizer.lr(), at, self.total);
        let (outcome, gpu_peak) = self.take_step(batch, at, lr)?;
        if outcome.is_finite() || outcome.overflowed() {
            Ok(gpu_peak)
        } else {
            Err(Failure::new(Failure::NONFINITE, nonfinite(&outcome, at, keys).to_string()))
        }
    }
}

/// How long a step waited for its batch, how long it took then, and the bytes that were allocated on a GPU at most.
struct TimedStep {
    wait: Duration,
    time: Duration,
    gpu_peak: Option<i64>,
}
