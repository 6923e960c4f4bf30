//! Flags of `vlhub eval`.

use std::path::PathBuf;

use clap::Args;

use super::{BenchmarkArgs, WeightArgs};
use crate::compat::GivenFlags;

/// `vlhub eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// A run's folder or one of its checkpoints, which is measured with the suites of the run; or a run file, whose suites are taken.
    /// Not needed with flags of open_clip and VL Hub.
    #[arg(value_name = "RUN|FILE")]
    pub target: Option<PathBuf>,
    /// Options laid over the run or the file, such as `eval.NAME.data.path=…`; a run's model cannot be changed by them.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// A run folder (its newest valid checkpoint), a checkpoint, or any weights that `embed` takes. A run's model is built as the run describes
    /// it. By default RUN itself, or the weights that the file names.
    #[arg(long)]
    pub checkpoint: Option<String>,
    /// Which weights, and whose model.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// Measure random weights, where the file names none.
    #[arg(long)]
    pub random_weights: bool,
    /// Only these suites, by key.
    #[arg(long)]
    pub suite: Vec<String>,
    /// Compute zero-shot classifiers anew, and keep none. They are kept in `classifiers` in the cache folder, under a hash of weights and prompts.
    #[arg(long)]
    pub no_classifier_cache: bool,
    /// Published data sets instead of the suites, and result files.
    #[command(flatten)]
    pub benchmark: BenchmarkArgs,
    /// Write what is found into this folder: numbers, samples, classes, confusion matrices, examples and a page. `report` and `compare` read it as
    /// they read a run's folder.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Add a row for each suite and metric to this table: run, checkpoint, suite, metric, value, low, high, samples, chance.
    #[arg(long, value_name = "CSV")]
    pub save_results_to_csv: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Print the run file that the command line stands for, and stop.
    #[arg(long)]
    pub print_config: bool,
    /// Flags of open_clip and VL Hub.
    #[arg(skip)]
    pub given: GivenFlags,
}
