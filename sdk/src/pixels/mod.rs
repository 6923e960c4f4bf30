//! Picture operations that equal Pillow 12.3 to the byte, and open_clip's evaluation transform made of them.
//!
//! Published zero-shot numbers were measured on pixels that Pillow resized; a resize that is merely as good moves a model's accuracy by
//! tenths of a per cent. So everything here keeps Pillow's fixed-point steps, its roundings and the order of its passes ([`PassOrder`]). The bytes are compared with Pillow's and torchvision's in `tests/golden/pixels.json`.

mod affine;
mod blur;
mod colour;
#[cfg(target_arch = "x86_64")]
mod dot_products;
mod filter;
mod prepare;
mod resize;
mod sharpness;
mod tone;

use image::{RgbImage, imageops};

pub use affine::{Interpolation, affine, inverse_affine_matrix, rotate};
pub use blur::{gaussian_blur, gaussian_kernel_blur};
pub use colour::{brightness, contrast, greyscale, hue, saturation};
pub use filter::{Filter, PassOrder, Sampling};
pub use prepare::{Fit, center_crop, eval_transform, prepare};
pub use resize::{resize, resized_crop};
pub use sharpness::sharpness;
pub use tone::{autocontrast, equalize, invert, posterize, solarize, solarize_add};
pub use vlhub_core::Region;

/// Mean of each channel, for values in 0..1, with which OpenAI normalised CLIP's pictures; open_clip takes it for towers of timm too.
pub const CLIP_MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
/// Standard deviation of each channel, as [`CLIP_MEAN`].
pub const CLIP_STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// Horizontal flip.
pub fn flip(image: &RgbImage) -> RgbImage {
    imageops::flip_horizontal(image)
}

/// Crop of a region; the part of it that lies outside the image is black.
pub fn crop(image: &RgbImage, region: Region) -> RgbImage {
    let mut out = RgbImage::new(region.width, region.height);
    let right = image.width().min(region.x.saturating_add(region.width));
    let bottom = image.height().min(region.y.saturating_add(region.height));
    if region.x < right && region.y < bottom {
        imageops::replace(&mut out, &*imageops::crop_imm(image, region.x, region.y, right - region.x, bottom - region.y), 0, 0);
    }
    out
}

#[cfg(test)]
mod tests;
