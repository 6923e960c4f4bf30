//! How fast a run takes steps, and where their time goes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use tch::{Device, Kind, Tensor};
use vlhub_core::Error;
use vlhub_torch_ext::TimeSpan;

use super::Training;
use super::feed::Feed;
use crate::data::speed::median;
use crate::device::in_words;
use crate::engine::step::nonfinite;
use crate::failure::{Failure, Outcome};

/// Steps before the measured ones: the first asks the system for its memory.
const BEFORE: u64 = 2;

/// Rows and columns of the matrices whose product tells what the device can do.
pub const SIDE: i64 = 1024;

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
    /// Its parts; what is left is bookkeeping.
    pub parts: Vec<StepPart>,
    /// Its operations, each without those within it, the longest first.
    pub operations: Vec<StepPart>,
    /// Of it, products of matrices and convolutions, attention's not among them.
    pub products: f64,
    /// Operations of those products, in 10⁹.
    pub gflop: f64,
    /// What a product of [`SIDE`] × [`SIDE`] matrices reaches in the same minute, in 10⁹ operations a second.
    pub limit: f64,
}

/// A part of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepPart {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// How often it happened.
    pub calls: u64,
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
        let mut feed = Feed::new(self.loader.start(0), self.device)?;
        let (mut taken, mut waited) = (Vec::new(), Vec::new());
        let (first, usage) = vlhub_torch_ext::metered(|| self.timed_step(&mut feed, 0)).map_err(Error::from)?;
        let mut gpu_peak = first?.gpu_peak;
        for at in 1..BEFORE + steps {
            let step = self.timed_step(&mut feed, at)?;
            gpu_peak = gpu_peak.max(step.gpu_peak);
            if at >= BEFORE {
                taken.push(step.time.as_secs_f64());
                waited.push(step.wait.as_secs_f64());
            }
        }
        let (profiled, spans) = vlhub_torch_ext::profiled(trace, || self.timed_step(&mut feed, BEFORE + steps)).map_err(Error::from)?;
        let limit = limit(self.device);
        let (parts, operations): (Vec<StepPart>, Vec<StepPart>) = (parts(&spans), operations(&spans));
        let products: Vec<&TimeSpan> = spans.iter().filter(|span| span.flops > 0).collect();
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
            parts,
            operations,
            products: products.iter().map(|span| span.duration as f64).sum::<f64>() / 1e9,
            gflop: products.iter().map(|span| span.flops as f64).sum::<f64>() / 1e9,
            limit,
        })
    }

    /// Waits for a batch, and takes its step.
    fn timed_step(&mut self, feed: &mut Feed, at: u64) -> Outcome<TimedStep> {
        let begin = Instant::now();
        let loaded = feed.batch().map_err(|error| self.load_failure(error))?;
        let wait = begin.elapsed();
        let begin = Instant::now();
        let lr = self.config.schedule.lr(self.engine.optimizer.lr(), at, self.total);
        let (outcome, gpu_peak) = self.take_step(loaded.batch, at, lr)?;
        if !outcome.is_finite() && !outcome.overflowed() {
            return Err(Failure::new(Failure::NONFINITE, nonfinite(&outcome, at, &loaded.keys).to_string()));
        }
        Ok(TimedStep { wait, time: begin.elapsed(), gpu_peak })
    }
}

/// How long a step waited for its batch, how long it took then, and the bytes that were allocated on a GPU at most.
struct TimedStep {
    wait: Duration,
    time: Duration,
    gpu_peak: Option<i64>,
}

/// What the engine names `step/…` (`vlhub_torch_ext::span`), in the order in which it first happens.
fn parts(spans: &[TimeSpan]) -> Vec<StepPart> {
    let mut ours: Vec<(&TimeSpan, &str)> = spans.iter().filter_map(|span| Some((span, span.name.strip_prefix("step/")?))).collect();
    ours.sort_by_key(|(span, _)| span.start);
    let mut parts: Vec<StepPart> = Vec::new();
    for (span, name) in ours {
        let seconds = span.duration as f64 / 1e9;
        match parts.iter_mut().find(|part| part.name == name) {
            Some(part) => (part.seconds, part.calls) = (part.seconds + seconds, part.calls + 1),
            None => parts.push(StepPart { name: name.to_owned(), seconds, calls: 1 }),
        }
    }
    parts
}

/// Time of each operation without what lies within it, the longest first.
fn operations(spans: &[TimeSpan]) -> Vec<StepPart> {
    let mut sorted: Vec<&TimeSpan> = spans.iter().collect();
    // What lies within another begins after it, or with it and ends before.
    sorted.sort_by_key(|span| (span.thread, span.start, u64::MAX - span.duration));
    let mut own: BTreeMap<&str, (i64, u64)> = BTreeMap::new();
    let mut open: Vec<&TimeSpan> = Vec::new();
    for span in sorted {
        while open.last().is_some_and(|outer| outer.thread != span.thread || outer.start + outer.duration <= span.start) {
            open.pop();
        }
        if let Some(outer) = open.last() {
            own.entry(&outer.name).or_default().0 -= span.duration as i64;
        }
        let entry = own.entry(&span.name).or_default();
        *entry = (entry.0 + span.duration as i64, entry.1 + 1);
        open.push(span);
    }
    let share =
        |(name, (nanoseconds, calls)): (&str, (i64, u64))| StepPart { name: name.to_owned(), seconds: nanoseconds as f64 / 1e9, calls };
    let mut shares: Vec<StepPart> = own.into_iter().map(share).collect();
    shares.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    shares
}

/// Operations a second, in 10⁹, of the best of ten products of square matrices.
fn limit(device: Device) -> f64 {
    let _no_grad = tch::no_grad_guard();
    let matrix = Tensor::rand([SIDE, SIDE], (Kind::Float, device));
    let seconds = (0..10).map(|_| {
        let begin = Instant::now();
        // Reading a number waits for a GPU.
        let _ = matrix.mm(&matrix).double_value(&[0, 0]);
        begin.elapsed().as_secs_f64()
    });
    2.0 * (SIDE as f64).powi(3) / 1e9 / seconds.fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(name: &str, start: u64, duration: u64) -> TimeSpan {
        TimeSpan { name: name.into(), thread: 1, start, duration, flops: 0 }
    }

    #[test]
    fn an_operation_has_its_time_without_what_lies_within_it() {
        let other_thread = TimeSpan { thread: 2, ..span("aten::mm", 3, 500) };
        let spans = [
            span("aten::mm", 120, 50),
            span("step/forward image", 100, 1000),
            span("aten::linear", 100, 100),
            span("aten::linear", 300, 10),
            span("step/backward", 1100, 200),
            other_thread,
        ];
        let shown: Vec<_> =
            operations(&spans).into_iter().map(|share| (share.name, (share.seconds * 1e9).round() as i64, share.calls)).collect();
        assert_eq!(
            shown,
            [
                ("step/forward image".into(), 890, 1),
                ("aten::mm".into(), 550, 2),
                ("step/backward".into(), 200, 1),
                ("aten::linear".into(), 60, 2)
            ]
        );
        let parts: Vec<_> = parts(&spans).into_iter().map(|share| share.name).collect();
        assert_eq!(parts, ["forward image", "backward"]);
    }
}
