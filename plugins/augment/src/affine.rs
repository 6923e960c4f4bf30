//! Random affine transform and random rotation.

use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{self, Interpolation};
use vlhub_sdk::prelude::*;
use vlhub_sdk::random;

/// Random affine transform: turns, moves, scales and shears around the centre.
///
/// The bytes of torchvision's `RandomAffine` on Pillow pictures. Draws, each evenly: whether (`p`), angle, move along x, move along y (both rounded
/// to pixels), scale, shear along x, shear along y.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct AffineConfig {
    /// Smallest and largest angle in degrees, clockwise, -360 to 360.
    pub degrees: [f64; 2],
    /// Farthest move along x and y, as a share of width and height, 0 to 1.
    pub translate: [f64; 2],
    /// Smallest and largest scale, 0.01 to 100.
    pub scale: [f64; 2],
    /// Smallest and largest shear along x, in degrees, -80 to 80.
    pub shear_x: [f64; 2],
    /// Smallest and largest shear along y, in degrees, -80 to 80.
    pub shear_y: [f64; 2],
    /// Interpolation: `nearest` reads one pixel, `bilinear` 2 x 2, `bicubic` 4 x 4.
    pub interpolation: Interpolation,
    /// Colour where there is no picture: red, green, blue.
    pub fill: [u8; 3],
    /// Probability, 0 to 1.
    pub p: f64,
}

impl Default for AffineConfig {
    fn default() -> Self {
        Self {
            degrees: [-10.0, 10.0],
            translate: [0.1, 0.1],
            scale: [0.9, 1.1],
            shear_x: [0.0, 0.0],
            shear_y: [0.0, 0.0],
            interpolation: Interpolation::Bilinear,
            fill: [0; 3],
            p: 1.0,
        }
    }
}

impl Config<dyn Augmentation> for AffineConfig {
    fn build(&self, _cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        let mut problems = OptionProblems::default();
        problems.range("degrees", self.degrees, [-360.0, 360.0]);
        for share in self.translate {
            problems.within("translate", share, [0.0, 1.0]);
        }
        problems.range("scale", self.scale, [0.01, 100.0]);
        problems.range("shear_x", self.shear_x, [-80.0, 80.0]);
        problems.range("shear_y", self.shear_y, [-80.0, 80.0]);
        problems.probability("p", self.p);
        problems.finish()?;
        Ok(Box::new(Affine(self.clone())))
    }
}

#[derive(Debug)]
struct Affine(AffineConfig);

impl Augmentation for Affine {
    fn apply(&self, image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        let AffineConfig { degrees, translate, scale, shear_x, shear_y, interpolation, fill, p } = self.0;
        if !random::chance(rng, p) {
            return Ok(image);
        }
        let size = [image.width(), image.height()].map(f64::from);
        let mut draw = |[low, high]: [f64; 2]| random::between(rng, low, high);
        let degrees = draw(degrees);
        let [x, y] = [0, 1].map(|axis| size[axis] * translate[axis]).map(|most| draw([-most, most]).round_ties_even());
        let (scale, shear) = (draw(scale), [draw(shear_x), draw(shear_y)]);
        let matrix = pixels::inverse_affine_matrix(size.map(|side| side * 0.5), degrees, [x, y], scale, shear);
        Ok(pixels::affine(&image, matrix, interpolation, fill))
    }
}

register!(dyn Augmentation, "affine", AffineConfig);

/// Random rotation around the centre; the size stays.
///
/// The bytes of torchvision's `RandomRotation` on Pillow pictures. Draws: whether (`p`), then the angle, evenly.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct RotateConfig {
    /// Smallest and largest angle in degrees, counter-clockwise, -360 to 360.
    pub degrees: [f64; 2],
    /// Interpolation: `nearest` reads one pixel, `bilinear` 2 x 2, `bicubic` 4 x 4.
    pub interpolation: Interpolation,
    /// Colour of the corners: red, green, blue.
    pub fill: [u8; 3],
    /// Probability, 0 to 1.
    pub p: f64,
}

impl Default for RotateConfig {
    fn default() -> Self {
        Self { degrees: [-10.0, 10.0], interpolation: Interpolation::Bilinear, fill: [0; 3], p: 1.0 }
    }
}

impl Config<dyn Augmentation> for RotateConfig {
    fn build(&self, _cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        let mut problems = OptionProblems::default();
        problems.range("degrees", self.degrees, [-360.0, 360.0]);
        problems.probability("p", self.p);
        problems.finish()?;
        Ok(Box::new(Rotate(self.clone())))
    }
}

#[derive(Debug)]
struct Rotate(RotateConfig);

impl Augmentation for Rotate {
    fn apply(&self, image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        let RotateConfig { degrees: [low, high], interpolation, fill, p } = self.0;
        if !random::chance(rng, p) {
            return Ok(image);
        }
        Ok(pixels::rotate(&image, random::between(rng, low, high), interpolation, fill))
    }
}

register!(dyn Augmentation, "rotate", RotateConfig);
