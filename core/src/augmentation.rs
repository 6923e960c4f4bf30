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
    /// What it cuts out of a picture of `size` (width, height) before anything else, and how large it makes that. Where decoding may be inexact
    /// (`[train] decode = "fast"`) a host then decodes a large picture at a smaller size, as far as the cut keeps as many pixels as it becomes,
    /// and calls [`Augmentation::apply_crop`] in place of [`Augmentation::apply`]. `None`, the default, reads all of the picture.
    ///
    /// `apply` must do what `crop` and `apply_crop` do one after the other with the same `rng`; a law holds it to that.
    fn crop(&self, size: (u32, u32), rng: &mut dyn RngCore) -> Option<Crop> {
        let _ = (size, rng);
        None
    }
    /// Augments a picture of which [`Augmentation::crop`] chose a part: `part` is where that part lies in `image`, which may be smaller than the
    /// picture that `crop` was asked about. `rng` goes on where `crop` left it.
    ///
    /// # Errors
    /// As [`Augmentation::apply`].
    fn apply_crop(&self, image: RgbImage, part: Region, rng: &mut dyn RngCore) -> Result<RgbImage> {
        let _ = part;
        self.apply(image, rng)
    }
}

/// Part of a picture, in pixels; x counts columns from the left and y lines from the top, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First column.
    pub x: u32,
    /// First line.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

/// A part of a picture that is cut out and resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// The part, inside of the picture and not empty.
    pub region: Region,
    /// Width and height, in pixels, that it becomes.
    pub size: (u32, u32),
}

/// The context in which an augmentation is built.
#[derive(Clone, Copy, Debug)]
pub struct AugmentationCx {
    /// Height and width, in pixels, that the image tower reads.
    pub size: (u32, u32),
}
