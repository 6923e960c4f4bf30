//! The command line: types only.

mod bench;
mod benchmark;
mod caption;
mod data;
mod embed;
mod eval;
mod line;
mod pictures;
mod serve;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use bench::{
    BenchCommand, BenchDataArgs, BenchEvalArgs, BenchLossArgs, BenchMemoryArgs, BenchStartArgs, BenchTokensArgs, BenchTrainArgs,
};
pub use benchmark::BenchmarkArgs;
pub use caption::{CaptionArgs, CaptionMethod};
pub use data::{CacheArgs, DataCheckArgs, DataCommand, DataMatchArgs, IndexArgs, PackArgs, PreviewArgs, StatsArgs};
pub use embed::EmbedArgs;
pub use eval::EvalArgs;
pub use line::{LineError, read};
pub use pictures::PictureArgs;
pub use serve::ServeArgs;

use crate::compat::GivenFlags;
use crate::data::tokens::Clean;
use crate::formats::WeightSet;

/// Trains and evaluates vision-language models from plugins found by name.
#[derive(Debug, Parser)]
#[command(name = "vlhub", version, disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Default, Args)]
pub struct Shared {
    /// A plugin library to load; may be given more than once.
    #[arg(long = "library", global = true, value_name = "PATH")]
    pub libraries: Vec<PathBuf>,
    /// A folder of model configs of your own, `NAME.json` in open_clip's format; may be given more than once.
    #[arg(long, global = true, value_name = "FOLDER", env = "VLHUB_MODEL_CONFIGS", value_delimiter = ':')]
    pub model_configs: Vec<PathBuf>,
    /// Run the commands that stand in lists of data as `pipe:COMMAND`. They run with all your rights.
    #[arg(long, global = true)]
    pub allow_pipe: bool,
}

/// What `--help` says of the flags that come from elsewhere.
const COMPATIBLE: &str = "The flags of open_clip and of VL Hub in Python (--train-data, --model, --batch-size, --imagenet-val, …) are taken too, without \
    a run file or over one: host/FLAGS.md tells what becomes of each, --print-config what becomes of all.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train what a run file describes.
    #[command(arg_required_else_help = true, after_help = COMPATIBLE)]
    Train(TrainArgs),
    /// Measure a trained model with the suites of its run, or of a run file.
    #[command(arg_required_else_help = true, after_help = COMPATIBLE)]
    Eval(EvalArgs),
    /// Check a run file: every problem in one report, nothing is started.
    Check(CheckArgs),
    /// Write embeddings of images and texts.
    Embed(EmbedArgs),
    /// Write captions of images.
    Caption(CaptionArgs),
    /// Open a page in which a model is tried: pictures against class names, search in a folder; and a JSON API.
    Serve(ServeArgs),
    /// Print the token ids of texts: a JSON list for each line of a file.
    Tokenize(TokenizeArgs),
    /// What this build has: list, show, schema, try.
    #[command(subcommand)]
    Plugins(PluginsCommand),
    /// Named models: list, show.
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Data sets: pack into shards, index, check, preview; what was fetched.
    #[command(subcommand)]
    Data(DataCommand),
    /// Measure the speed and memory of parts of a run.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Compare runs in one page: options that differ, curves, results.
    Compare(CompareArgs),
    /// Write a run's report again, and show its loss curve and results in the terminal.
    Report(ReportArgs),
    /// Multiply two bf16 matrices: `doctor` and runs in bf16 try this in a child, because some machines advertise what they refuse.
    #[command(hide = true)]
    InternalProbeBf16,
    /// The same in fp16.
    #[command(hide = true)]
    InternalProbeFp16,
    /// Print the hash of a checkpoint's weights and optimiser state.
    #[command(hide = true)]
    InternalHash {
        /// The run's folder.
        run: PathBuf,
    },
    /// Take the first step of a run and print when each stage of its start was reached: `bench start` runs this in a child.
    #[command(hide = true)]
    InternalStart {
        /// The run file.
        file: PathBuf,
        /// Options laid over the file.
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
}

/// `vlhub train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// The run file. Not needed with flags of open_clip and VL Hub, which go over it where both are given.
    pub file: Option<PathBuf>,
    /// Options laid over the file: `train.batch=128 objective.clip.weight=0.5`.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Go on with the run of this name: from its newest valid checkpoint, or from the one named. `auto` starts afresh when there is none.
    #[arg(long, num_args = 0..=1, default_missing_value = "latest", value_name = "latest|auto|PATH")]
    pub resume: Option<String>,
    /// Resume although options that decide the result have changed.
    #[arg(long)]
    pub allow_changed: bool,
    /// Check, build everything, read one batch, print the plan, and stop.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the run file that the command line stands for, and stop: without the defaults that go without saying.
    #[arg(long)]
    pub print_config: bool,
    /// Flags of open_clip and VL Hub.
    #[arg(skip)]
    pub given: GivenFlags,
}

/// Which weights a command takes, and whose model it builds.
#[derive(Clone, Debug, Default, Args)]
pub struct WeightArgs {
    /// Where weights come with their moving average (`[ema]`): by default what the run was measured with; of other files, the raw ones.
    #[arg(long, value_enum)]
    pub weights: Option<WeightSet>,
    /// Build the model that is named here, not the one that a run's checkpoint describes, and take weights that describe another model.
    #[arg(long)]
    pub model_as_named: bool,
}

