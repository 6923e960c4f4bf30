//! Random changes of tone: equalisation, autocontrast, inversion, posterisation.

use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;
use vlhub_sdk::{pixels, random};

/// Random histogram equalisation of each channel.
///
/// The bytes of torchvision's `RandomEqualize` on Pillow pictures.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct EqualizeConfig {
    /// Probability, 0 to 1.
    pub p: f64,
}

/// Random autocontrast: stretches each channel over 0 to 255.
///
/// The bytes of torchvision's `RandomAutocontrast` on Pillow pictures.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct AutocontrastConfig {
    /// Probability, 0 to 1.
    pub p: f64,
}

/// Random inversion: 255 less each value.
///
/// The bytes of torchvision's `RandomInvert`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct InvertConfig {
    /// Probability, 0 to 1.
    pub p: f64,
}

/// Random posterisation: keeps the upper bits of each value.
///
/// The bytes of torchvision's `RandomPosterize` on Pillow pictures.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct PosterizeConfig {
    /// Bits that are kept, 0 to 8; 0 is black.
    pub bits: u8,
    /// Probability, 0 to 1.
    pub p: f64,
}

impl Default for EqualizeConfig {
    fn default() -> Self {
        Self { p: 0.5 }
    }
}

impl Default for AutocontrastConfig {
    fn default() -> Self {
        Self { p: 0.5 }
    }
}

impl Default for InvertConfig {
    fn default() -> Self {
        Self { p: 0.5 }
    }
}

impl Default for PosterizeConfig {
    fn default() -> Self {
        Self { bits: 4, p: 0.5 }
    }
}

impl Config<dyn Augmentation> for EqualizeConfig {
    fn build(&self, _cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        Tone { p: self.p, change: Change::Equalize }.checked(OptionProblems::default())
    }
}

impl Config<dyn Augmentation> for AutocontrastConfig {
    fn build(&self, _cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        Tone { p: self.p, change: Change::Autocontrast }.checked(OptionProblems::default())
    }
}

impl Config<dyn Augmentation> for InvertConfig {
    fn build(&self, _cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        Tone { p: self.p, change: Change::Invert }.checked(OptionProblems::default())
    }
}

impl Config<dyn Augmentation> for PosterizeConfig {
    fn build(&self, _cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        let mut problems = OptionProblems::default();
        problems.within("bits", self.bits.into(), [0.0, 8.0]);
        Tone { p: self.p, change: Change::Posterize(self.bits) }.checked(problems)
    }
}

#[derive(Debug)]
struct Tone {
    p: f64,
    change: Change,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Equalize,
    Autocontrast,
    Invert,
    Posterize(u8),
}

impl Tone {
    fn checked(self, mut problems: OptionProblems) -> Result<Box<dyn Augmentation>> {
        problems.probability("p", self.p);
        problems.finish()?;
        Ok(Box::new(self))
    }
}

impl Augmentation for Tone {
    fn apply(&self, image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        if !random::chance(rng, self.p) {
            return Ok(image);
        }
        Ok(match self.change {
            Change::Equalize => pixels::equalize(&image),
            Change::Autocontrast => pixels::autocontrast(&image),
            Change::Invert => pixels::invert(&image),
            Change::Posterize(bits) => pixels::posterize(&image, bits),
        })
    }
}

register!(dyn Augmentation, "equalize", EqualizeConfig);
register!(dyn Augmentation, "autocontrast", AutocontrastConfig);
register!(dyn Augmentation, "invert", InvertConfig);
register!(dyn Augmentation, "posterize", PosterizeConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;
    use crate::toy;

    #[test]
    fn each_makes_its_change_as_often_as_asked() {
        // Values from 60 to 187, which can be stretched.
        let mut image = toy::picture(40, 30);
        image.iter_mut().for_each(|value| *value = 60 + *value / 2);
        let all = |p| {
            [
                (toy::build(&EqualizeConfig { p }), pixels::equalize(&image)),
                (toy::build(&AutocontrastConfig { p }), pixels::autocontrast(&image)),
                (toy::build(&InvertConfig { p }), pixels::invert(&image)),
                (toy::build(&PosterizeConfig { bits: 3, p }), pixels::posterize(&image, 3)),
            ]
        };
        for (number, (augmentation, wanted)) in all(0.25).iter().enumerate() {
            let mut rng = SplitMix64(number as u64);
            let outs: Vec<_> = (0..400).map(|_| augmentation.apply(image.clone(), &mut rng).expect("it applies")).collect();
            let changed = outs.iter().filter(|out| *out == wanted).count();
            assert!((70..130).contains(&changed), "{augmentation:?}: {changed} of 400");
            assert!(outs.iter().all(|out| out == wanted || *out == image), "{augmentation:?}");
        }
    }

    #[test]
    fn options_outside_their_range_are_refused() {
        let error = PosterizeConfig { bits: 9, p: 2.0 }.build(&toy::CX).expect_err("9 bits of 8").to_string();
        assert!(error.contains("`bits`") && error.contains("`p`"), "{error}");
        assert!(EqualizeConfig { p: -0.1 }.build(&toy::CX).is_err());
    }
}
