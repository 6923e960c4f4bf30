//! Sharpness: a blend with the smoothed image, as Pillow's `ImageEnhance.Sharpness`.

use image::RgbImage;

use super::colour::blend;

/// Weights of the smoothing: a pixel counts five times, its eight neighbours once each.
const OUTER: f32 = 1.0 / 13.0;
const CENTRE: f32 = 5.0 / 13.0;

/// Sharpness: factor 0 is the smoothed image, 1 the image, more is sharper. The outermost pixels stay as they are.
pub fn sharpness(image: &RgbImage, factor: f64) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut out = image.clone();
    if width < 3 || height < 3 {
        return out;
    }
    let (stride, factor) = (3 * width, factor as f32);
    let windows = image.as_raw().windows(3 * stride).step_by(stride);
    for (rows, to) in windows.zip(out.chunks_exact_mut(stride).skip(1)) {
        let (above, rest) = rows.split_at(stride);
        let (row, below) = rest.split_at(stride);
        let lines = below.windows(7).zip(row.windows(7)).zip(above.windows(7));
        for (((below, row), above), to) in lines.zip(&mut to[3..]) {
            // From the lower row to the upper one, in single precision, as Pillow's sum goes: in another order the last bit differs.
            let mut sum = 0.5;
            for (line, middle) in [(below, OUTER), (row, CENTRE), (above, OUTER)] {
                sum += f32::from(line[0]) * OUTER + f32::from(line[3]) * middle + f32::from(line[6]) * OUTER;
            }
            *to = blend(sum as u8, row[3], factor);
        }
    }
    out
}
