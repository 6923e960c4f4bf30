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
