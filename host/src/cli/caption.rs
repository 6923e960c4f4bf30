//! Flags of `vlhub caption`.

use std::path::PathBuf;

use clap::Args;

use super::{PictureArgs, WeightArgs};

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
