//! Flags of every command that decodes pictures.

use clap::Args;

use crate::data::decode::{AlphaPolicy, ExifPolicy, PictureOptions, SixteenBitPolicy};

/// How pictures are decoded; without a flag as the run file says, or as is usual.
#[derive(Debug, Default, Args)]
pub struct PictureArgs {
    /// Most pixels of a picture; the run file's `max_pixels` by default, 178956970 without one.
    #[arg(long)]
    pub max_pixels: Option<u64>,
    /// Orientation tags of pictures; the run file's `exif` by default, `ignore` without one.
    #[arg(long)]
    pub exif: Option<ExifPolicy>,
    /// Transparency of pictures; the run file's `alpha` by default, `drop` without one.
    #[arg(long)]
    pub alpha: Option<AlphaPolicy>,
    /// Channels of 16 bits; the run file's `sixteen_bit` by default, `scale` without one.
    #[arg(long)]
    pub sixteen_bit: Option<SixteenBitPolicy>,
}

impl PictureArgs {
    /// The options that are named here, over those of a run file.
    pub fn over(&self, options: PictureOptions) -> PictureOptions {
        PictureOptions {
            max_pixels: self.max_pixels.unwrap_or(options.max_pixels),
            exif: self.exif.unwrap_or(options.exif),
            alpha: self.alpha.unwrap_or(options.alpha),
            sixteen_bit: self.sixteen_bit.unwrap_or(options.sixteen_bit),
        }
    }
}
