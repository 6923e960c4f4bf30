//! Colour jitter.

use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;
use vlhub_sdk::{pixels, random};

/// Colour jitter: changes brightness, contrast, saturation and hue, in random order.
///
/// The draws of torchvision's `ColorJitter` and the bytes of its Pillow backend. The defaults are SimCLR's as SLIP uses them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ColorJitterConfig {
    /// Brightness jitter: the factor is drawn from 1 ± this, but never under 0; 0 leaves the brightness alone.
    pub brightness: f64,
    /// Contrast jitter, as for brightness.
    pub contrast: f64,
    /// Saturation jitter, as for brightness.
    pub saturation: f64,
    /// Hue jitter: the hue turns by a share of the circle drawn from 0 ± this, at most 0.5; 0 leaves it alone.
    pub hue: f64,
    /// Probability, 0 to 1.
    pub p: f64,
}

impl Default for ColorJitterConfig {
    fn default() -> Self {
        Self { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1, p: 0.8 }
    }
}

impl Config<dyn Augmentation> for ColorJitterConfig {
    fn build(&self, _cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        let mut problems = OptionProblems::default();
        for (option, value) in [("brightness", self.brightness), ("contrast", self.contrast), ("saturation", self.saturation)] {
            problems.within(option, value, [0.0, 100.0]);
        }
        problems.within("hue", self.hue, [0.0, 0.5]);
        problems.probability("p", self.p);
        problems.finish()?;
        Ok(Box::new(ColorJitter(self.clone())))
    }
}

#[derive(Debug)]
struct ColorJitter(ColorJitterConfig);

impl Augmentation for ColorJitter {
    fn apply(&self, mut image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        let ColorJitterConfig { brightness, contrast, saturation, hue, p } = self.0;
        if !random::chance(rng, p) {
            return Ok(image);
        }
        let mut order = [0, 1, 2, 3];
        random::shuffle(rng, &mut order);
        // All four are drawn whatever is switched off, so that one option does not move the draws of another.
        let factors = [brightness, contrast, saturation].map(|width| random::between(rng, (1.0 - width).max(0.0), 1.0 + width));
        let turn = random::between(rng, -hue, hue);
        for step in order {
            image = match step {
                0 if brightness > 0.0 => pixels::brightness(&image, factors[0]),
                1 if contrast > 0.0 => pixels::contrast(&image, factors[1]),
                2 if saturation > 0.0 => pixels::saturation(&image, factors[2]),
                3 if hue > 0.0 => pixels::hue(&image, turn),
                _ => image,
            };
        }
        Ok(image)
    }
}

register!(dyn Augmentation, "color_jitter", ColorJitterConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;
    use crate::toy;

    const OFF: ColorJitterConfig = ColorJitterConfig { brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0, p: 1.0 };

    #[test]
    fn what_is_switched_off_changes_nothing() {
        let image = toy::picture(9, 9);
        assert_eq!(toy::build(&OFF).apply(image.clone(), &mut SplitMix64(1)).expect("it applies"), image);
        let never = ColorJitterConfig { p: 0.0, ..ColorJitterConfig::default() };
        assert_eq!(toy::build(&never).apply(image.clone(), &mut SplitMix64(1)).expect("it applies"), image);
    }

    #[test]
    fn brightness_is_spread_evenly_around_one() {
        let image = RgbImage::from_pixel(1, 1, vlhub_sdk::image::Rgb([100; 3]));
        let (jitter, mut rng) = (toy::build(&ColorJitterConfig { brightness: 0.4, ..OFF }), SplitMix64(1));
        let values: Vec<u8> = (0..2000).map(|_| jitter.apply(image.clone(), &mut rng).expect("it applies").get_pixel(0, 0).0[0]).collect();
        assert!(values.iter().all(|value| (60..=140).contains(value)), "0.6 to 1.4 times 100");
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / 2000.0;
        assert!((97.0..102.0).contains(&mean), "mean {mean}");
        assert!(values.iter().any(|&value| value < 64) && values.iter().any(|&value| value > 136), "both ends are reached");
    }

    #[test]
    fn the_order_of_the_steps_varies() {
        // With the factors at hand, each of the 24 orders could be told; that two of them appear is enough: brightness first clips.
        let image = toy::picture(16, 16);
        let jitter = toy::build(&ColorJitterConfig { brightness: 0.4, contrast: 0.4, ..OFF });
        let (mut first, mut second) = (0, 0);
        for seed in 0..64 {
            let out = jitter.apply(image.clone(), &mut SplitMix64(seed)).expect("it applies");
            let mut rng = SplitMix64(seed);
            let mut order = [0, 1, 2, 3];
            random::chance(&mut rng, 1.0);
            random::shuffle(&mut rng, &mut order);
            let factors = [0, 1].map(|_| random::between(&mut rng, 0.6, 1.4));
            let light = |image: &RgbImage| pixels::brightness(image, factors[0]);
            let contrast = |image: &RgbImage| pixels::contrast(image, factors[1]);
            if order.iter().position(|&step| step == 0) < order.iter().position(|&step| step == 1) {
                first += 1;
                assert_eq!(out, contrast(&light(&image)), "seed {seed}");
            } else {
                second += 1;
                assert_eq!(out, light(&contrast(&image)), "seed {seed}");
            }
        }
        assert!(first > 16 && second > 16, "brightness went first {first} times of 64");
    }

    #[test]
    fn options_outside_their_range_are_refused() {
        for (config, option) in [
            (ColorJitterConfig { hue: 0.6, ..OFF }, "`hue`"),
            (ColorJitterConfig { contrast: -0.1, ..OFF }, "`contrast`"),
            (ColorJitterConfig { p: 1.5, ..OFF }, "`p`"),
        ] {
            let error = config.build(&toy::CX).expect_err(option).to_string();
            assert!(error.contains(option), "{error}");
        }
    }
}
