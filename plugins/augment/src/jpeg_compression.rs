//! JPEG compression as an augmentation.

use libjpeg_turbo_rs::{Encoder, JpegError, PixelFormat, Subsampling, decompress_to};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;
use vlhub_sdk::random;

/// The longest side that a JPEG may have.
const LONGEST: u32 = 65_500;

/// JPEG compression: writes the picture as a JPEG of a random quality and reads it back, with the losses of both.
///
/// The bytes that Pillow reads from what its `save(…, "JPEG", quality=…)` writes: colours at half size (4:2:0). The defaults are VL Hub's
/// `--downsample-trans`, quality 10 for every picture, before the picture is resized. Draws: whether (`p`), then a whole quality.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct JpegCompressionConfig {
    /// Lowest and highest quality, 1 to 100; each whole number between is as likely.
    pub quality: [u8; 2],
    /// Probability, 0 to 1.
    pub p: f64,
}

impl Default for JpegCompressionConfig {
    fn default() -> Self {
        Self { quality: [10, 10], p: 1.0 }
    }
}

impl Config<dyn Augmentation> for JpegCompressionConfig {
    fn build(&self, _cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        let mut problems = OptionProblems::default();
        problems.range("quality", self.quality.map(f64::from), [1.0, 100.0]);
        problems.probability("p", self.p);
        problems.finish()?;
        Ok(Box::new(JpegCompression(self.clone())))
    }
}

#[derive(Debug)]
struct JpegCompression(JpegCompressionConfig);

impl Augmentation for JpegCompression {
    /// Pictures with a side above 65500 pixels, which no JPEG can hold, stay as they are.
    fn apply(&self, image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        let JpegCompressionConfig { quality: [low, high], p } = self.0;
        if !random::chance(rng, p) {
            return Ok(image);
        }
        let quality = low + random::below(rng, u64::from(high - low) + 1) as u8;
        let (width, height) = image.dimensions();
        if width.max(height) > LONGEST || width.min(height) == 0 {
            return Ok(image);
        }
        through_jpeg(&image, quality).map_err(|error| {
            Error::Invalid(format!("a picture of {width} x {height} pixels cannot be written as JPEG of quality {quality}: {error}"))
        })
    }
}

/// The picture as a JPEG of this quality shows it.
pub(crate) fn through_jpeg(image: &RgbImage, quality: u8) -> std::result::Result<RgbImage, JpegError> {
    let (width, height) = image.dimensions();
    let encoder = Encoder::new(image.as_raw(), width as usize, height as usize, PixelFormat::Rgb);
    // Pillow keeps the tables of low qualities within 8 bits, as baseline JPEG wants.
    let file = encoder.quality(quality).force_baseline(true).subsampling(Subsampling::S420).encode()?;
    let pixels = decompress_to(&file, PixelFormat::Rgb)?.data;
    RgbImage::from_raw(width, height, pixels).ok_or(JpegError::UnexpectedEof)
}

register!(dyn Augmentation, "jpeg_compression", JpegCompressionConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;
    use crate::toy;

    #[test]
    fn the_default_is_quality_10_for_every_picture() {
        let image = toy::drawn(40, 30, 1);
        let downsample = toy::build(&JpegCompressionConfig::default());
        for seed in 0..5 {
            let out = downsample.apply(image.clone(), &mut SplitMix64(seed)).expect("it applies");
            assert_eq!(out, through_jpeg(&image, 10).expect("it is written and read"));
        }
    }

    #[test]
    fn each_quality_of_the_range_is_as_likely() {
        let image = toy::drawn(8, 8, 1);

        let by_quality = [20, 21, 22, 23].map(|quality| through_jpeg(&image, quality).expect("it is written and read"));
        let jpeg = toy::build(&JpegCompressionConfig { quality: [20, 23], p: 0.8 });
        let mut counts = [0; 5];
        let mut rng = SplitMix64(1);
        for _ in 0..2000 {
            let out = jpeg.apply(image.clone(), &mut rng).expect("it applies");
            counts[by_quality.iter().position(|wanted| *wanted == out).unwrap_or(4)] += 1;
        }
        assert!(counts.iter().all(|count| (330..470).contains(count)), "a fifth each: {counts:?}");
    }

    #[test]
    fn a_picture_too_long_for_a_jpeg_stays() {
        let image = RgbImage::from_pixel(65_501, 1, vlhub_sdk::image::Rgb([9, 8, 7]));
        let out = toy::build(&JpegCompressionConfig::default()).apply(image.clone(), &mut SplitMix64(1)).expect("it applies");
        assert_eq!(out, image);
    }

    #[test]
    fn qualities_that_make_no_sense_are_refused() {
        for quality in [[0, 10], [20, 10], [90, 101]] {
            let error = JpegCompressionConfig { quality, p: 1.0 }.build(&toy::CX).expect_err("out of range").to_string();
            assert!(error.contains("`quality`"), "{error}");
        }
    }
}
