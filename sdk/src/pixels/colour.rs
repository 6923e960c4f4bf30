//! Colour operations: Pillow's blends and its 8-bit hue, saturation and value.

use image::{Rgb, RgbImage};

/// Greyscale: luma (ITU-R 601) in all three channels.
pub fn greyscale(image: &RgbImage) -> RgbImage {
    map(image, |pixel| [luma(pixel); 3])
}

/// Brightness, a blend with black: factor 0 is black, 1 the image, more is brighter.
pub fn brightness(image: &RgbImage, factor: f64) -> RgbImage {
    let factor = factor as f32;
    map(image, |pixel| pixel.map(|value| blend(0, value, factor)))
}

/// Contrast, a blend with the image's mean luma.
pub fn contrast(image: &RgbImage, factor: f64) -> RgbImage {
    let factor = factor as f32;
    let sum: u64 = image.pixels().map(|pixel| u64::from(luma(pixel.0))).sum();
    let count = (u64::from(image.width()) * u64::from(image.height())).max(1);
    let mean = (sum as f64 / count as f64 + 0.5) as u8;
    map(image, |pixel| pixel.map(|value| blend(mean, value, factor)))
}

/// Saturation, a blend with the greyscale image.
pub fn saturation(image: &RgbImage, factor: f64) -> RgbImage {
    let factor = factor as f32;
    map(image, |pixel| {
        let grey = luma(pixel);
        pixel.map(|value| blend(grey, value, factor))
    })
}

/// Hue rotation by a share of the full circle, -0.5 to 0.5. Not the identity at 0: the way through 8-bit hue loses a little.
pub fn hue(image: &RgbImage, shift: f64) -> RgbImage {
    let shift = (shift * 255.0) as i32 as u8;
    map(image, |pixel| {
        let [hue, saturation, value] = to_hsv(pixel);
        to_rgb([hue.wrapping_add(shift), saturation, value])
    })
}

pub(super) fn map(image: &RgbImage, change: impl Fn([u8; 3]) -> [u8; 3]) -> RgbImage {
    let mut out = image.clone();
    for pixel in out.pixels_mut() {
        *pixel = Rgb(change(pixel.0));
    }
    out
}

fn luma([red, green, blue]: [u8; 3]) -> u8 {
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16) as u8
}

/// From `base` at 0 to `value` at 1 and beyond, truncated, in single precision as Pillow does it.
pub(super) fn blend(base: u8, value: u8, factor: f32) -> u8 {
    let mixed = f32::from(base) + factor * f32::from(i16::from(value) - i16::from(base));
    mixed as u8
}

// Where C promotes to double, so does this; where it stores a float, this rounds to one.
fn to_hsv([red, green, blue]: [u8; 3]) -> [u8; 3] {
    let most = red.max(green).max(blue);
    let least = red.min(green).min(blue);
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let saturation = range / f32::from(most);
    let far = |value: u8| f32::from(most - value) / range;
    let (red_far, green_far, blue_far) = (far(red), far(green), far(blue));
    let hue = if red == most {
        blue_far - green_far
    } else if green == most {
        (2.0 + f64::from(red_far) - f64::from(blue_far)) as f32
    } else {
        (4.0 + f64::from(green_far) - f64::from(red_far)) as f32
    };
    let hue = ((f64::from(hue) / 6.0 + 1.0) % 1.0) as f32;
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, most]
}

fn to_rgb([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let sixths = f64::from(hue) * 6.0 / 255.0;
    let sector = sixths.floor();
    let rest = (sixths - sector) as f32;
    let share = (f64::from(saturation) / 255.0) as f32;
    let full = f64::from(value);
    let low = (full * (1.0 - f64::from(share))).round() as u8;
    let falling = (full * (1.0 - f64::from(share * rest))).round() as u8;
    let rising = (full * (1.0 - f64::from(share) * (1.0 - f64::from(rest)))).round() as u8;
    match sector as u8 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}
