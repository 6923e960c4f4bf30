//! Preprocessing: from a picture of any size to the size that a tower reads.

use image::RgbImage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resize::{Axis, resample};
use super::{Filter, Sampling, resize};

/// Resize mode: how a picture is brought to a size of another shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// The shorter side fits; what juts out is cut off.
    #[default]
    Shortest,
    /// The longer side fits; the rest is a border.
    Longest,
    /// Both sides fit; the proportions change.
    Squash,
}

/// open_clip's evaluation transform: the shorter side to `size` (height, width) with the bicubic filter, then the centre.
pub fn eval_transform(image: &RgbImage, size: (u32, u32)) -> RgbImage {
    prepare(image, size, Fit::Shortest, Filter::Bicubic, 0)
}

/// [`eval_transform`] with another fit, filter or grey level of the border, as `preprocess_cfg` of a published model may ask for. An empty
/// image gives a black one.
pub fn prepare(image: &RgbImage, size: (u32, u32), fit: Fit, sampling: impl Into<Sampling>, fill: u8) -> RgbImage {
    let (height, width) = size;
    let mut sampling = sampling.into();
    let (full_height, full_width) = match fit {
        Fit::Squash => return resize(image, width, height, sampling),
        _ if image.width() == 0 || image.height() == 0 => return RgbImage::new(width, height),
        Fit::Shortest if height == width => shorter_side(image, height),
        Fit::Shortest | Fit::Longest => keep_ratio(image, size, fit),
    };
    // Only for a square do open_clip's shorter-side transforms honour the filter that was asked for.
    if fit == Fit::Shortest && height != width {
        sampling.filter = Filter::Bicubic;
    }
    let (across, left) = centred(image.width(), full_width, width);
    let (down, top) = centred(image.height(), full_height, height);
    let part = resample(image, across, down, sampling);
    if part.dimensions() == (width, height) {
        return part;
    }
    let mut out = RgbImage::from_pixel(width, height, image::Rgb([fill; 3]));
    image::imageops::replace(&mut out, &part, left.into(), top.into());
    out
}

/// Cuts out the centre, `size` (height, width), like torchvision's `center_crop`; a smaller picture gets a black border.
pub fn center_crop(image: &RgbImage, size: (u32, u32)) -> RgbImage {
    let (down, top) = centred(image.height(), image.height().into(), size.0);
    let (across, left) = centred(image.width(), image.width().into(), size.1);
    let part = resample(image, across, down, Filter::Box.into());
    let mut out = RgbImage::new(size.1, size.0);
    image::imageops::replace(&mut out, &part, left.into(), top.into());
    out
}

/// The centre of one direction: which part of the resized picture is kept, and where it lands in the output.
fn centred(length: u32, full: u64, wanted: u32) -> (Axis, u32) {
    let source = (0, length as usize);
    if full < u64::from(wanted) {
        // The odd pixel of the border is on the far side.
        return (Axis { source, full, window: (0, full as usize) }, (wanted - full as u32) / 2);
    }
    let start = ((full - u64::from(wanted)) as f64 / 2.0).round_ties_even() as u64;
    (Axis { source, full, window: (start, wanted as usize) }, 0)
}

/// Height and width when the shorter side becomes `target`: torchvision truncates the longer one.
fn shorter_side(image: &RgbImage, target: u32) -> (u64, u64) {
    let (width, height) = image.dimensions();
    let (short, long) = (width.min(height), width.max(height));
    let long = ((u64::from(target) * u64::from(long)) as f64 / f64::from(short)) as u64;
    if width <= height { (long, target.into()) } else { (target.into(), long) }
}

/// Height and width when one side fits and both keep their ratio: here they are rounded, ties to even.
fn keep_ratio(image: &RgbImage, size: (u32, u32), fit: Fit) -> (u64, u64) {
    let (height, width) = (f64::from(image.height()), f64::from(image.width()));
    let (down, across) = (height / f64::from(size.0), width / f64::from(size.1));
    let ratio = if fit == Fit::Longest { down.max(across) } else { down.min(across) };
    // Pillow refuses a side of no pixels, which a very long picture can get; one pixel is the nearest that can be shown.
    let side = |length: f64| ((length / ratio).round_ties_even() as u64).max(1);
    (side(height), side(width))
}
