//! Gaussian blur as three box blurs with fractional radius (Gwosdek et al., "Theoretical foundations of Gaussian convolution by extended box
//! filtering", 2011), which is what Pillow's `GaussianBlur` is.

use image::RgbImage;

const PASSES: usize = 3;

/// Gaussian blur with standard deviation `sigma` in pixels. The border is repeated outwards. `sigma` 0 changes nothing.
pub fn gaussian_blur(image: &RgbImage, sigma: f64) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut out = image.clone();
    let radius = box_radius(sigma as f32);
    if width == 0 || height == 0 || !(radius > 0.0 && radius.is_finite()) {
        return out;
    }
    let window = BoxWindow::new(radius);
    let mut before = vec![0u8; out.len()];
    for _ in 0..PASSES {
        before.copy_from_slice(&out);
        for (from, to) in before.chunks_exact(3 * width).zip(out.chunks_exact_mut(3 * width)) {
            // A row is a column of pixels: lines of three values.
            window.slide(from, to, 3);
        }
    }
    for _ in 0..PASSES {
        before.copy_from_slice(&out);
        window.slide(&before, &mut out, 3 * width);
    }
    out
}

/// Radius of the box whose threefold use has the variance of the Gaussian: equations 7, 11 and 14 of the paper.
fn box_radius(sigma: f32) -> f32 {
    let variance = sigma * sigma / PASSES as f32;
    let length = (12.0 * f64::from(variance) + 1.0).sqrt() as f32;
    let whole = ((f64::from(length) - 1.0) / 2.0).floor() as f32;
    let next = whole + 1.0;
    let part = (2.0 * whole + 1.0) * (whole * next - 3.0 * variance) / (6.0 * (variance - next * next));
    whole + part
}

/// A box: `radius` whole lines on each side and a part of the next, with weights of 24 bits.
struct BoxWindow {
    radius: usize,
    inner: u32,
    outer: u32,
}

impl BoxWindow {
    fn new(radius: f32) -> Self {
        let whole = radius as u32;
        let inner = ((1 << 24) as f32 / (radius * 2.0 + 1.0)) as u32;
        Self { radius: whole as usize, inner, outer: (1u32 << 24).saturating_sub((whole * 2 + 1) * inner) / 2 }
    }

    /// Averages along lines of `stride` values.
    fn slide(&self, from: &[u8], to: &mut [u8], stride: usize) {
        let last = from.len() / stride - 1;
        // Line `at - radius - 1 + offset`, inside the image.
        let line = |at: usize, offset: usize| {
            let at = (at + offset).saturating_sub(self.radius + 1).min(last);
            &from[at * stride..(at + 1) * stride]
        };
        // The sum around the line before the first.
        let mut sums = vec![0u32; stride];
        for offset in 0..=2 * self.radius {
            for (sum, &value) in sums.iter_mut().zip(line(0, offset)) {
                *sum += u32::from(value);
            }
        }
        for (at, to) in to.chunks_exact_mut(stride).enumerate() {
            let (left, new, right) = (line(at, 0), line(at, 2 * self.radius + 1), line(at, 2 * self.radius + 2));
            for ((((to, sum), &left), &new), &right) in to.iter_mut().zip(&mut sums).zip(left).zip(new).zip(right) {
                *sum = *sum + u32::from(new) - u32::from(left);
                let mixed = *sum * self.inner + (u32::from(left) + u32::from(right)) * self.outer;
                *to = ((mixed + (1 << 23)) >> 24) as u8;
            }
        }
    }
}

/// Gaussian blur by a kernel of `size` × `size` (odd) pixels, mirrored at the border, as torchvision's `gaussian_blur`; `sigma` above 0. A picture
/// that is not larger than half the kernel, which torchvision refuses, is mirrored as often as needed.
///
/// torchvision sums in single precision in the order of a convolution routine. Here double precision is rounded once: a value differs, by one level,
/// where torchvision's sum misses a half.
pub fn gaussian_kernel_blur(image: &RgbImage, size: u32, sigma: f64) -> RgbImage {
    let (width, height) = (i64::from(image.width()), i64::from(image.height()));
    let half = i64::from(size / 2);
    let curve: Vec<f32> = (-half..=half).map(|at| (-0.5 * (at as f32 / sigma as f32).powi(2)).exp()).collect();
    let sum: f32 = curve.iter().sum();
    let curve: Vec<f32> = curve.iter().map(|value| value / sum).collect();
    // Weights of both directions at once, rounded as torchvision's product of the two is.
    let kernel: Vec<f64> = curve.iter().flat_map(|down| curve.iter().map(move |across| f64::from(down * across))).collect();
    if image.is_empty() {
        return image.clone();
    }
    let mirror = |at: i64, length: i64| {
        if length == 1 {
            return 0;
        }
        let at = at.rem_euclid(2 * length - 2);
        at.min(2 * length - 2 - at)
    };
    let columns: Vec<u32> = (-half..width + half).map(|x| mirror(x, width) as u32).collect();
    // Rows with their mirrored ends, so that each weight meets values side by side.
    let wide = |y: u32| columns.iter().flat_map(move |x| image.get_pixel(*x, y).0).collect::<Vec<u8>>();
    let rows: Vec<Vec<u8>> = (0..image.height()).map(wide).collect();
    let mut out = RgbImage::new(image.width(), image.height());
    for (y, to) in (0..height).zip(out.chunks_exact_mut(3 * columns.len() - 6 * half as usize)) {
        let mut sums = vec![0.0; to.len()];
        let mut weights = kernel.iter();
        for down in -half..=half {
            let row = &rows[mirror(y + down, height) as usize];
            for (across, weight) in (0..size as usize).zip(&mut weights) {
                for (sum, value) in sums.iter_mut().zip(&row[3 * across..]) {
                    *sum += f64::from(*value) * weight;
                }
            }
        }
        for (to, sum) in to.iter_mut().zip(sums) {
            *to = f64::round_ties_even(sum) as u8;
        }
    }
    out
}
