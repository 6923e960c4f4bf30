//! What a run's tensors take of the memory, and how that grows with its batch.

use serde::Serialize;
use vlhub_core::{Batch, Error};
use vlhub_torch_ext::tensor_bytes;

use super::Training;
use crate::device::in_words;
use crate::engine::step_memory::{StandingMemory, batch_bytes};
use crate::failure::{Failure, Outcome};
use crate::measuring::fit::FittedLine;

/// Memory of a run's tensors, in bytes. What operations take beside tensors, such as a library's own scratch memory, is not among them.
#[derive(Clone, Debug, Serialize)]
pub struct MemoryUse {
    /// Device, threads, library of products.
    pub device: String,
    /// The precision in which towers compute.
    pub precision: &'static str,
    /// Parameters and buffers of towers and objectives.
    pub weights: i64,
    /// Gradients after a step.
    pub gradients: i64,
    /// Optimiser states.
    pub optimizer: i64,
    /// Moving averages: that of `[ema]`, and that which objectives read.
    pub averages: i64,
    /// Weights of the teachers.
    pub teachers: i64,
    /// Batches of growing size, all of the same samples.
    pub batches: Vec<BatchMemory>,
    /// MiB that a row takes, of its batch and its step: the slope of the line through `batches`. `None` for one size.
    pub mib_per_row: Option<f64>,
    /// MiB of batch and step whatever the rows: where that line begins.
    pub mib_at_no_row: Option<f64>,
}

/// Memory of a batch and its step, in bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BatchMemory {
    /// Rows.
    pub rows: usize,
    /// Tensors of the batch.
    pub batch: i64,
    /// Tensors of its step, at most at once: graph, features, gradients, and what operations need in between.
    pub step: i64,
    /// All together: weights, optimiser states, averages, teachers, batch and step.
    pub total: i64,
}

/// Slope and beginning, in MiB, of the line through what batch and step take together.
fn fitted(batches: &[BatchMemory]) -> Option<(f64, f64)> {
    let mib = |bytes: i64| bytes as f64 / f64::from(1 << 20);
    let points: Vec<(f64, f64)> = batches.iter().map(|one| (one.rows as f64, mib(one.batch + one.step))).collect();
    FittedLine::through(&points).map(|line| (line.slope, line.at_zero))
}

impl Training<'_> {
    /// Takes a step with batches of so many rows each, cut from the first batch of the run, and counts what tensors take. Nothing is saved.
    ///
    /// # Errors
    /// As [`Training::run`]; no size, or one that is larger than the run's batch.
    pub fn memory(&mut self, sizes: &[usize]) -> Outcome<MemoryUse> {
        let whole = self.config.train.batch;
        let wrong = sizes.iter().find(|size| **size < 1 || **size > whole);
        if let Some(size) = wrong.copied().or(sizes.is_empty().then_some(0)) {
            return Err(Failure::usage(format!("--batches {size}: a batch has 1 to {whole} rows")));
        }
        let loaded = self.loader.start(0).next().map_err(|error| self.load_failure(error))?;
        let all = self.on_device(loaded.batch)?;
        let StandingMemory { weights, optimizer, average, read_average, teachers } = self.engine.standing();
        let [weights, optimizer, averages, teachers] = [weights, optimizer, average + read_average, teachers].map(|bytes| bytes as i64);
        let mut batches = Vec::new();
        for rows in sizes {
            let batch = batch_bytes(&all.slice(0..*rows as i64))? as i64;
            let step = self.peak_of_step(&all, *rows, &loaded.keys)?;
            batches.push(BatchMemory { rows: *rows, batch, step, total: weights + optimizer + averages + teachers + batch + step });
        }
        let line = fitted(&batches);
        Ok(MemoryUse {
            device: in_words(self.device),
            precision: self.engine.precision.name(),
            weights,
            gradients: self.engine.optimizer.grads().iter().map(|(_, grad)| tensor_bytes(grad) as i64).sum(),
            optimizer,
            averages,
            teachers,
            batches,
            mib_per_row: line.map(|(slope, _)| slope),
            mib_at_no_row: line.map(|(_, at_zero)| at_zero),
        })
    }

    /// The most bytes that the tensors of a step with the first `rows` of `all` take at once. It is cut as the run's options say for that many.
    fn peak_of_step(&mut self, all: &Batch, rows: usize, keys: &[String]) -> Outcome<i64> {
        let train = &self.config.train;
        (self.engine.cache, self.engine.memory, self.engine.graphs_that_fit) = (train.grad_cache.clone(), train.memory_bytes(), None);
        // The plan for another size may have let blocks be computed again.
        self.engine.towers.recompute = train.grad_checkpointing;
        // The first step of a size makes the plan, and what is made once, such as masks that a tower keeps.
        self.metered_step(all, rows, keys)?;
        self.metered_step(all, rows, keys)
    }

    fn metered_step(&mut self, all: &Batch, rows: usize, keys: &[String]) -> Outcome<i64> {
        // libtorch warns of what is freed within the step and was there before; so it would of the batch, of which this is a view.
        self.engine.forget_gradients()?;
        let batch = all.slice(0..rows as i64);
        let (taken, usage) =
            vlhub_torch_ext::metered(|| self.unrecorded_step(batch, &keys[..rows.min(keys.len())], 0)).map_err(Error::from)?;
        taken?;
        Ok(usage.peak)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_what_the_line_through_the_batches_rises_by() {
        let one = |rows: usize, batch: i64, step: i64| BatchMemory { rows, batch: batch << 20, step: step << 20, total: 0 };
        let (slope, at_zero) = fitted(&[one(8, 8, 116), one(16, 16, 132), one(32, 32, 164)]).expect("three sizes");
        assert!((slope - 3.0).abs() < 1e-9 && (at_zero - 100.0).abs() < 1e-9, "{slope} {at_zero}");
        assert_eq!(fitted(&[one(8, 8, 116)]), None);
    }
}
