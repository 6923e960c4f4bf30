//! How a resize weighs pixels, and which direction it takes first.

use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Interpolation filter of a resize.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The pixel under the centre; no others are read.
    Nearest,
    /// Mean of the covered pixels.
    Box,
    /// Triangle of radius 1.
    Bilinear,
    /// Sinc of radius 1 under a Hamming window.
    Hamming,
    /// Keys' cubic with a = -0.5, radius 2: what CLIP models are evaluated with.
    #[default]
    Bicubic,
    /// Windowed sinc of radius 3.
    Lanczos,
}

impl Filter {
    pub(super) fn radius(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    pub(super) fn weight(self, x: f64) -> f64 {
        let distance = x.abs();
        match self {
            // Half open, so that a pixel on the border between two cells belongs to one of them.
            Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - distance).max(0.0),
            Self::Hamming if distance == 0.0 => 1.0,
            // Pillow's two numbers of the window are floats.
            Self::Hamming if distance < 1.0 => sinc(distance) * (f64::from(0.54f32) + f64::from(0.46f32) * (distance * PI).cos()),
            Self::Bicubic if distance < 1.0 => (1.5 * distance - 2.5) * distance * distance + 1.0,
            Self::Bicubic if distance < 2.0 => (((distance - 5.0) * distance + 8.0) * distance - 4.0) * -0.5,
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Nearest | Self::Hamming | Self::Bicubic | Self::Lanczos => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

/// Which direction a resize takes first. Between the two passes values are rounded to 8 bits and cut off at 0 and 255, so the order shows: mostly by a
/// level or two, by up to 30 at hard edges with the Lanczos filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PassOrder {
    /// Horizontal first, always: Pillow up to 12.1, with which the numbers of published CLIP models were measured.
    Horizontal,
    /// Horizontal first, but vertical first where a picture more than 100 times as tall as wide gets less tall: Pillow 12.2 and 12.3.
    #[default]
    Pillow12,
    /// Vertical first where the height shrinks, and by more than twice as many pixels as the width; otherwise horizontal first: Pillow 13.
    Pillow13,
}

impl PassOrder {
    /// Whether the vertical pass comes first, from (width, height) before and after.
    pub(super) fn vertical_first(self, before: (u64, u64), after: (u64, u64)) -> bool {
        let shorter = after.1 < before.1;
        match self {
            Self::Horizontal => false,
            Self::Pillow12 => shorter && before.1 > 100 * before.0,
            Self::Pillow13 => {
                let lost = |before: u64, after: u64| i128::from(before) - i128::from(after);
                shorter && lost(before.1, after.1) > 2 * lost(before.0, after.0)
            }
        }
    }
}

/// A filter and the order of the passes. Where only a [`Filter`] is given, the order is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampling {
    /// Weights of neighbouring pixels.
    pub filter: Filter,
    /// Which direction comes first.
    pub pass_order: PassOrder,
}

impl From<Filter> for Sampling {
    fn from(filter: Filter) -> Self {
        Self { filter, pass_order: PassOrder::default() }
    }
}
