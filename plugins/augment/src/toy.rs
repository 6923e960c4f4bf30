//! What the tests of this crate share.

use vlhub_sdk::image::Rgb;
use vlhub_sdk::prelude::*;
use vlhub_sdk::random::SplitMix64;

/// Height 16, width 24.
pub const CX: AugmentationCx = AugmentationCx { size: (16, 24) };

/// The augmentation of these options.
pub fn build(config: &impl Config<dyn Augmentation>) -> Box<dyn Augmentation> {
    config.build(&CX).expect("the options are in range")
}

/// Colours of all kinds.
pub fn picture(width: u32, height: u32) -> RgbImage {
    let mut rng = SplitMix64(u64::from(width) << 32 | u64::from(height));
    RgbImage::from_fn(width, height, |_, _| Rgb(rng.next_u32().to_le_bytes()[..3].try_into().expect("three bytes")))
}
