//! Tone operations: each channel through a table of 256 values, as Pillow's `ImageOps`.

use image::RgbImage;

/// A value for each of the 256 that a channel may have.
type Tone = [u8; 256];

/// Inversion: 255 less the value.
pub fn invert(image: &RgbImage) -> RgbImage {
    same(image, |value| 255 - value)
}

/// Solarisation: inverts every value of at least `threshold`.
pub fn solarize(image: &RgbImage, threshold: u8) -> RgbImage {
    same(image, |value| if value < threshold { value } else { 255 - value })
}

/// Adds `add` to every value below `threshold`, up to 255: what RandAugment calls SolarizeAdd.
pub fn solarize_add(image: &RgbImage, add: u8, threshold: u8) -> RgbImage {
    same(image, |value| if value < threshold { value.saturating_add(add) } else { value })
}

/// Posterisation: keeps the upper `bits` bits of each value, 0 to 8; 0 is black.
pub fn posterize(image: &RgbImage, bits: u8) -> RgbImage {
    let mask = 255u8.checked_shl(8 - u32::from(bits.min(8))).unwrap_or(0);
    same(image, |value| value & mask)
}

/// Autocontrast: stretches each channel so that its least value becomes 0 and its greatest 255. A channel of one value stays as it is.
pub fn autocontrast(image: &RgbImage) -> RgbImage {
    each(image, |counts| {
        let least = counts.iter().position(|&count| count > 0).unwrap_or(0);
        let most = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        if most <= least {
            return tone(|value| value);
        }
        let scale = 255.0 / (most - least) as f64;
        let offset = -(least as f64) * scale;
        tone(|value| (f64::from(value) * scale + offset) as u8)
    })
}

/// Histogram equalisation of each channel. A channel of one value, or of too few pixels for a step, stays as it is.
pub fn equalize(image: &RgbImage) -> RgbImage {
    each(image, |counts| {
        let last = counts.iter().rev().find(|&&count| count > 0).copied().unwrap_or(0);
        let step = (counts.iter().sum::<u64>() - last) / 255;
        if step == 0 {
            return tone(|value| value);
        }
        let mut below = step / 2;
        counts.map(|count| {
            let level = below / step;
            below += count;
            level.min(255) as u8
        })
    })
}

fn tone(of: impl Fn(u8) -> u8) -> Tone {
    let mut table = [0; 256];
    for (value, to) in (0..=255).zip(&mut table) {
        *to = of(value);
    }
    table
}

fn same(image: &RgbImage, of: impl Fn(u8) -> u8) -> RgbImage {
    let table = tone(of);
    through(image, &[table; 3])
}

/// A table for each channel from how often each value occurs in it.
fn each(image: &RgbImage, table: impl Fn([u64; 256]) -> Tone) -> RgbImage {
    let mut counts = [[0; 256]; 3];
    for pixel in image.pixels() {
        for (counts, value) in counts.iter_mut().zip(pixel.0) {
            counts[usize::from(value)] += 1;
        }
    }
    through(image, &counts.map(table))
}

fn through(image: &RgbImage, tables: &[Tone; 3]) -> RgbImage {
    let mut out = image.clone();
    for pixel in out.pixels_mut() {
        for (value, table) in pixel.0.iter_mut().zip(tables) {
            *value = table[usize::from(*value)];
        }
    }
    out
}
