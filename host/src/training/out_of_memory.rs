//! A step for which there is no memory: what is said, and what would take less.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tch::Device;
use vlhub_core::{Error, Result};
use vlhub_torch_ext::is_out_of_memory;

use super::Training;
use crate::config::train::TrainConfig;
use crate::data::decode::panic_text;
use crate::data::loader::LoadError;
use crate::engine::cache::{GradCacheConfig, Keep};
use crate::engine::precision::Precision;
use crate::failure::Failure;

impl Training<'_> {
    /// Why a step could not be taken.
    pub(super) fn step_failure(&self, error: Error) -> Failure {
        let text = error.to_string();
        if is_out_of_memory(&text) {
            Failure::new(Failure::RUN, out_of_memory(&self.config.train, &self.engine.cache, self.device, &text))
        } else {
            error.into()
        }
    }

    /// Why there is no batch.
    pub(super) fn load_failure(&self, error: LoadError) -> Failure {
        match error {
            LoadError::Budget(message) => Failure::new(Failure::DATA, message),
            LoadError::Failed(error) => self.step_failure(error),
        }
    }
}

/// Runs `work`. A panic for want of memory, as where tch unwraps what libtorch refused, is an error like any other; what it held is free again.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic_text(panic.as_ref());
        // The lines of libtorch's back trace are joined by `\n` there.
        let text = text.split("\\n").next().unwrap_or_default();
        if is_out_of_memory(text) { Err(Error::invalid(text)) } else { resume_unwind(panic) }
    })
}

/// What is said of a step for which there was no memory. `cache` says how batches are cut now.
fn out_of_memory(train: &TrainConfig, cache: &GradCacheConfig, device: Device, text: &str) -> String {
    let chunks = if cache.splits(train.batch) { format!(" in chunks of {}", cache.rows) } else { String::new() };
    let mut less = Vec::new();
    if !train.memory.is_empty() {
        less.push(format!("a `train.memory` below {}", train.memory));
    } else if cache.splits(train.batch) {
        if cache.rows > 1 {
            less.push(format!("`train.grad_cache.rows` below {}", cache.rows));
        }
        if cache.keep != Keep::Chunks(0) {
            less.push("`train.grad_cache.keep = 0`".into());
        }
    } else {
        less.push("`train.memory = \"8 GiB\"` or `train.grad_cache.rows`, which take a batch in chunks".into());
    }
    if train.memory.is_empty() && !train.grad_checkpointing {
        less.push("`train.grad_checkpointing = true`".into());
    }
    if matches!(train.precision, Precision::Fp32 | Precision::Tf32) {
        less.push("`train.precision = \"amp_bf16\"`".into());
    }
    less.push(format!("a `train.batch` below {}", train.batch));
    format!("out of memory on {device:?}, with batches of {} rows{chunks}: {text}; what takes less: {}", train.batch, less.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_less_depends_on_how_the_run_is_cut() {
        let said = |train: &TrainConfig, cache: &GradCacheConfig| out_of_memory(train, cache, Device::Cpu, "full");
        let plain = TrainConfig { batch: 512, ..TrainConfig::default() };
        let cut = GradCacheConfig { rows: 64, keep: Keep::Chunks(2), ..GradCacheConfig::default() };
        assert_eq!(
            said(&plain, &GradCacheConfig::default()),
            "out of memory on Cpu, with batches of 512 rows: full; what takes less: `train.memory = \"8 GiB\"` or `train.grad_cache.rows`, which \
             take a batch in chunks; `train.grad_checkpointing = true`; `train.precision = \"amp_bf16\"`; a `train.batch` below 512"
        );
        assert_eq!(
            said(&TrainConfig { precision: Precision::AmpBf16, ..plain.clone() }, &cut),
            "out of memory on Cpu, with batches of 512 rows in chunks of 64: full; what takes less: `train.grad_cache.rows` below 64; \
             `train.grad_cache.keep = 0`; `train.grad_checkpointing = true`; a `train.batch` below 512"
        );
        let one = GradCacheConfig { rows: 1, ..GradCacheConfig::default() };
        let least = said(&TrainConfig { grad_checkpointing: true, precision: Precision::AmpBf16, ..plain.clone() }, &one);
        assert!(least.ends_with("in chunks of 1: full; what takes less: a `train.batch` below 512"), "{least}");
        let tf32 = said(&TrainConfig { precision: Precision::Tf32, ..plain.clone() }, &cut);
        assert!(tf32.contains("`train.precision = \"amp_bf16\"`"), "{tf32}");
        let budget = said(&TrainConfig { memory: "6 GiB".into(), ..plain }, &cut);
        assert!(budget.contains("what takes less: a `train.memory` below 6 GiB; `train.precision"), "{budget}");
    }

    #[test]
    fn a_panic_for_want_of_memory_is_an_error_and_another_goes_on() {
        let huge = || Ok(tch::Tensor::zeros([1i64 << 60], (tch::Kind::Float, Device::Cpu)));
        let error = caught(huge).expect_err("nobody has that much").to_string();
        assert!(is_out_of_memory(&error) && !error.contains("\\n"), "{error}");
        assert_eq!(caught(|| Ok(3)).expect("it is fine"), 3);
        assert!(catch_unwind(|| caught(|| -> Result<()> { panic!("a mistake") })).is_err());
    }
}
