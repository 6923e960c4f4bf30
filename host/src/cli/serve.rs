//! Flags of `vlhub serve`.

use std::path::PathBuf;

use clap::Args;

use super::{PictureArgs, WeightArgs};

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
