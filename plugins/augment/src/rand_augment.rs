//! RandAugment as torchvision has it.

use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{self, Interpolation};
use vlhub_sdk::prelude::*;
use vlhub_sdk::random;

/// RandAugment (<https://arxiv.org/abs/1909.13719>) as torchvision has it: a few operations of 14, one after the other, all of one magnitude.
///
/// The bytes of torchvision's (v1) on Pillow pictures: no change, shear and move along x and y, rotation, brightness, colour, contrast, sharpness,
/// posterisation, solarisation, autocontrast, equalisation. Draws for each operation: which, evenly; then, for the nine that have two
/// directions (all before posterisation), which direction, evenly.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct RandAugmentConfig {
    /// Number of operations, 0 to 14.
    pub num_ops: u32,
    /// Magnitude, 0 to below `num_magnitude_bins`: 0 is weakest. At 9 of 31 a rotation has 9 degrees.
    pub magnitude: u32,
    /// Number of magnitudes, 2 to 1000.
    pub num_magnitude_bins: u32,
    /// Interpolation of shear, move and rotation: `nearest` reads one pixel, `bilinear` 2 x 2, `bicubic` 4 x 4.
    pub interpolation: Interpolation,
    /// Colour where there is no picture: red, green, blue.
    pub fill: [u8; 3],
}

impl Default for RandAugmentConfig {
    fn default() -> Self {
        Self { num_ops: 2, magnitude: 9, num_magnitude_bins: 31, interpolation: Interpolation::Nearest, fill: [0; 3] }
    }
}

impl Config<dyn Augmentation> for RandAugmentConfig {
    fn build(&self, _cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        let mut problems = OptionProblems::default();
        problems.within("num_ops", self.num_ops.into(), [0.0, 14.0]);
        problems.within("num_magnitude_bins", self.num_magnitude_bins.into(), [2.0, 1000.0]);
        problems.ensure(self.magnitude < self.num_magnitude_bins, || {
            format!("`magnitude` = {} must be below `num_magnitude_bins` = {}", self.magnitude, self.num_magnitude_bins)
        });
        problems.finish()?;
        Ok(Box::new(RandAugment(self.clone())))
    }
}

#[derive(Debug)]
pub(crate) struct RandAugment(pub(crate) RandAugmentConfig);

impl RandAugment {
    /// The magnitude on a scale from `start` to `end`, in the single precision of `torch.linspace`.
    fn level(&self, start: f64, end: f64) -> f64 {
        let (at, bins) = (self.0.magnitude, self.0.num_magnitude_bins);
        let (start, end) = (start as f32, end as f32);
        let step = (end - start) / (bins - 1) as f32;
        let level = if at < bins / 2 { step.mul_add(at as f32, start) } else { (-step).mul_add((bins - at - 1) as f32, end) };
        level.into()
    }

    fn posterize_bits(&self) -> u8 {
        let bit = ((f64::from(self.0.num_magnitude_bins) - 1.0) / 4.0) as f32;
        8 - (self.0.magnitude as f32 / bit).round_ties_even() as u8
    }

    /// Operation `which` of 14, in the order of torchvision's table; `direction` is 1 or -1.
    pub(crate) fn operation(&self, image: &RgbImage, which: u64, direction: f64) -> RgbImage {
        let RandAugmentConfig { interpolation, fill, .. } = self.0;
        let size = [image.width(), image.height()].map(f64::from);
        let signed = |end: f64| direction * self.level(0.0, end);
        let affine = |centre, translate, shear| {
            pixels::affine(image, pixels::inverse_affine_matrix(centre, 0.0, translate, 1.0, shear), interpolation, fill)
        };
        let shear = || signed(0.3).atan().to_degrees();
        let moved = |side: f64| signed(150.0 / 331.0 * side).trunc();
        let centre = size.map(|side| side * 0.5);
        match which {
            1 => affine([0.0; 2], [0.0; 2], [shear(), 0.0]),
            2 => affine([0.0; 2], [0.0; 2], [0.0, shear()]),
            3 => affine(centre, [moved(size[0]), 0.0], [0.0; 2]),
            4 => affine(centre, [0.0, moved(size[1])], [0.0; 2]),
            5 => pixels::rotate(image, signed(30.0), interpolation, fill),
            6 => pixels::brightness(image, 1.0 + signed(0.9)),
            7 => pixels::saturation(image, 1.0 + signed(0.9)),
            8 => pixels::contrast(image, 1.0 + signed(0.9)),
            9 => pixels::sharpness(image, 1.0 + signed(0.9)),
            10 => pixels::posterize(image, self.posterize_bits()),
            11 => pixels::solarize(image, self.level(255.0, 0.0).ceil() as u8),
            12 => pixels::autocontrast(image),
            13 => pixels::equalize(image),
            _ => image.clone(),
        }
    }
}

