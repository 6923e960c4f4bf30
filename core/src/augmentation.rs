//! Image augmentations.

use std::fmt::Debug;

use image::RgbImage;
use rand_core::RngCore;

use crate::Result;

/// An image augmentation for training: one picture in, one picture out. All randomness comes from `rng`, so a seed determines the picture.
///
/// ```
/// use image::{Rgb, RgbImage};
/// use rand_core::RngCore;
/// use vlhub_core::{Augmentation, Result};
///
/// /// Replaces a picture by its negative for every other one.
/// #[derive(Debug)]
/// struct Negative;
///
/// impl Augmentation for Negative {
///     fn apply(&self, mut image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
///         if rng.next_u32() % 2 == 0 {
///             image.pixels_mut().for_each(|pixel| *pixel = Rgb(pixel.0.map(|value| 255 - value)));
///         }
///         Ok(image)
///     }
/// }
/// ```
pub trait Augmentation: Debug + Send + Sync {
    /// Augments a picture of any size from 1 × 1, 8 bits a channel. The result may have another size, of at least 1 × 1: the host resizes
    /// it to what the image tower reads.
    ///
    /// # Errors
    /// A picture that cannot be augmented, which ends the run; augment leniently.
    fn apply(&self, image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage>;
}

/// The context in which an augmentation is built.
#[derive(Clone, Copy, Debug)]
pub struct AugmentationCx {
    /// Height and width, in pixels, that the image tower reads.
    pub size: (u32, u32),
}
