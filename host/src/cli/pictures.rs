//! Flags of every command that decodes pictures.

use clap::Args;

use crate::data::decode::PictureOptions;

/// How pictures are decoded.
#[derive(Debug, Default, Args)]
pub struct PictureArgs {
    /// Most pixels of a picture; the run file's `max_pixels` by default, 178956970 without one.
    #[arg(long)]
    pub max_pixels: Option<u64>,
}

impl PictureArgs {
    /// The options that are named here, over those of a run file.
    pub fn over(&self, options: PictureOptions) -> PictureOptions {
        PictureOptions { max_pixels: self.max_pixels.unwrap_or(options.max_pixels) }
    }
}