impl Augmentation for RandAugment {
    fn apply(&self, mut image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        for _ in 0..self.0.num_ops {
            let which = random::below(rng, 14);
            let direction = if (1..=9).contains(&which) && random::below(rng, 2) == 1 { -1.0 } else { 1.0 };
            image = self.operation(&image, which, direction);
        }
        Ok(image)
    }
}

register!(dyn Augmentation, "rand_augment", RandAugmentConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;
    use crate::toy;

    #[test]
    fn operations_and_directions_are_drawn_evenly() {
        let image = toy::drawn(24, 20, 3);
        let one = RandAugment(RandAugmentConfig { num_ops: 1, magnitude: 20, ..RandAugmentConfig::default() });
        let mut outcomes: Vec<(RgbImage, f64)> = Vec::new();
        for which in 0..14 {
            let directions: &[f64] = if (1..=9).contains(&which) { &[1.0, -1.0] } else { &[1.0] };
            for direction in directions {
                let (out, share) = (one.operation(&image, which, *direction), 1.0 / 14.0 / directions.len() as f64);
                match outcomes.iter_mut().find(|(other, _)| *other == out) {
                    Some((_, known)) => *known += share,
                    None => outcomes.push((out, share)),
                }
            }
        }
        assert!(outcomes.len() > 18, "most operations can be told apart: {}", outcomes.len());
        let (mut rng, mut counts) = (SplitMix64(1), vec![0; outcomes.len()]);
        for _ in 0..4000 {
            let out = one.apply(image.clone(), &mut rng).expect("it applies");
            counts[outcomes.iter().position(|(wanted, _)| *wanted == out).expect("an operation of the table")] += 1;
        }
        for (count, (_, share)) in counts.iter().zip(&outcomes) {
            let wanted = 4000.0 * share;
            // Five standard deviations.
            assert!((f64::from(*count) - wanted).abs() < 5.0 * wanted.sqrt(), "{counts:?}: {count} for {wanted}");
        }
    }

    #[test]
    fn operations_follow_each_other() {
        let image = toy::drawn(24, 20, 3);
        let of = |num_ops| RandAugment(RandAugmentConfig { num_ops, ..RandAugmentConfig::default() });
        assert_eq!(of(0).apply(image.clone(), &mut SplitMix64(1)).expect("it applies"), image);
        for seed in 0..20 {
            let mut rng = SplitMix64(seed);
            let once = of(1).apply(image.clone(), &mut rng).expect("it applies");
            let twice = of(1).apply(once, &mut rng).expect("it applies");
            assert_eq!(of(2).apply(image.clone(), &mut SplitMix64(seed)).expect("it applies"), twice, "seed {seed}");
        }
    }

    #[test]
    fn options_outside_their_range_are_refused() {
        for (config, option) in [
            (RandAugmentConfig { magnitude: 31, ..RandAugmentConfig::default() }, "`magnitude`"),
            (RandAugmentConfig { num_ops: 15, ..RandAugmentConfig::default() }, "`num_ops`"),
            (RandAugmentConfig { num_magnitude_bins: 1, magnitude: 0, ..RandAugmentConfig::default() }, "`num_magnitude_bins`"),
        ] {
            let error = config.build(&toy::CX).expect_err(option).to_string();
            assert!(error.contains(option), "{error}");
        }
    }
}
