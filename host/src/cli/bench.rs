//! Flags of `vlhub bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::TokenizeArgs;
use crate::training::loss_speed::TokenCounts;

/// What `vlhub bench` measures.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// How fast a run takes steps, and where the time goes. Nothing is written but what `--trace` names.
    Train(BenchTrainArgs),
    /// How fast objectives compute their loss and its gradients, how much memory that takes, and how both grow with the batch: without towers.
    Loss(BenchLossArgs),
    /// How fast a run's samples are read, decoded, augmented and tokenised, each alone and all together, without building the model.
    Data(BenchDataArgs),
    /// How fast a run's suites measure its model, and where the time goes. Nothing is written, and no classifier is taken from the cache.
    Eval(BenchEvalArgs),
    /// How long a run takes from the start of the program to its first step, and how much memory, stage by stage. Nothing is written.
    Start(BenchStartArgs),
    /// What a run's weights, optimiser states, batches and steps take of the memory, and how that grows with the batch. Nothing is written.
    Memory(BenchMemoryArgs),
    /// How many texts of a file one thread tokenises in a second of its processor time.
    Tokens(BenchTokensArgs),
}

/// `vlhub bench train`.
#[derive(Debug, Args)]
pub struct BenchTrainArgs {
    /// The run file, or the folder of a run.
    pub run: PathBuf,
    /// Options laid over the file, such as `train.batch=256`.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Steps that are measured, after two that are not.
    #[arg(long, default_value_t = 10)]
    pub steps: u64,
    /// Write the profile of one step here, for a viewer of Chrome's traces (Perfetto, about:tracing).
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub bench loss`.
///
/// Features are random rows of unit length. Texts have random token ids and all rows the same label; what an objective reads beside these, such as
/// pictures or a teacher, is an error that says so.
#[derive(Debug, Args)]
pub struct BenchLossArgs {
    /// Objectives, such as `clip`, and options of theirs, such as `tile=512`; or a run file or the folder of a run, whose objectives are measured,
    /// and options laid over it.
    #[arg(required = true, value_name = "NAME|RUN|KEY=VALUE")]
    pub what: Vec<String>,
    /// Rows of the batches that are measured.
    #[arg(long, value_name = "ROWS,…", value_delimiter = ',', default_values_t = [1024_i64, 2048, 4096, 8192],
          value_parser = clap::value_parser!(i64).range(1..=1 << 24))]
    pub rows: Vec<i64>,
    /// Width of the features of objectives that are named, 512 by default; a run says its own.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=1 << 20))]
    pub width: Option<i64>,
    /// Tokens of a picture and of a text, such as `50x32`, for objectives that read them.
    #[arg(long, value_name = "IMAGExTEXT")]
    pub tokens: Option<TokenCounts>,
    /// Passes that are measured, for each batch.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,
    /// `auto`, `cpu`, `cuda`, `cuda:N`; by default the run's, or `auto`.
    #[arg(long)]
    pub device: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub bench data`.
#[derive(Debug, Args)]
pub struct BenchDataArgs {
    /// The run file, or the folder of a run.
    pub run: PathBuf,
    /// Options laid over the file, such as `train.workers=4`.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// About how long to measure, in seconds.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub bench eval`.
///
/// Each suite runs once, by itself, under the profiler. Before it, reading and decoding are measured alone, and so is encoding pictures.
#[derive(Debug, Args)]
pub struct BenchEvalArgs {
    /// A run's folder or one of its checkpoints; or a run file, whose model has random weights where the file names none.
    pub run: PathBuf,
    /// Options laid over the run or the file, such as `eval.NAME.batch=128`; a run's model cannot be changed by them.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Only these suites, by key.
    #[arg(long, alias = "suite", value_name = "KEY,…", value_delimiter = ',')]
    pub suites: Vec<String>,
    /// Samples of each data set, evenly spread; 0 for all, which suites over pairs or groups of samples may need.
    #[arg(long, default_value_t = 1024)]
    pub samples: usize,
    /// Pictures that are encoded together where encoding is measured alone; suites have a batch of their own.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    /// How often encoding is measured alone.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub bench start`.
///
/// The program is started anew each time, with the caches of the system as they are.
#[derive(Debug, Args)]
pub struct BenchStartArgs {
    /// The run file, or the folder of a run.
    pub run: PathBuf,
    /// Options laid over the file.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// How often the run is started.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub bench memory`.
///
/// Bytes of tensors are counted as libtorch's allocators report them. All batches are cut from the first one of the largest size.
#[derive(Debug, Args)]
pub struct BenchMemoryArgs {
    /// The run file, or the folder of a run.
    pub run: PathBuf,
    /// Options laid over the file, such as `train.grad_cache.rows=32`.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Rows of the batches that are measured.
    #[arg(long, value_name = "ROWS,…", value_delimiter = ',', default_values_t = [8_usize, 16, 32], value_parser = rows)]
    pub batches: Vec<usize>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Rows of a batch.
fn rows(text: &str) -> Result<usize, String> {
    text.parse::<usize>().ok().filter(|rows| *rows > 0).ok_or_else(|| "rows are a whole number from 1".into())
}

/// `vlhub bench tokens`.
#[derive(Debug, Args)]
pub struct BenchTokensArgs {
    /// The texts, and the tokenizer.
    #[command(flatten)]
    pub texts: TokenizeArgs,
    /// How long to measure, in seconds.
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
