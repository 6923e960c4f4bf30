//! The command line: types only.

mod pictures;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use pictures::PictureArgs;

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

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train what a run file describes.
    Train(TrainArgs),
    /// Measure a trained model with the suites of its run, or of a run file.
    Eval(EvalArgs),
    /// Check a run file: every problem in one report, nothing is started.
    Check(CheckArgs),
    /// Write embeddings of images and texts.
    Embed(EmbedArgs),
    /// Write captions of images.
    Caption(CaptionArgs),
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
    #[arg(value_name = "RUN|FILE")]
    pub target: PathBuf,
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

/// `vlhub data`.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Pack a folder of pictures or a CSV into WebDataset shards.
    Pack(PackArgs),
    /// Read every sample of a data set and report what cannot be used.
    Check(DataCheckArgs),
    /// Write a batch of a run as a picture, after augmentation, with its captions beside it, without building the model.
    Preview(PreviewArgs),
    /// What a data set is like: formats and sizes of pictures, lengths of captions, classes.
    Stats(StatsArgs),
    /// List the files that were fetched or unpacked, or remove them.
    Cache(CacheArgs),
    /// Run the caption transforms over a whole data set without decoding a picture: what is kept, what is dropped, and the classes.
    Match(DataMatchArgs),
    /// Write an index file for each shard, so that runs need not read its headers again, and say what of it is damaged.
    Index(IndexArgs),
}

/// `vlhub data index`.
///
/// `00000.tar.vidx` goes beside `00000.tar`, or into `~/.cache/vlhub/index` where that place cannot be written. It is used while the shard has the same
/// size, time of change and ends; a stale or damaged one is passed over with a note.
#[derive(Debug, Args)]
pub struct IndexArgs {
    /// Shards (`"cc3m/{00000..00331}.tar"`), a folder of shards, or a run file whose `[data.train]` is `webdataset`.
    pub data: String,
    /// Options of the data source.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Print every sample and every loss as a line of JSON (shard, key, offset and size of each member), and write nothing.
    #[arg(long)]
    pub list: bool,
    /// Print JSON: what each shard holds.
    #[arg(long, conflicts_with = "list")]
    pub json: bool,
}

/// `vlhub data stats`.
///
/// Headers of pictures are read, and captions are tokenised as the run does it, or as CLIP does where there is no run. Views are not applied:
/// these are the data as they are.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// A run file (its `[data.train]`), a folder, a CSV or TSV, or shards.
    pub data: String,
    /// Options of the data source.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// How many samples are looked at, evenly spread; 0 for all.
    #[arg(long, default_value_t = 10_000)]
    pub samples: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub data cache`.
///
/// Files of web servers and object stores, what commands wrote, and unpacked shards are kept in one folder for all runs, and are not asked for
/// again. `VLHUB_DATA_CACHE` names the folder, `VLHUB_DATA_CACHE_SIZE` the most that it holds (200 GiB).
#[derive(Debug, Args)]
pub struct CacheArgs {
    /// Only files whose place contains this, or fits it with `*` and `?`.
    pub pattern: Option<String>,
    /// Remove them, unless a running process reads them.
    #[arg(long)]
    pub clear: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub data preview`.
///
/// The batch is the one that training gets at this step: same samples, same draws.
#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// The run file.
    pub file: PathBuf,
    /// Options laid over the file.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// The picture to write (PNG); captions go to the same name with `.txt`.
    #[arg(long, default_value = "preview.png")]
    pub out: PathBuf,
    /// The step, from 0.
    #[arg(long, default_value_t = 0)]
    pub step: u64,
}

/// What `vlhub bench` measures.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// How fast a run's samples are read, decoded, augmented and tokenised, each alone and all together, without building the model.
    Data(BenchDataArgs),
    /// How many texts of a file one thread tokenises in a second of its processor time.
    Tokens(BenchTokensArgs),
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

/// `vlhub bench data`.
#[derive(Debug, Args)]
pub struct BenchDataArgs {
    /// The run file.
    pub file: PathBuf,
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

/// `vlhub data match`.
///
/// Draws the random numbers of the first epoch, with each sample at its place in the data. Exit status 3 when no sample is left.
#[derive(Debug, Args)]
pub struct DataMatchArgs {
    /// A run file (its `[data.train]` and `[view.text.*]`), a folder, a CSV or TSV, or shards.
    pub data: String,
    /// Options of the data source.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// A caption transform, in place of those of the run file; may be repeated, and runs in this order: a name, or a table such as
    /// `{use="match_labels",mode="multi"}`.
    #[arg(long, value_name = "TRANSFORM")]
    pub transform: Vec<String>,
    /// Samples that are shown of what is kept, and of what is dropped.
    #[arg(long, default_value_t = 5)]
    pub examples: usize,
    /// Classes that are shown, those with the most captions first.
    #[arg(long, default_value_t = 10)]
    pub top: usize,
    /// Write a line of JSON for each sample: its key, and its captions and labels after the transforms, or why it has none.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub data check`.
///
/// Of a run file, samples are asked for what its objectives read, so it finds what training finds. Of other data it says how many samples are
/// usable as pictures with captions, as pictures with labels and as pictures alone. Exit status 3 when a sample cannot be used.
#[derive(Debug, Args)]
pub struct DataCheckArgs {
    /// A run file (its `[data.train]`), a folder, a CSV, TSV, Parquet table or `.xlsx`, or shards.
    pub data: String,
    /// Options of the data source.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// How pictures are decoded.
    #[command(flatten)]
    pub pictures: PictureArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub data pack`.
#[derive(Debug, Args)]
pub struct PackArgs {
    /// A folder of pictures, with a sub-folder for each class if there are classes; a CSV, TSV, Parquet table (or a folder of such) or `.xlsx`.
    pub input: PathBuf,
    /// The folder to write; must not hold shards yet.
    #[arg(long)]
    pub out: PathBuf,
    /// Samples in a shard.
    #[arg(long, default_value_t = 10_000)]
    pub shard_size: usize,
    /// Column of the picture; `filepath` by default, `image` of a Parquet table.
    #[arg(long)]
    pub img_key: Option<String>,
    /// Column of the caption; `title` by default, `text` of a Parquet table. Empty: pictures without captions.
    #[arg(long)]
    pub caption_key: Option<String>,
    /// Column of the class label; none by default, `label` of a Parquet table.
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
    /// How pictures are decoded.
    #[command(flatten)]
    pub pictures: PictureArgs,
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
