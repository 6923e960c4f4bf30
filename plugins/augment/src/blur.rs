//! Random Gaussian blur.

use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;
use vlhub_sdk::{pixels, random};

/// Random Gaussian blur: blurs with a probability, by a random width.
///
/// The same bytes as Pillow's `GaussianBlur`, with which SimCLR, MoCo and SLIP were reproduced, or, with `kernel`, torchvision's `GaussianBlur` (to a
/// level, in 20 of a million values); VL Hub's `--sim-clr-trans` has `kernel = 5`. Draws: whether (`p`), then the width, evenly.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct BlurConfig {
    /// Smallest and largest standard deviation, in pixels of the image as it arrives, 0 to 100.
    pub sigma: [f64; 2],
    /// Probability, 0 to 1.
    pub p: f64,
    /// 0: Pillow's blur. An odd number from 1 to 99: torchvision's, by a square of so many pixels on a side, of which the least `sigma` is above 0.
    pub kernel: u32,
}

impl Default for BlurConfig {
    fn default() -> Self {
        Self { sigma: [0.1, 2.0], p: 0.5, kernel: 0 }
    }
}

impl Config<dyn Augmentation> for BlurConfig {
    fn build(&self, _cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        let mut problems = OptionProblems::default();
        problems.range("sigma", self.sigma, [0.0, 100.0]);
        problems.probability("p", self.p);
        let kernel = self.kernel;
        problems.ensure(kernel == 0 || (kernel % 2 == 1 && kernel < 100), || {
            format!("`kernel` is {kernel}; 0 or an odd number up to 99 is wanted")
        });
        problems.ensure(kernel == 0 || self.sigma[0] > 0.0, || "`sigma` must be above 0 with a `kernel`".into());
        problems.finish()?;
        Ok(Box::new(Blur(self.clone())))
    }
}

#[derive(Debug)]
struct Blur(BlurConfig);

impl Augmentation for Blur {
    fn apply(&self, image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        if !random::chance(rng, self.0.p) {
            return Ok(image);
        }
        let [low, high] = self.0.sigma;
        let sigma = random::between(rng, low, high);
        Ok(match self.0.kernel {
            0 => pixels::gaussian_blur(&image, sigma),
            size => pixels::gaussian_kernel_blur(&image, size, sigma),
        })
    }
}

register!(dyn Augmentation, "blur", BlurConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;
    use crate::toy;

    #[test]
    fn it_is_the_blur_of_the_drawn_width() {
        let image = toy::picture(20, 11);
        let mut rng = SplitMix64(1);
        for sigma in [0.0, 0.7, 2.5] {
            let out =
                toy::build(&BlurConfig { sigma: [sigma, sigma], p: 1.0, kernel: 0 }).apply(image.clone(), &mut rng).expect("it applies");
            assert_eq!(out, pixels::gaussian_blur(&image, sigma), "sigma {sigma}");
            assert_eq!(out == image, sigma == 0.0, "only a blur of no width changes nothing");
        }
    }

    #[test]
    fn widths_that_make_no_sense_are_refused() {
        for (sigma, reason) in [([2.0, 0.1], "the larger first"), ([-1.0, 1.0], "negative"), ([f64::NAN, 1.0], "not a number")] {
            let error = BlurConfig { sigma, ..BlurConfig::default() }.build(&toy::CX).expect_err(reason).to_string();
            assert!(error.contains("`sigma`"), "{reason}: {error}");
        }
    }

    #[test]
    fn a_kernel_makes_torchvisions_blur() {
        let image = toy::picture(20, 11);
        let config = BlurConfig { sigma: [1.5, 1.5], p: 1.0, kernel: 5 };
        let out = toy::build(&config).apply(image.clone(), &mut SplitMix64(1)).expect("it applies");
        assert_eq!(out, pixels::gaussian_kernel_blur(&image, 5, 1.5));
        for (config, option) in [
            (BlurConfig { kernel: 4, ..config.clone() }, "`kernel`"),
            (BlurConfig { kernel: 101, ..config.clone() }, "`kernel`"),
            (BlurConfig { sigma: [0.0, 1.0], ..config.clone() }, "`sigma`"),
        ] {
            let error = config.build(&toy::CX).expect_err(option).to_string();
            assert!(error.contains(option), "{error}");
        }
    }
}
