//! How pictures are decoded: what a run chooses once, for training, the checks of its data and evaluation alike.

use clap::ValueEnum;
use image::{DynamicImage, RgbImage};
use serde::{Deserialize, Serialize};

use super::MAX_PIXELS;

/// Options of decoding, as a run records them; each is a top-level key of the run file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureOptions {
    /// Most pixels of a picture; one with more is not used.
    pub max_pixels: u64,
    /// What is done with an orientation tag.
    pub exif: ExifPolicy,
    /// What is done with transparency.
    pub alpha: AlphaPolicy,
    /// How channels of 16 bits become 8.
    pub sixteen_bit: SixteenBitPolicy,
}

impl Default for PictureOptions {
    fn default() -> Self {
        Self {
            max_pixels: MAX_PIXELS,
            exif: ExifPolicy::default(),
            alpha: AlphaPolicy::default(),
            sixteen_bit: SixteenBitPolicy::default(),
        }
    }
}

/// What is done with the orientation tag of a picture (Exif, or XMP where there is none).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ExifPolicy {
    /// Nothing, as in open_clip (whose Pillow still turns TIFF files).
    #[default]
    Ignore,
    /// Pictures are turned upright, as by Pillow's `ImageOps.exif_transpose`.
    Apply,
}

/// What is done with the alpha channel of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum AlphaPolicy {
    /// It is left out, as by Pillow's `convert("RGB")`: what was transparent shows the colour that stands under it.
    #[default]
    Drop,
    /// The picture is laid on white.
    White,
    /// The picture is laid on black.
    Black,
}

/// How channels of 16 bits become 8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum SixteenBitPolicy {
    /// Scaled and rounded: 65535 becomes 255.
    #[default]
    Scale,
    /// As Pillow does: of grey pictures all above 255 is white, of others the upper byte counts.
    Pil,
}

impl PictureOptions {
    /// Eight bits of red, green and blue.
    pub(super) fn rgb(self, image: DynamicImage) -> RgbImage {
        let image = if self.sixteen_bit == SixteenBitPolicy::Pil { eight_bits_of_pillow(image) } else { image };
        match self.alpha {
            AlphaPolicy::White if image.color().has_alpha() => over(image, [255; 3]),
            AlphaPolicy::Black if image.color().has_alpha() => over(image, [0; 3]),
            _ => image.into_rgb8(),
        }
    }
}

/// A picture laid on a colour, each channel rounded as Pillow's `paste` with a mask does.
pub(super) fn over(image: DynamicImage, colour: [u8; 3]) -> RgbImage {
    let image = image.into_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [red, green, blue, alpha] = image.get_pixel(x, y).0;
        let mix = |over: u8, under: u8| {
            let alpha = u32::from(alpha);
            ((u32::from(over) * alpha + u32::from(under) * (255 - alpha) + 127) / 255) as u8
        };
        image::Rgb([mix(red, colour[0]), mix(green, colour[1]), mix(blue, colour[2])])
    })
}

fn eight_bits_of_pillow(image: DynamicImage) -> DynamicImage {
    let (width, height) = (image.width(), image.height());
    let upper = |levels: &[u16]| levels.iter().map(|level| (level >> 8) as u8).collect::<Vec<u8>>();
    // Each has as many levels as before, so nothing is left out.
    let made = match &image {
        DynamicImage::ImageLuma16(levels) => {
            let levels = levels.as_raw().iter().map(|level| (*level).min(255) as u8).collect();
            image::GrayImage::from_raw(width, height, levels).map(DynamicImage::from)
        }
        DynamicImage::ImageLumaA16(levels) => {
            image::GrayAlphaImage::from_raw(width, height, upper(levels.as_raw())).map(DynamicImage::from)
        }
        DynamicImage::ImageRgb16(levels) => RgbImage::from_raw(width, height, upper(levels.as_raw())).map(DynamicImage::from),
        DynamicImage::ImageRgba16(levels) => image::RgbaImage::from_raw(width, height, upper(levels.as_raw())).map(DynamicImage::from),
        _ => None,
    };
    made.unwrap_or(image)
}
