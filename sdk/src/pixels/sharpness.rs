//! Sharpness: a blend with the smoothed image, as Pillow's `ImageEnhance.Sharpness`.

use image::{Rgb, RgbImage};

use super::colour::blend;

/// Sharpness: factor 0 is the smoothed image, 1 the image, more is sharper. The outermost pixels stay as they are.
pub fn sharpness(image: &RgbImage, factor: f64) -> RgbImage {
    let (width, height) = image.dimensions();
    let factor = factor as f32;
    let mut out = image.clone();
    for y in 1..height.saturating_sub(1) {
        for x in 1..width.saturating_sub(1) {
            let (smooth, pixel) = (smooth(image, x, y), image.get_pixel(x, y).0);
            out.put_pixel(x, y, Rgb([0, 1, 2].map(|channel| blend(smooth[channel], pixel[channel], factor))));
        }
    }
    out
}

/// The mean of a pixel and its eight neighbours, the pixel five times. The sum goes from the lower row to the upper one, in single precision,
/// as Pillow's does: in another order the last bit differs.
fn smooth(image: &RgbImage, x: u32, y: u32) -> [u8; 3] {
    const OUTER: f32 = 1.0 / 13.0;
    const CENTRE: f32 = 5.0 / 13.0;
    let mut sums = [0.5f32; 3];
    for (row, middle) in [(y + 1, OUTER), (y, CENTRE), (y - 1, OUTER)] {
        let pixels = [x - 1, x, x + 1].map(|x| image.get_pixel(x, row).0);
        for (channel, sum) in sums.iter_mut().enumerate() {
            let [left, centre, right] = pixels.map(|pixel| f32::from(pixel[channel]));
            *sum += left * OUTER + centre * middle + right * OUTER;
        }
    }
    sums.map(|sum| sum as u8)
}