/// `vlhub check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The run file.
    pub file: PathBuf,
    /// Options laid over the file.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Print the complete options, defaults too.
    #[arg(long)]
    pub resolved: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub tokenize`.
#[derive(Debug, Args)]
pub struct TokenizeArgs {
    /// A text file with one text a line; `-` for standard input.
    pub file: PathBuf,
    /// `clip` (the tokenizer of open_clip's own text towers), a `tokenizer.json` or the folder that holds one, or `hf-hub:…`.
    #[arg(long, default_value = "clip")]
    pub tokenizer: String,
    /// Longest list of ids, start and end token included. Lists are cut to it and not filled up.
    #[arg(long, default_value_t = 77)]
    pub context: usize,
    /// How a text is cleaned first: `lower` by default for `clip`, `whitespace` for any other.
    #[arg(long, value_enum)]
    pub clean: Option<Clean>,
    /// Each line is a JSON string, so that a text may hold line breaks.
    #[arg(long)]
    pub json_lines: bool,
}

/// `vlhub plugins`.
#[derive(Debug, Subcommand)]
pub enum PluginsCommand {
    /// Names and summaries, by kind; presets are folded.
    List {
        /// Only this kind (`objective`), or names that match this pattern (`'vit_*'`), presets too.
        filter: Vec<String>,
        /// Show the names of presets: plugins that differ from another in defaults alone.
        #[arg(long)]
        all: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Print the catalogue page.
        #[arg(long, hide = true)]
        markdown: bool,
    },
    /// One plugin: its options, their types, defaults and documentation.
    Show {
        /// Its name, or `KIND/NAME`.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// JSON schema of every plugin's options.
    Schema {
        /// Print JSON, which it does anyway.
        #[arg(long)]
        json: bool,
    },
    /// Run a plugin on tensors from a safetensors file.
    Try {
        /// `KIND/NAME`.
        plugin: String,
        /// Options laid over the defaults.
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
        /// The tensors. Objectives: features, and what else they read (see --help). Backbones: `input`. Augmentations: `image` [H, W, 3] uint8.
        /// Captions: `text` [bytes] uint8. Parameters by their names.
        ///
        /// Features of an objective: `image.VIEW` and `text.VIEW` [N, D]; `….pooled` [N, W], the embedding without it; `….tokens` [N, T, W];
        /// `….mask` [N, T], all ones without it. `average.` or `teacher.NAME.` before these names means the moving average and a teacher, whose
        /// scale is `teacher.NAME.log_scale`. The batch: `labels` [N] or [N, K], `ids.VIEW` [N, L] int64, `pictures.VIEW` [N, 3, H, W];
        /// any other tensor of N rows is an extra input, and is laid over what the objective derives. The metadata `context`, `vocab` and
        /// `pad` describe the text tower; without them the longest and the largest of the ids do.
        #[arg(long)]
        input: PathBuf,
        /// Where to write the results. Objectives: `loss`, `grad.NAME` of features and parameters, `metric.NAME`, and the views that they
        /// derive. Backbones: `pooled`, `tokens`, `mask`. Augmentations: `image`. Captions: `text`.
        #[arg(long)]
        out: PathBuf,
        /// Seed of parameters and draws.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Compute an objective so many times more, and tell how long it takes and how much memory.
        #[arg(long, default_value_t = 0)]
        repeat: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `vlhub models`.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Names, with parameters and operations.
    List {
        /// Only names that match this pattern.
        pattern: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// One model: towers, parameters, operations, tokenizer, weights, and the tables that its name stands for.
    Show {
        /// Its name, a model config (`.json`), `hf-hub:…` or `local-dir:…`.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write weights of any kind as open_clip reads them: a safetensors file, a `.pt` file, or a folder with config and model card.
    Convert(ConvertArgs),
}

/// `vlhub models convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// A run folder, a checkpoint, or any weights that `embed` takes.
    #[arg(value_name = "IN")]
    pub input: String,
    /// A `.safetensors`, `.pt`, `.pth` or `.bin` file, or a folder.
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// Options laid over the model or run file.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// The model whose weights these are; by default the one that they describe, as a run's do.
    #[arg(long)]
    pub model: Option<String>,
    /// Which weights, and whose model.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Run folders, or folders that `vlhub eval --out` wrote. Runs that differ in their `seed` alone are taken together.
    #[arg(required = true)]
    pub runs: Vec<PathBuf>,
    /// What is written: a page, or the same as Markdown, as CSV (a row for each run, suite and metric) or as JSON.
    #[arg(long, value_enum, default_value_t = ComparisonFormat::Html)]
    pub format: ComparisonFormat,
    /// The file to write. By default `compare.html` for a page, and standard output for the others.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// A table of standard models, for effective robustness: CSV with the columns `imagenet`, `imagenet_v2`, `imagenet_a`, `imagenet_r`,
    /// `imagenet_sketch`, `objectnet` (those that there are), top-1 accuracies from 0 to 1.
    #[arg(long, value_name = "CSV")]
    pub baseline: Option<PathBuf>,
    /// Print JSON, beside the file.
    #[arg(long)]
    pub json: bool,
}

/// How a comparison is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ComparisonFormat {
    /// One page that needs no network.
    Html,
    /// Markdown.
    Md,
    /// CSV.
    Csv,
    /// JSON.
    Json,
}

/// `vlhub report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run's folder, or one that `vlhub eval --out` wrote.
    pub run: PathBuf,
    /// A table of standard models, for effective robustness, as in `vlhub compare`.
    #[arg(long, value_name = "CSV")]
    pub baseline: Option<PathBuf>,
}
