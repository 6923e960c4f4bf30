//! What the tests of this crate share.

use vlhub_sdk::image::Rgb;
use vlhub_sdk::prelude::*;

/// Height 16, width 24.
pub const CX: AugmentationCx = AugmentationCx { size: (16, 24) };

/// The augmentation of these options.
pub fn build(config: &impl Config<dyn Augmentation>) -> Box<dyn Augmentation> {
    config.build(&CX).expect("the options are in range")
}

/// Colours of all kinds.
pub fn picture(width: u32, height: u32) -> RgbImage {
    let mut rng = Rng::new(u64::from(width) << 32 | u64::from(height));
    RgbImage::from_fn(width, height, |_, _| Rgb(rng.next_u32().to_le_bytes()[..3].try_into().expect("three bytes")))
}

/// Steele, Lea and Flood's SplitMix64.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl RngCore for Rng {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
    fn fill_bytes(&mut self, target: &mut [u8]) {
        target.fill_with(|| self.next_u64() as u8);
    }
}
