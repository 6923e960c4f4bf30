//! `[train]`.

use serde::{Deserialize, Serialize};

use crate::data::decode::DecodeMode;
use crate::engine::cache::GradCacheConfig;
use crate::engine::precision::Precision;
use crate::section::{Section, memory_amount, out_of_range};

/// `[train]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Rows of a batch.
    pub batch: usize,
    /// Passes over the data.
    pub epochs: u64,
    /// Samples of an epoch; 0 takes all of the data. Other samples in every epoch.
    pub samples: u64,
    /// Draw samples with replacement, at the rates that the data names. Without it every sample is drawn once in an epoch.
    pub resampled: bool,
    /// Steps of the run; 0 takes `epochs`.
    pub steps: u64,
    /// The towers' arithmetic: `fp32`; `tf32` (products of floats in TF32, on a GPU); `amp_bf16` or `amp_fp16` (products in bfloat16, or in float16 with a
    /// scaled loss); `pure_bf16` (what flows between layers and all weights but norms' in bfloat16, over float weights).
    pub precision: Precision,
    /// Gradient caching, exact for every objective; a batch norm that is trained sees one chunk at a time, unless `freeze_bn_stats = "all"`.
    pub grad_cache: GradCacheConfig,
    /// Gradient checkpointing: keep the inputs of the towers' blocks alone, and compute the blocks again in the backward pass, for a third more time;
    /// exact. Towers with batch norm take no part.
    pub grad_checkpointing: bool,
    /// Memory that the graphs of the towers may take, such as `8 GiB`: the first batch is measured, and batches are cut into chunks of which as many
    /// keep their graph as fit (`grad_cache`); where chunks would have fewer than 8 rows, blocks are computed again (`grad_checkpointing`).
    /// Empty cuts as `grad_cache` says.
    pub memory: String,
    /// `exact`, or `fast`: large JPEGs at a half, a quarter or an eighth of their size, where the cut that is made of them keeps as many pixels as
    /// it becomes. Evaluation is always exact.
    pub decode: DecodeMode,
    /// Threads that read, decode and augment.
    pub workers: usize,
    /// Memory that batches may take which are made ahead of training, such as `2 GiB`. One is always made ahead.
    pub prefetch: String,
    /// Threads of libtorch; 0 takes one for each core.
    pub torch_threads: i32,
    /// Steps between two lines of the log.
    pub log_every: u64,
    /// Steps between two checkpoints; 0 saves at the end of every epoch. The end of the run is always saved.
    pub save_every: u64,
    /// Write checkpoints of 64 MiB and more while training goes on: it waits for a copy of the state, which takes as much memory again.
    pub async_save: bool,
    /// How many of the newest checkpoints are kept; at least 2.
    pub keep_last: usize,
    /// Every checkpoint whose step is a multiple of this is kept too; 0 for none.
    pub keep_every: u64,
    /// Share of unusable samples at which the run stops.
    pub max_bad_fraction: f64,
    /// Unusable samples in a row at which the run stops.
    pub max_bad_run: u64,
    /// How many steps with a loss or gradient that is not finite are passed over before the run stops. With `amp_fp16`, steps whose gradients overflow at
    /// a loss scale above 1 are not counted.
    pub skip_nonfinite: u64,
    /// Cut the token matrix to the longest text of the batch, where the text tower allows it; exact.
    pub truncate: bool,
    /// Write `train_batch0.png` before the first step.
    pub show_batch: bool,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            batch: 64,
            epochs: 1,
            samples: 0,
            resampled: false,
            steps: 0,
            precision: Precision::default(),
            grad_cache: GradCacheConfig::default(),
            grad_checkpointing: false,
            memory: String::new(),
            decode: DecodeMode::Exact,
            workers: 2,
            prefetch: "2 GiB".into(),
            torch_threads: 0,
            log_every: 100,
            save_every: 0,
            async_save: true,
            keep_last: 2,
            keep_every: 0,
            max_bad_fraction: 0.01,
            max_bad_run: 1000,
            skip_nonfinite: 0,
            truncate: true,
            show_batch: true,
        }
    }
}

impl TrainConfig {
    /// `memory` in bytes, if it is given.
    pub fn memory_bytes(&self) -> Option<u64> {
        memory_amount(&self.memory).ok().flatten()
    }

    /// `prefetch` in bytes.
    pub fn prefetch_bytes(&self) -> u64 {
        memory_amount(&self.prefetch).ok().flatten().unwrap_or_default()
    }
}

impl Section for TrainConfig {
    const NAME: &'static str = "train";
    // Loader threads, logging and saving never change a number; threads of libtorch are compared by themselves.
    const NEVER_DECIDE: &'static [&'static str] = &[
        "workers",
        "prefetch",
        "log_every",
        "save_every",
        "async_save",
        "keep_last",
        "keep_every",
        "show_batch",
        "max_bad_fraction",
        "max_bad_run",
        "skip_nonfinite",
        "torch_threads",
    ];

    fn check(&self) -> Vec<(&'static str, String)> {
        let mut problems = out_of_range(&[
            (self.batch < 1, "batch", "must be at least 1"),
            (self.grad_cache.rows < 0, "grad_cache.rows", "must not be negative"),
            (self.workers < 1, "workers", "must be at least 1"),
            (self.log_every < 1, "log_every", "must be at least 1"),
            (self.epochs < 1 && self.steps < 1, "epochs", "must be at least 1 when `train.steps` is 0"),
            (self.epochs > 1_000_000_000, "epochs", "must be at most 1000000000"),
            (!(0.0..=1.0).contains(&self.max_bad_fraction), "max_bad_fraction", "must lie between 0 and 1"),
            (self.torch_threads < 0, "torch_threads", "must not be negative; 0 takes one for each core"),
        ]);
        if let Err(message) = self.grad_cache.bytes() {
            problems.push(("grad_cache.budget", message));
        }
        for (name, text) in [("prefetch", &self.prefetch), ("memory", &self.memory)] {
            if let Err(message) = memory_amount(text) {
                problems.push((name, message));
            }
        }
        if self.memory_bytes().is_some() && self.grad_cache.rows > 0 {
            problems.push(("memory", "`grad_cache.rows` says already how batches are cut; give one of the two".into()));
        }
        problems
    }
}
