//! The command line: types only.

mod benchmark;
mod data;
mod line;
mod pictures;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use benchmark::BenchmarkArgs;
pub use data::{
    BenchCommand, BenchDataArgs, BenchTokensArgs, CacheArgs, DataCheckArgs, DataCommand, DataMatchArgs, IndexArgs, PackArgs, PreviewArgs,
    StatsArgs,
};
pub use line::{LineError, read};
pub use pictures::PictureArgs;

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
    /// Measure the speed of parts of a run.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Compare runs in one page: options that differ, curves, results.
    Compare(CompareArgs),
    /// Write a run's report again, and show its loss curve and results in the terminal.
    Report(ReportArgs),
    /// Multiply two bf16 matrices: `doctor` and runs in bf16 try this in a child, because some machines advertise what they refuse.
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
    /// Options laid over the model or run file.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// A model name (`vlhub models list`), `hf-hub:…` or `local-dir:…` with their weights, a model config (`.json`) or a run file (`.toml`); not
    /// needed with weights that describe their model, as those of a run do.
    #[arg(long, required_unless_present = "checkpoint")]
    pub model: Option<String>,
    /// Weights: a run folder, a checkpoint, a file or folder of open_clip, timm or Hugging Face, `hf-hub:…` or a tag of the model. Without it
    /// those that the model names.
    #[arg(long, alias = "pretrained")]
    pub checkpoint: Option<String>,
    /// Which weights, and whose model.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// Take random weights, where nothing names any.
    #[arg(long)]
    pub random_weights: bool,
    /// Pictures, or folders of pictures. Those that cannot be read are left out and listed; exit status 3 when there is no other.
    #[arg(long, num_args = 1..)]
    pub images: Vec<PathBuf>,
    /// How pictures are decoded.
    #[command(flatten)]
    pub pictures: PictureArgs,
    /// A text file with one text a line.
    #[arg(long)]
    pub texts: Option<PathBuf>,
    /// A safetensors file with token ids `ids` [M, L], int64, instead of texts.
    #[arg(long, conflicts_with = "texts")]
    pub text_ids: Option<PathBuf>,
    /// Class names of a zero-shot classifier: `imagenet` or another list that is known, or a file with one name a line.
    #[arg(long, value_name = "LIST|FILE")]
    pub classes: Option<String>,
    /// Sentences around the class names: `imagenet` (CLIP's 80), `simple`, or a file with one a line, `{}` for the name.
    #[arg(long, value_name = "SET|FILE", default_value = "imagenet")]
    pub templates: String,
    /// The safetensors file to write: `image` [N, D], `text` [M, D] and `classifier` [C, D] of unit length, `logit_scale`.
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

/// `vlhub caption`.
#[derive(Debug, Args)]
pub struct CaptionArgs {
    /// Pictures, or folders of pictures. Those that cannot be read are left out and listed; exit status 3 when there is no other.
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    /// How pictures are decoded.
    #[command(flatten)]
    pub pictures: PictureArgs,
    /// A model that writes captions (`vlhub models list coca`), `hf-hub:…`, `local-dir:…`, a model config (`.json`) or a run file (`.toml`); not
    /// needed with weights that describe their model, as those of a run do.
    #[arg(long, required_unless_present = "checkpoint")]
    pub model: Option<String>,
    /// Weights: a run folder, a checkpoint, a file or folder of open_clip, `hf-hub:…` or a tag of the model; by default those that the model or
    /// run file names.
    #[arg(long, alias = "pretrained")]
    pub checkpoint: Option<String>,
    /// Which weights, and whose model.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// Take random weights, where nothing names any.
    #[arg(long)]
    pub random_weights: bool,
    /// An option laid over the model or run file; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// How each token is chosen.
    #[arg(long, value_enum, default_value_t = CaptionMethod::Greedy)]
    pub method: CaptionMethod,
    /// Draw among so many of the likeliest tokens; 0 for all (`sample`).
    #[arg(long, default_value_t = 0)]
    pub top_k: i64,
    /// Draw among the likeliest tokens that together have this probability (`sample`).
    #[arg(long, default_value_t = 1.0)]
    pub top_p: f64,
    /// Below 1 prefers what is likely, above 1 evens out (`sample`).
    #[arg(long, default_value_t = 1.0)]
    pub temperature: f64,
    /// Captions that are carried on (`beam`).
    #[arg(long, default_value_t = 6)]
    pub beams: i64,
    /// Groups of the beams. They know nothing of each other, as in open_clip, so beams divided by groups are searched (`beam`).
    #[arg(long, default_value_t = 3)]
    pub beam_groups: i64,
    /// Most tokens of a caption, start and end included.
    #[arg(long, default_value_t = 30)]
    pub max_length: i64,
    /// Tokens before which a caption does not end, the start included.
    #[arg(long, default_value_t = 5)]
    pub min_length: i64,
    /// Above 1 makes tokens less likely that a caption already has.
    #[arg(long, default_value_t = 1.0)]
    pub repetition_penalty: f64,
    /// Seed of what is drawn; each picture makes its own of it (`sample`).
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Pictures at a time; changes no caption.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    /// `auto`, `cpu`, `cuda`, `cuda:N`; the run file's by default.
    #[arg(long)]
    pub device: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The model: a run folder, a checkpoint, `hf-hub:…`, `local-dir:…`, or weights of the model that `--model` names.
    pub checkpoint: String,
    /// The model's name, config (`.json`) or run file (`.toml`), for weights that do not describe their model.
    #[arg(long)]
    pub model: Option<String>,
    /// Which weights, and whose model.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// Take random weights, where nothing names any.
    #[arg(long)]
    pub random_weights: bool,
    /// Pictures, or folders of pictures, that are indexed for search.
    #[arg(long, num_args = 1..)]
    pub images: Vec<PathBuf>,
    /// How pictures are decoded.
    #[command(flatten)]
    pub pictures: PictureArgs,
    /// The address to listen on. Beyond this machine (`0.0.0.0`) a token is asked for.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: std::net::IpAddr,
    /// The port; 0 takes a free one, which is printed.
    #[arg(long, default_value_t = 8707)]
    pub port: u16,
    /// What requests have to show, as `Authorization: Bearer TOKEN` or in the address of the page; made and printed where it is needed and not given.
    #[arg(long, env = "VLHUB_SERVE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// `auto`, `cpu`, `cuda`, `cuda:N`; the run's by default.
    #[arg(long)]
    pub device: Option<String>,
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

/// How captions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CaptionMethod {
    /// The likeliest token each time.
    Greedy,
    /// Drawn tokens.
    Sample,
    /// Beam search.
    Beam,
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
