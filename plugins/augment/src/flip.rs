//! Random horizontal flip.

use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;
use vlhub_sdk::{pixels, random};

/// Random horizontal flip: mirrors left and right with a probability.
///
/// Captions that say left or right no longer tell the truth afterwards.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct FlipConfig {
    /// Probability, 0 to 1.
    pub p: f64,
}

impl Default for FlipConfig {
    fn default() -> Self {
        Self { p: 0.5 }
    }
}

impl Config<dyn Augmentation> for FlipConfig {
    fn build(&self, _cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        let mut problems = OptionProblems::default();
        problems.probability("p", self.p);
        problems.finish()?;
        Ok(Box::new(Flip { p: self.p }))
    }
}

#[derive(Debug)]
struct Flip {
    p: f64,
}

impl Augmentation for Flip {
    fn apply(&self, image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        Ok(if random::chance(rng, self.p) { pixels::flip(&image) } else { image })
    }
}

register!(dyn Augmentation, "flip", FlipConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;
    use crate::toy;

    #[test]
    fn it_mirrors_as_often_as_asked() {
        let image = toy::picture(5, 3);
        let mirrored = pixels::flip(&image);
        assert_ne!(image, mirrored);
        assert_eq!(pixels::flip(&mirrored), image, "twice is not at all");
        for (p, low, high) in [(0.0, 0, 0), (0.3, 250, 350), (1.0, 1000, 1000)] {
            let (flip, mut rng) = (toy::build(&FlipConfig { p }), SplitMix64(1));
            let count = (0..1000).filter(|_| flip.apply(image.clone(), &mut rng).expect("it applies") == mirrored).count();
            assert!((low..=high).contains(&count), "p {p}: {count} of 1000");
        }
    }
}
