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

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;
    use crate::toy;

    #[test]
    fn parameters_fixed_to_a_point_make_that_transform() {
        let image = toy::picture(21, 14);
        let config = AffineConfig {
            degrees: [20.0, 20.0],
            translate: [0.0, 0.0],
            scale: [1.2, 1.2],
            shear_x: [5.0, 5.0],
            shear_y: [-3.0, -3.0],
            ..AffineConfig::default()
        };
        let out = toy::build(&config).apply(image.clone(), &mut SplitMix64(1)).expect("it applies");
        let matrix = pixels::inverse_affine_matrix([10.5, 7.0], 20.0, [0.0, 0.0], 1.2, [5.0, -3.0]);
        assert_eq!(out, pixels::affine(&image, matrix, Interpolation::Bilinear, [0; 3]));
        let config = RotateConfig { degrees: [33.0, 33.0], fill: [1, 2, 3], ..RotateConfig::default() };
        let out = toy::build(&config).apply(image.clone(), &mut SplitMix64(1)).expect("it applies");
        assert_eq!(out, pixels::rotate(&image, 33.0, Interpolation::Bilinear, [1, 2, 3]));
    }

    #[test]
    fn moves_are_whole_pixels_spread_evenly() {
        // One white column shows how far it went.
        let mut image = RgbImage::new(21, 1);
        image.put_pixel(10, 0, vlhub_sdk::image::Rgb([255; 3]));
        let config = AffineConfig { degrees: [0.0; 2], scale: [1.0; 2], translate: [0.2, 0.0], ..AffineConfig::default() };
        let (affine, mut rng, mut counts) = (toy::build(&config), SplitMix64(1), [0; 21]);
        for _ in 0..2100 {
            let out = affine.apply(image.clone(), &mut rng).expect("it applies");
            counts[out.pixels().position(|pixel| pixel.0 == [255; 3]).expect("it is in the picture")] += 1;
        }
        // 4.2 pixels to each side: -3 to 3 take 1 of 8.4 each, the ends 0.7.
        assert!(counts[..6].iter().chain(&counts[15..]).all(|count| *count == 0), "{counts:?}");
        assert!(counts[7..14].iter().all(|count| (200..300).contains(count)), "{counts:?}");
        assert!([counts[6], counts[14]].iter().all(|count| (130..220).contains(count)), "{counts:?}");
    }

    #[test]
    fn options_outside_their_range_are_refused() {
        let default = AffineConfig::default;
        for (config, option) in [
            (AffineConfig { degrees: [10.0, -10.0], ..default() }, "`degrees`"),
            (AffineConfig { translate: [0.0, 2.0], ..default() }, "`translate`"),
            (AffineConfig { scale: [0.0, 1.0], ..default() }, "`scale`"),
            (AffineConfig { shear_x: [0.0, 90.0], ..default() }, "`shear_x`"),
            (AffineConfig { shear_y: [-90.0, 0.0], ..default() }, "`shear_y`"),
            (AffineConfig { p: -1.0, ..default() }, "`p`"),
        ] {
            let error = config.build(&toy::CX).expect_err(option).to_string();
            assert!(error.contains(option), "{error}");
        }
        let error = RotateConfig { degrees: [0.0, 400.0], ..RotateConfig::default() }.build(&toy::CX).expect_err("more than a turn");
        assert!(error.to_string().contains("`degrees`"), "{error}");
    }
}
