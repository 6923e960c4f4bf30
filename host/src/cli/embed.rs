//! Flags of `vlhub embed`.

use std::path::PathBuf;

use clap::Args;

use super::{PictureArgs, WeightArgs};

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
