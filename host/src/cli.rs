//! The command line: types only.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Trains and evaluates vision-language models from plugins found by name.
#[derive(Debug, Parser)]
#[command(name = "vlhub", version, disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Cli {
    /// A plugin library to load; may be given more than once.
    #[arg(long, global = true, value_name = "PATH")]
    pub library: Vec<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train what a run file describes.
    Train(TrainArgs),
    /// Measure a trained model with the suites of a run file.
    Eval(EvalArgs),
    /// Check a run file: every problem in one report, nothing is started.
    Check(CheckArgs),
    /// Write embeddings of images and texts.
    Embed(EmbedArgs),
    /// What this build has: list, show, schema, try.
    #[command(subcommand)]
    Plugins(PluginsCommand),
    /// Named models: list, show.
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Data sets: pack into shards, check.
    #[command(subcommand)]
    Data(DataCommand),
    /// Compare runs in one page: options that differ, curves, results.
    Compare(CompareArgs),
    /// Write a run's report again.
    Report(ReportArgs),
    /// Multiply two bf16 matrices: `doctor` runs this in a child, because some machines advertise what they refuse.
    #[command(hide = true)]
    InternalProbeBf16,
    /// Print the hash of a checkpoint's weights and optimiser state.
    #[command(hide = true)]
    InternalHash {
        /// The run's folder.
        run: PathBuf,
    },
}

/// `vlhub train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// The run file.
    pub file: PathBuf,
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
}

/// `vlhub eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// The run file.
    pub file: PathBuf,
    /// Options laid over the file.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// A checkpoint folder, a run folder (its newest valid checkpoint), or a safetensors file.
    #[arg(long)]
    pub checkpoint: PathBuf,
    /// Only these suites, by key.
    #[arg(long)]
    pub suite: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
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

/// `vlhub embed`.
#[derive(Debug, Args)]
pub struct EmbedArgs {
    /// A model name (`vlhub models list`) or a run file.
    #[arg(long)]
    pub model: String,
    /// Weights: a checkpoint folder, a run folder, or a safetensors file with open_clip's names. Random weights without it.
    #[arg(long)]
    pub checkpoint: Option<PathBuf>,
    /// Pictures, or folders of pictures.
    #[arg(long, num_args = 1..)]
    pub images: Vec<PathBuf>,
    /// A text file with one text a line.
    #[arg(long)]
    pub texts: Option<PathBuf>,
    /// The safetensors file to write: `image` [N, D] and `text` [M, D] of unit length, `logit_scale`.
    #[arg(long)]
    pub out: PathBuf,
    /// Rows at a time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    /// `auto`, `cpu`, `cuda`, `cuda:N`; the run file's by default.
    #[arg(long)]
    pub device: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub plugins`.
#[derive(Debug, Subcommand)]
pub enum PluginsCommand {
    /// Names and summaries.
    List {
        /// Only this kind, or names that match this pattern.
        filter: Vec<String>,
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
        /// Objectives: `image.VIEW` and `text.VIEW` [N, D], `image.VIEW.tokens` [N, T, W], `….mask` [N, T]. Backbones: `input`.
        /// Augmentations: `image` [H, W, 3] uint8. Captions: `text` [bytes] uint8.
        #[arg(long)]
        input: PathBuf,
        /// Where to write the results.
        #[arg(long)]
        out: PathBuf,
        /// Seed of parameters and draws.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `vlhub models`.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Names.
    List {
        /// Only names that match this pattern.
        pattern: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// One model: towers, parameters, input, and the tables that its name stands for.
    Show {
        /// Its name.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `vlhub data`.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Pack a folder of pictures or a CSV into WebDataset shards.
    Pack(PackArgs),
    /// Read every sample of a data set and report what cannot be used.
    Check {
        /// A run file (its `[data.train]`), a folder, a CSV or TSV, or shards.
        data: String,
        /// Options of the data source.
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `vlhub data pack`.
#[derive(Debug, Args)]
pub struct PackArgs {
    /// A folder with a sub-folder for each class, a CSV or a TSV.
    pub input: PathBuf,
    /// The folder to write; must not hold shards yet.
    #[arg(long)]
    pub out: PathBuf,
    /// Samples in a shard.
    #[arg(long, default_value_t = 10_000)]
    pub shard_size: usize,
    /// Column of the picture's path.
    #[arg(long, default_value = "filepath")]
    pub img_key: String,
    /// Column of the caption.
    #[arg(long, default_value = "title")]
    pub caption_key: String,
    /// Column of the class index.
    #[arg(long)]
    pub label_key: Option<String>,
    /// File of class names, one a line.
    #[arg(long)]
    pub classes: Option<PathBuf>,
    /// Separator of columns; by default a tab, or a comma in a `.csv`.
    #[arg(long)]
    pub csv_separator: Option<String>,
    /// Lay transparent pictures on this colour: `white`, `black` or `#rrggbb`. Without it pictures are packed as they are.
    #[arg(long)]
    pub background: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Run folders.
    #[arg(required = true)]
    pub runs: Vec<PathBuf>,
    /// The page to write.
    #[arg(long, default_value = "compare.html")]
    pub out: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run's folder.
    pub run: PathBuf,
}
