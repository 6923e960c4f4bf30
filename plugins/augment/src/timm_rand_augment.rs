//! RandAugment as timm has it, and AugReg's levels of it.

use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::Interpolation;
use vlhub_sdk::prelude::*;
use vlhub_sdk::random;

use crate::timm_operation::{Manner, TimmOperation};
use crate::timm_policy::TimmPolicy;

/// How values between pixels are made, for a run file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum DrawnInterpolation {
    /// Bilinear or bicubic, drawn anew each time.
    #[default]
    Random,
    /// The pixel at the place.
    Nearest,
    /// From 2 x 2 pixels.
    Bilinear,
    /// From 4 x 4 pixels.
    Bicubic,
}

/// RandAugment (<https://arxiv.org/abs/1909.13719>) as timm has it, from timm's description in one string.
///
/// The operations and their bytes are those of timm's `rand_augment_transform`. Draws: all operations, evenly and with replacement (sets with
/// weights by weight and without); then for each operation whether (`p`), its magnitude (a normal number, or an even one from 0 on; cut to 0 and
/// `mmax`), the interpolation where it is random, and the direction where there is one.
///
/// `augreg_light1` to `augreg_strong2` are the levels of AugReg, Steiner et al. 2021 (<https://arxiv.org/abs/2106.10270>), without its Cutout, for
/// which `random_erasing` is there; its mixup is an option of `classify`. VL Hub's `--augreg-trans` is read and never used.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct TimmRandAugmentConfig {
    /// Sections after `rand`, in any order: `m9` magnitude (10 is full), `n2` operations, `p0.5` probability of each, `mstd0.5` standard deviation of
    /// the magnitude (above 100: drawn evenly from 0 on), `mmax30` largest magnitude (10 unless given, so `m15` alone is `m10`), `inc1` more magnitude
    /// always changes more, `tweights`, `t3a`, `t3aw` another set of operations.
    pub policy: String,
    /// Interpolation of shear, move and rotation: `random` draws `bilinear` or `bicubic` each time.
    pub interpolation: DrawnInterpolation,
    /// Colour where there is no picture: red, green, blue. timm takes the mean by which the tower normalises; this is CLIP's.
    pub fill: [u8; 3],
}

impl Default for TimmRandAugmentConfig {
    fn default() -> Self {
        Self { policy: "rand-m9-mstd0.5-inc1".into(), interpolation: DrawnInterpolation::Random, fill: [123, 117, 104] }
    }
}

impl TimmRandAugmentConfig {
    /// A level of AugReg: its RandAugment has two operations, each with probability 1/2, nearest pixels and a grey border.
    fn augreg(magnitude: u32) -> Self {
        let policy = format!("rand-m{magnitude}-n2-p0.5-mmax30");
        Self { policy, interpolation: DrawnInterpolation::Nearest, fill: [128; 3] }
    }
}

impl Config<dyn Augmentation> for TimmRandAugmentConfig {
    fn build(&self, _cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        let mut problems = OptionProblems::default();
        let policy = TimmPolicy::parse(&self.policy);
        if let Err(problem) = &policy {
            problems.push(format!("`policy`: {problem}"));
        }
        problems.finish()?;
        let policy = policy.map_err(Error::Options)?;
        Ok(Box::new(TimmRandAugment { policy, interpolation: self.interpolation, fill: self.fill }))
    }
}

#[derive(Debug)]
struct TimmRandAugment {
    policy: TimmPolicy,
    interpolation: DrawnInterpolation,
    fill: [u8; 3],
}

impl TimmRandAugment {
    fn operations(&self, rng: &mut dyn RngCore) -> Vec<TimmOperation> {
        let mut left = self.policy.operations.clone();
        let layers = 0..self.policy.layers;
        if !self.policy.weighted {
            return layers.map(|_| left[random::below(rng, left.len() as u64) as usize].0).collect();
        }
        layers
            .map(|_| {
                let total: f64 = left.iter().map(|(_, weight)| weight).sum();
                let mut place = random::between(rng, 0.0, total);
                let within = |(_, weight): &(TimmOperation, f64)| {
                    place -= weight;
                    place < 0.0
                };
                let at = left.iter().position(within).unwrap_or(left.len() - 1);
                left.remove(at).0
            })
            .collect()
    }

    fn magnitude(&self, rng: &mut dyn RngCore) -> f64 {
        let TimmPolicy { magnitude, deviation, most, .. } = self.policy;
        let magnitude = f64::from(magnitude);
        let drawn = if deviation.is_infinite() {
            random::between(rng, 0.0, magnitude)
        } else if deviation > 0.0 {
            magnitude + deviation * random::normal(rng)
        } else {
            magnitude
        };
        drawn.clamp(0.0, most)
    }

    fn interpolation(&self, rng: &mut dyn RngCore) -> Interpolation {
        match self.interpolation {
            DrawnInterpolation::Random if random::chance(rng, 0.5) => Interpolation::Bilinear,
            DrawnInterpolation::Random | DrawnInterpolation::Bicubic => Interpolation::Bicubic,
            DrawnInterpolation::Bilinear => Interpolation::Bilinear,
            DrawnInterpolation::Nearest => Interpolation::Nearest,
        }
    }
}

