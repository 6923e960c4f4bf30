//! Random sharpness.

use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;
use vlhub_sdk::{pixels, random};

/// Random sharpness: sharpens or smooths with a probability, by a random factor.
///
/// The bytes of torchvision's `RandomAdjustSharpness` on Pillow pictures. Draws: whether (`p`), then the factor, evenly.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct SharpnessConfig {
    /// Smallest and largest factor, 0 to 100: 0 is smooth, 1 changes nothing, more is sharper.
    pub factor: [f64; 2],
    /// Probability, 0 to 1.
    pub p: f64,
}

impl Default for SharpnessConfig {
    fn default() -> Self {
        Self { factor: [2.0, 2.0], p: 0.5 }
    }
}

impl Config<dyn Augmentation> for SharpnessConfig {
    fn build(&self, _cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        let mut problems = OptionProblems::default();
        problems.range("factor", self.factor, [0.0, 100.0]);
        problems.probability("p", self.p);
        problems.finish()?;
        Ok(Box::new(Sharpness(self.clone())))
    }
}

#[derive(Debug)]
struct Sharpness(SharpnessConfig);

impl Augmentation for Sharpness {
    fn apply(&self, image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        if !random::chance(rng, self.0.p) {
            return Ok(image);
        }
        let [low, high] = self.0.factor;
        Ok(pixels::sharpness(&image, random::between(rng, low, high)))
    }
}

register!(dyn Augmentation, "sharpness", SharpnessConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;
    use crate::toy;

    #[test]
    fn it_is_the_sharpness_of_the_drawn_factor() {
        let image = toy::picture(20, 11);
        for factor in [0.0, 1.0, 2.5] {
            let out = toy::build(&SharpnessConfig { factor: [factor, factor], p: 1.0 }).apply(image.clone(), &mut SplitMix64(1));
            let out = out.expect("it applies");
            assert_eq!(out, pixels::sharpness(&image, factor), "factor {factor}");
            assert_eq!(out == image, factor == 1.0, "only a factor of 1 changes nothing");
        }
        let error = SharpnessConfig { factor: [2.0, 1.0], p: 0.5 }.build(&toy::CX).expect_err("the larger first").to_string();
        assert!(error.contains("`factor`"), "{error}");
    }
}
