//! Image transforms for training.

use std::fmt::Debug;

use image::RgbImage;
use rand_core::RngCore;

use crate::Result;

/// One image in, one image out. All randomness comes from `rng`, so a seed is a picture.
pub trait Augmentation: Debug + Send + Sync {
    /// Changes the image.
    fn apply(&self, image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage>;
}

/// What an augmentation is built with.
#[derive(Clone, Copy, Debug)]
pub struct AugmentationCx {
    /// Height and width, in pixels, that the image tower reads. The host resizes to it afterwards if need be.
    pub size: (u32, u32),
}