impl Augmentation for TimmRandAugment {
    fn apply(&self, mut image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        for operation in self.operations(rng) {
            if !random::chance(rng, self.policy.probability) {
                continue;
            }
            let magnitude = self.magnitude(rng);
            let interpolation = self.interpolation(rng);
            let manner = Manner { magnitude, increasing: self.policy.increasing, interpolation, fill: self.fill };
            image = operation.apply(&image, manner, rng);
        }
        Ok(image)
    }
}

register!(dyn Augmentation, "timm_rand_augment", TimmRandAugmentConfig);
register!(dyn Augmentation, "augreg_light1", TimmRandAugmentConfig, || TimmRandAugmentConfig::augreg(0));
register!(dyn Augmentation, "augreg_light2", TimmRandAugmentConfig, || TimmRandAugmentConfig::augreg(10));
register!(dyn Augmentation, "augreg_medium1", TimmRandAugmentConfig, || TimmRandAugmentConfig::augreg(15));
register!(dyn Augmentation, "augreg_medium2", TimmRandAugmentConfig, || TimmRandAugmentConfig::augreg(15));
register!(dyn Augmentation, "augreg_strong1", TimmRandAugmentConfig, || TimmRandAugmentConfig::augreg(20));
register!(dyn Augmentation, "augreg_strong2", TimmRandAugmentConfig, || TimmRandAugmentConfig::augreg(20));

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;
    use crate::toy;

    fn of(policy: &str) -> TimmRandAugment {
        let policy = TimmPolicy::parse(policy).expect(policy);
        TimmRandAugment { policy, interpolation: DrawnInterpolation::Random, fill: [128; 3] }
    }

    fn magnitudes(policy: &str) -> Vec<f64> {
        let (augmentation, mut rng) = (of(policy), SplitMix64(1));
        let mut all: Vec<f64> = (0..4000).map(|_| augmentation.magnitude(&mut rng)).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    #[test]
    fn magnitudes_are_drawn_as_the_policy_says() {
        assert!(magnitudes("rand-m7").iter().all(|magnitude| *magnitude == 7.0));
        assert!(magnitudes("rand-m15").iter().all(|magnitude| *magnitude == 10.0), "10 is the most unless `mmax` says more");
        assert!(magnitudes("rand-m15-mmax30").iter().all(|magnitude| *magnitude == 15.0));
        let normal = magnitudes("rand-m9-mstd0.5");
        // A normal number of mean 9 and deviation 0.5 is above 10 in 2.3 %: those are 10.
        assert!((8.95..9.05).contains(&normal[2000]) && (8.6..8.72).contains(&normal[1000]), "{} {}", normal[2000], normal[1000]);
        assert!((50..140).contains(&normal.iter().filter(|magnitude| **magnitude == 10.0).count()));
        let even = magnitudes("rand-m8-mstd101");
        assert!((1.8..2.2).contains(&even[1000]) && (5.8..6.2).contains(&even[3000]), "{} {}", even[1000], even[3000]);
    }

    #[test]
    fn operations_are_drawn_by_their_weights() {
        let share = |policy: &str, wanted: TimmOperation| {
            let (augmentation, mut rng) = (of(policy), SplitMix64(1));
            let drawn: Vec<_> = (0..3000).map(|_| augmentation.operations(&mut rng)).collect();
            assert!(drawn.iter().all(|operations| operations.len() == augmentation.policy.layers as usize));
            drawn.iter().filter(|operations| operations.contains(&wanted)).count() as f64 / 3000.0
        };
        let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 0.03, "{found} for {wanted}");
        near(share("rand-n1", TimmOperation::Invert), 1.0 / 15.0);
        near(share("rand-n2", TimmOperation::Invert), 1.0 - (14.0f64 / 15.0).powi(2));
        near(share("rand-n1-tweights", TimmOperation::Rotate), 3.0 / 10.1);
        near(share("rand-n15-tweights", TimmOperation::Invert), 1.0);
        near(share("rand-n1-t3a", TimmOperation::GaussianBlur), 1.0 / 3.0);
        near(share("rand-n1-t3aw", TimmOperation::Desaturate), 6.0 / 33.0);
    }

    #[test]
    fn each_operation_has_its_probability() {
        let image = toy::drawn(24, 20, 3);
        let changed = |policy: &str| {
            let (augmentation, mut rng) = (of(policy), SplitMix64(1));
            (0..600).filter(|_| augmentation.apply(image.clone(), &mut rng).expect("it applies") != image).count()
        };
        assert_eq!(changed("rand-p0"), 0);
        // Autocontrast may change nothing: 14 of 15 operations do.
        let half = changed("rand-n1-m9-inc1");
        assert!((240..340).contains(&half), "{half} of 600");
    }

    #[test]
    fn augreg_has_its_magnitudes() {
        for (magnitude, policy) in [(0, 0.0), (10, 10.0), (15, 15.0), (20, 20.0)] {
            let config = TimmRandAugmentConfig::augreg(magnitude);
            let (augmentation, mut rng) = (of(&config.policy), SplitMix64(1));
            assert_eq!((augmentation.magnitude(&mut rng), augmentation.policy.layers), (policy, 2));
            toy::build(&config);
        }
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_refused() {
        let config = TimmRandAugmentConfig { policy: "rand-m9-inc".into(), ..TimmRandAugmentConfig::default() };
        let error = config.build(&toy::CX).expect_err("`inc` has no number").to_string();
        assert!(error.contains("`policy`") && error.contains("`inc` wants 0 or 1"), "{error}");
    }
}
