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
            Error::Plugin(format!("a picture of {width} x {height} pixels cannot be written as JPEG of quality {quality}: {error}"))
        })
    }
}

fn through_jpeg(image: &RgbImage, quality: u8) -> std::result::Result<RgbImage, JpegError> {
    let (width, height) = image.dimensions();
    let encoder = Encoder::new(image.as_raw(), width as usize, height as usize, PixelFormat::Rgb);
    let file = encoder.quality(quality).subsampling(Subsampling::S420).encode()?;
    let pixels = decompress_to(&file, PixelFormat::Rgb)?.data;
    RgbImage::from_raw(width, height, pixels).ok_or(JpegError::UnexpectedEof)
}

register!(dyn Augmentation, "jpeg_compression", JpegCompressionConfig);
