//! Image transforms for training.

use std::fmt::Debug;

use image::RgbImage;
use rand_core::RngCore;

use crate::Result;

/// One image in, one image out. All randomness comes from `rng`, so a seed is a picture.
pub trait Augmentation: Debug + Send + Sync {
    /// Changes the image.
    fn apply(&self, image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage>;
    /// The part of the picture that [`Augmentation::apply`] would look at first, when it starts with a crop: drawn from the same numbers, so
    /// that a decoder may decode only that part. `size` is the picture's (width, height), as in [`RgbImage::dimensions`].
    fn region(&self, _size: (u32, u32), _rng: &mut dyn RngCore) -> Option<Region> {
        None
    }
}

/// A rectangle in pixels, inside its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width, at least 1.
    pub width: u32,
    /// Height, at least 1.
    pub height: u32,
}

/// What an augmentation is built with.
#[derive(Clone, Copy, Debug)]
pub struct AugmentationCx {
    /// Height and width, in pixels, that the image tower reads. The host resizes to it afterwards if need be.
    pub size: (u32, u32),
}
