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

/// The picture that `tests/golden/drawn.py` draws with the same formula.
pub fn drawn(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([0u32, 1, 2].map(|channel| {
            let mut hash = x.wrapping_mul(0x9E37_79B1)
                ^ y.wrapping_mul(0x85EB_CA77)
                ^ channel.wrapping_mul(0xC2B2_AE3D)
                ^ seed.wrapping_mul(0x27D4_EB2F);
            hash ^= hash >> 15;
            hash = hash.wrapping_mul(0x2C1B_3C6D);
            hash ^= hash >> 12;
            (x * 5 + y * 3 + channel * 40 + (hash & 127)) as u8
        }))
    })
}
