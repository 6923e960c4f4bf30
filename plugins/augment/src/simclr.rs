//! The augmentation of SimCLR.

use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;

use crate::blur::BlurConfig;
use crate::color_jitter::ColorJitterConfig;
use crate::flip::FlipConfig;
use crate::greyscale::GreyscaleConfig;
use crate::random_resized_crop::RandomResizedCropConfig;

/// SimCLR's augmentation: crop, colour jitter, greyscale, blur and flip.
///
/// Chen et al. 2020 (<https://arxiv.org/abs/2002.05709>) with the strengths and the order of SLIP (<https://arxiv.org/abs/2112.12750>). Each
/// step is the augmentation of that name; list them one by one to change more than is offered here.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct SimclrConfig {
    /// Area of the crop: smallest and largest share of the picture's area that the crop keeps, above 0 to 1.
    pub scale: [f64; 2],
    /// Strength of the colour jitter: times 0.4 for brightness, contrast and saturation, times 0.1 for hue; 0 to 5.
    pub strength: f64,
    /// Probability of the colour jitter, 0 to 1.
    pub jitter: f64,
    /// Probability of greyscale, 0 to 1.
    pub grey: f64,
    /// Probability of the blur, 0 to 1.
    pub blur: f64,
    /// Probability of the flip, 0 to 1.
    pub flip: f64,
}

impl Default for SimclrConfig {
    fn default() -> Self {
        Self { scale: [0.08, 1.0], strength: 1.0, jitter: 0.8, grey: 0.2, blur: 0.5, flip: 0.5 }
    }
}

impl Config<dyn Augmentation> for SimclrConfig {
    fn build(&self, cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        let mut problems = OptionProblems::default();
        problems.within("strength", self.strength, [0.0, 5.0]);
        for (option, value) in [("jitter", self.jitter), ("grey", self.grey), ("blur", self.blur), ("flip", self.flip)] {
            problems.probability(option, value);
        }
        problems.finish()?;
        let width = 0.4 * self.strength;
        let jitter = ColorJitterConfig { brightness: width, contrast: width, saturation: width, hue: 0.1 * self.strength, p: self.jitter };
        Ok(Box::new(Simclr {
            crop: RandomResizedCropConfig { scale: self.scale, ..RandomResizedCropConfig::default() }.build(cx)?,
            steps: vec![
                jitter.build(cx)?,
                GreyscaleConfig { p: self.grey }.build(cx)?,
                BlurConfig { p: self.blur, ..BlurConfig::default() }.build(cx)?,
                FlipConfig { p: self.flip }.build(cx)?,
            ],
        }))
    }
}

#[derive(Debug)]
struct Simclr {
    crop: Box<dyn Augmentation>,
    /// What follows the crop.
    steps: Vec<Box<dyn Augmentation>>,
}

impl Simclr {
    fn rest(&self, image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        self.steps.iter().try_fold(image, |image, step| step.apply(image, rng))
    }
}

impl Augmentation for Simclr {
    fn apply(&self, image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        self.rest(self.crop.apply(image, rng)?, rng)
    }

    fn crop(&self, size: (u32, u32), rng: &mut dyn RngCore) -> Option<Crop> {
        self.crop.crop(size, rng)
    }

    fn apply_crop(&self, image: RgbImage, part: Region, rng: &mut dyn RngCore) -> Result<RgbImage> {
        self.rest(self.crop.apply_crop(image, part, rng)?, rng)
    }
}

register!(dyn Augmentation, "simclr", SimclrConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;
    use crate::toy;

    #[test]
    fn two_views_of_a_picture_differ_and_a_seed_is_a_view() {
        let simclr = toy::build(&SimclrConfig::default());
        for (width, height) in [(64, 48), (1, 4000), (4000, 1)] {
            let image = toy::picture(width, height);
            let view = |seed| simclr.apply(image.clone(), &mut SplitMix64(seed)).expect("it applies");
            assert_eq!(view(1), view(1), "{width}x{height}");
            assert_ne!(view(1), view(2), "{width}x{height}");
            assert_eq!(view(3).dimensions(), (24, 16), "{width}x{height}");
        }
        assert_eq!(simclr.apply(toy::picture(1, 1), &mut SplitMix64(1)).expect("it applies").dimensions(), (24, 16));
    }

    #[test]
    fn with_all_steps_off_only_the_crop_is_left() {
        let config = SimclrConfig { jitter: 0.0, grey: 0.0, blur: 0.0, flip: 0.0, ..SimclrConfig::default() };
        let crop = RandomResizedCropConfig { scale: [0.08, 1.0], ..RandomResizedCropConfig::default() };
        let image = toy::picture(50, 60);
        let out = toy::build(&config).apply(image.clone(), &mut SplitMix64(5)).expect("it applies");
        assert_eq!(out, toy::build(&crop).apply(image, &mut SplitMix64(5)).expect("it applies"));
    }

    #[test]
    fn a_wrong_option_is_named_as_it_was_written() {
        let error = SimclrConfig { grey: 2.0, ..SimclrConfig::default() }.build(&toy::CX).expect_err("2 is no probability");
        assert!(error.to_string().contains("`grey`"), "{error}");
    }
}
