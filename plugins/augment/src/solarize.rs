//! Random solarisation.

use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;
use vlhub_sdk::{pixels, random};

/// Random solarisation: inverts the bright pixels with a probability.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct SolarizeConfig {
    /// Threshold: values from this one on are inverted, 0 to 255.
    pub threshold: u8,
    /// Probability, 0 to 1. 0.2 for one of the two views in BYOL (<https://arxiv.org/abs/2006.07733>).
    pub p: f64,
}

impl Default for SolarizeConfig {
    fn default() -> Self {
        Self { threshold: 128, p: 0.2 }
    }
}

impl Config<dyn Augmentation> for SolarizeConfig {
    fn build(&self, _cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        let mut problems = OptionProblems::default();
        problems.probability("p", self.p);
        problems.finish()?;
        Ok(Box::new(Solarize { threshold: self.threshold, p: self.p }))
    }
}

#[derive(Debug)]
struct Solarize {
    threshold: u8,
    p: f64,
}

impl Augmentation for Solarize {
    fn apply(&self, image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        Ok(if random::chance(rng, self.p) { pixels::solarize(&image, self.threshold) } else { image })
    }
}

register!(dyn Augmentation, "solarize", SolarizeConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;
    use crate::toy;

    #[test]
    fn it_inverts_from_the_threshold_on() {
        let image = toy::picture(9, 7);
        let mut rng = SplitMix64(1);
        for threshold in [0, 100, 255] {
            let out = toy::build(&SolarizeConfig { threshold, p: 1.0 }).apply(image.clone(), &mut rng).expect("it applies");
            for (before, after) in image.as_raw().iter().zip(out.as_raw()) {
                assert_eq!(*after, if *before < threshold { *before } else { 255 - before }, "{before} at threshold {threshold}");
            }
        }
        assert_eq!(toy::build(&SolarizeConfig { threshold: 0, p: 0.0 }).apply(image.clone(), &mut rng).expect("it applies"), image);
    }
}
