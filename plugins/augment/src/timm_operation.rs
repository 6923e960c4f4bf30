//! The operations of timm's RandAugment, and what a magnitude means for each.

use vlhub_sdk::pixels::{self, Interpolation};
use vlhub_sdk::prelude::*;
use vlhub_sdk::random;

/// The magnitude that is called full strength.
pub const FULL: f64 = 10.0;

/// An operation, by timm's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimmOperation {
    AutoContrast,
    Equalize,
    Invert,
    Rotate,
    Posterize,
    Solarize,
    SolarizeAdd,
    Color,
    Contrast,
    Brightness,
    Sharpness,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Desaturate,
    GaussianBlur,
}

/// The operations of timm's usual set, in its order.
pub const USUAL: [TimmOperation; 15] = {
    use TimmOperation::*;
    [
        AutoContrast,
        Equalize,
        Invert,
        Rotate,
        Posterize,
        Solarize,
        SolarizeAdd,
        Color,
        Contrast,
        Brightness,
        Sharpness,
        ShearX,
        ShearY,
        TranslateX,
        TranslateY,
    ]
};

/// How an operation is carried out.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// The magnitude, at least 0; 10 is full strength.
    pub magnitude: f64,
    /// Whether more magnitude always changes more. Without it colours go from 0.1 to 1.9 times, and solarisation and posterisation weaken.
    pub increasing: bool,
    /// Interpolation of shear, move and rotation.
    pub interpolation: Interpolation,
    /// Colour where there is no picture.
    pub fill: [u8; 3],
}

impl TimmOperation {
    /// Every operation.
    #[cfg(test)]
    pub fn all() -> impl Iterator<Item = Self> {
        USUAL.into_iter().chain([Self::Desaturate, Self::GaussianBlur])
    }

    /// Whether the operation has a direction, which is drawn.
    fn is_signed(self, increasing: bool) -> bool {
        use TimmOperation::*;
        match self {
            Rotate | ShearX | ShearY | TranslateX | TranslateY => true,
            Color | Contrast | Brightness | Sharpness => increasing,
            _ => false,
        }
    }

    /// Draws the direction, if there is one, and changes the picture.
    pub fn apply(self, image: &RgbImage, manner: Manner, rng: &mut dyn RngCore) -> RgbImage {
        use TimmOperation::*;
        let Manner { increasing, interpolation, fill, .. } = manner;
        let strength = manner.magnitude / FULL;
        let direction = if self.is_signed(increasing) && random::chance(rng, 0.5) { -1.0 } else { 1.0 };
        let factor = if increasing { (1.0 + direction * (strength * 0.9)).max(0.1) } else { strength * 1.8 + 0.1 };
        let whole = |full: f64| (strength * full) as u32;
        let affine = |matrix| pixels::affine(image, matrix, interpolation, fill);
        match self {
            AutoContrast => pixels::autocontrast(image),
            Equalize => pixels::equalize(image),
            Invert => pixels::invert(image),
            Rotate => pixels::rotate(image, direction * (strength * 30.0), interpolation, fill),
            Posterize => {
                let bits = whole(4.0);
                pixels::posterize(image, if increasing { 4u32.saturating_sub(bits) } else { bits.min(8) } as u8)
            }
            Solarize => {
                let threshold = whole(256.0).min(256);
                let threshold = if increasing { 256 - threshold } else { threshold };
                // From 256 on no value is high enough.
                u8::try_from(threshold).map_or_else(|_| image.clone(), |threshold| pixels::solarize(image, threshold))
            }
            SolarizeAdd => pixels::solarize_add(image, whole(110.0).min(128) as u8, 128),
            Color => pixels::saturation(image, factor),
            Contrast => pixels::contrast(image, factor),
            Brightness => pixels::brightness(image, factor),
            Sharpness => pixels::sharpness(image, factor),
            ShearX => affine([1.0, direction * (strength * 0.3), 0.0, 0.0, 1.0, 0.0]),
            ShearY => affine([1.0, 0.0, 0.0, direction * (strength * 0.3), 1.0, 0.0]),
            TranslateX => affine([1.0, 0.0, direction * (strength * 0.45) * f64::from(image.width()), 0.0, 1.0, 0.0]),
            TranslateY => affine([1.0, 0.0, 0.0, 0.0, 1.0, direction * (strength * 0.45) * f64::from(image.height())]),
            Desaturate => pixels::saturation(image, 1.0 - (0.5 + 0.5 * strength).clamp(0.5, 1.0)),
            GaussianBlur => pixels::gaussian_blur(image, (0.1 + (2.0 - 0.1) * strength).clamp(0.1, 2.0)),
        }
    }
}
