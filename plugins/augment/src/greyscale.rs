//! Random greyscale.

use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;
use vlhub_sdk::{pixels, random};

/// Random greyscale: takes the colour away with a probability.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct GreyscaleConfig {
    /// Probability, 0 to 1. 0.2 in SimCLR (<https://arxiv.org/abs/2002.05709>).
    pub p: f64,
}

impl Default for GreyscaleConfig {
    fn default() -> Self {
        Self { p: 0.2 }
    }
}

impl Config<dyn Augmentation> for GreyscaleConfig {
    fn build(&self, _cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        let mut problems = OptionProblems::default();
        problems.probability("p", self.p);
        problems.finish()?;
        Ok(Box::new(Greyscale { p: self.p }))
    }
}

#[derive(Debug)]
struct Greyscale {
    p: f64,
}

impl Augmentation for Greyscale {
    fn apply(&self, image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        Ok(if random::chance(rng, self.p) { pixels::greyscale(&image) } else { image })
    }
}

register!(dyn Augmentation, "greyscale", GreyscaleConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;
    use crate::toy;

    #[test]
    fn it_takes_the_colour_as_often_as_asked() {
        let image = toy::picture(5, 3);
        let (grey, mut rng) = (toy::build(&GreyscaleConfig::default()), SplitMix64(1));
        let count = (0..1000).filter(|_| grey.apply(image.clone(), &mut rng).expect("it applies") != image).count();
        assert!((150..=250).contains(&count), "{count} of 1000 for p 0.2");
        let always = toy::build(&GreyscaleConfig { p: 1.0 }).apply(image.clone(), &mut rng).expect("it applies");
        assert_eq!(always, pixels::greyscale(&image));
    }
}
