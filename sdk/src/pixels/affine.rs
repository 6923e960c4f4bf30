//! Affine transforms and rotations as Pillow's `Image.transform` and `Image.rotate` make them, and torchvision's matrix for them.

use image::{Rgb, RgbImage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a value between pixels is made in an affine transform. Unlike the filter of a resize it reads the nearest pixels only, however much
/// the picture shrinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The pixel at the place.
    #[default]
    Nearest,
    /// From 2 × 2 pixels.
    Bilinear,
    /// From 4 × 4 pixels, by a cubic with a = -1.
    Bicubic,
}

/// Affine transform: the pixel at (x, y) of the result is that at (a x + b y + c, d x + e y + f) of `image`, for `matrix` [a, b, c, d, e, f];
/// `fill` where there is none. The size stays.
pub fn affine(image: &RgbImage, matrix: [f64; 6], interpolation: Interpolation, fill: [u8; 3]) -> RgbImage {
    let mut out = RgbImage::from_pixel(image.width(), image.height(), Rgb(fill));
    match interpolation {
        Interpolation::Nearest => nearest(image, matrix, &mut out),
        Interpolation::Bilinear => between(image, matrix, &mut out, bilinear),
        Interpolation::Bicubic => between(image, matrix, &mut out, bicubic),
    }
    out
}

/// Rotation around the centre by `degrees` counter-clockwise. The size stays, and corners are cut off.
pub fn rotate(image: &RgbImage, degrees: f64, interpolation: Interpolation, fill: [u8; 3]) -> RgbImage {
    let degrees = degrees.rem_euclid(360.0);
    if degrees == 0.0 || degrees == 360.0 {
        return image.clone();
    }
    let square = image.width() == image.height();
    // Pillow turns these without a matrix, whatever the interpolation. `image` counts clockwise.
    match degrees {
        180.0 => return image::imageops::rotate180(image),
        90.0 if square => return image::imageops::rotate270(image),
        270.0 if square => return image::imageops::rotate90(image),
        _ => (),
    }
    let (sine, cosine) = (-degrees.to_radians()).sin_cos();
    let (sine, cosine) = (rounded(sine), rounded(cosine));
    let centre = (f64::from(image.width()) / 2.0, f64::from(image.height()) / 2.0);
    let mut matrix = [cosine, sine, 0.0, -sine, cosine, 0.0];
    matrix[2] = matrix[0] * -centre.0 + matrix[1] * -centre.1 + matrix[2] + centre.0;
    matrix[5] = matrix[3] * -centre.0 + matrix[4] * -centre.1 + matrix[5] + centre.1;
    affine(image, matrix, interpolation, fill)
}

/// To 15 decimals, as Python's `round`.
fn rounded(value: f64) -> f64 {
    format!("{value:.15}").parse().unwrap_or(value)
}

/// torchvision's matrix for [`affine`]: turns by `degrees` clockwise around `centre` (x, y) in pixels, shears by two angles in degrees along x and
/// y, scales, and moves by `translate` (x, y) pixels.
pub fn inverse_affine_matrix(centre: [f64; 2], degrees: f64, translate: [f64; 2], scale: f64, shear: [f64; 2]) -> [f64; 6] {
    let (turn, [across, down]) = (degrees.to_radians(), shear.map(f64::to_radians));
    let a = (turn - down).cos() / down.cos();
    let b = -(turn - down).cos() * across.tan() / down.cos() - turn.sin();
    let c = (turn - down).sin() / down.cos();
    let d = -(turn - down).sin() * across.tan() / down.cos() + turn.cos();
    let mut matrix = [d, -b, 0.0, -c, a, 0.0].map(|value| value / scale);
    let [x, y] = [-centre[0] - translate[0], -centre[1] - translate[1]];
    matrix[2] += matrix[0] * x + matrix[1] * y;
    matrix[5] += matrix[3] * x + matrix[4] * y;
    matrix[2] += centre[0];
    matrix[5] += centre[1];
    matrix
}

/// Pillow has three ways to the nearest pixel, whose roundings differ: steps added up where nothing turns, 16 bits after the point, and, for
/// places beyond 32768, steps added up again.
fn nearest(image: &RgbImage, [a, b, c, d, e, f]: [f64; 6], out: &mut RgbImage) {
    let (width, height) = (f64::from(out.width()), f64::from(out.height()));
    let inside = |x: f64, y: f64| (x * a + y * b + c).abs() < 32768.0 && (x * d + y * e + f).abs() < 32768.0;
    if b == 0.0 && d == 0.0 {
        let columns: Vec<f64> = steps(c + a * 0.5, a).take(out.width() as usize).collect();
        for (y, down) in (0..out.height()).zip(steps(f + e * 0.5, e)) {
            for (x, across) in (0..).zip(&columns) {
                copy(image, cell(*across), cell(down), out, x, y);
            }
        }
    } else if inside(0.0, 0.0) && inside(width, height) && inside(0.0, height) && inside(width, 0.0) {
        let fixed = |value: f64| (value * 65536.0 + 0.5).floor() as i32;
        let (mut left, mut top) = (fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5));
        let [a, b, d, e] = [a, b, d, e].map(fixed);
        for y in 0..out.height() {
            let (mut across, mut down) = (left, top);
            for x in 0..out.width() {
                copy(image, across >> 16, down >> 16, out, x, y);
                across = across.wrapping_add(a);
                down = down.wrapping_add(d);
            }
            left = left.wrapping_add(b);
            top = top.wrapping_add(e);
        }
    } else {
        let starts = steps(c + b * 0.5 + a * 0.5, b).zip(steps(f + e * 0.5 + d * 0.5, e));
        for (y, (left, top)) in (0..out.height()).zip(starts) {
            for (x, (across, down)) in (0..out.width()).zip(steps(left, a).zip(steps(top, d))) {
                copy(image, cell(across), cell(down), out, x, y);
            }
        }
    }
}

fn steps(first: f64, step: f64) -> impl Iterator<Item = f64> {
    std::iter::successors(Some(first), move |at| Some(at + step))
}

/// The pixel that a place lies in; -1 left of the first one.
fn cell(at: f64) -> i32 {
    if at < 0.0 { -1 } else { at as i32 }
}

fn copy(image: &RgbImage, x: i32, y: i32, out: &mut RgbImage, to_x: u32, to_y: u32) {
    if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
        && let Some(pixel) = image.get_pixel_checked(x, y)
    {
        out.put_pixel(to_x, to_y, *pixel);
    }
}

/// Every pixel of the result from those around its place, if that lies in the picture.
fn between(image: &RgbImage, [a, b, c, d, e, f]: [f64; 6], out: &mut RgbImage, mix: impl Fn(&RgbImage, f64, f64) -> [u8; 3]) {
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    for (x, y, pixel) in out.enumerate_pixels_mut() {
        let (x, y) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
        let (across, down) = (a * x + b * y + c, d * x + e * y + f);
        if (0.0..width).contains(&across) && (0.0..height).contains(&down) {
            *pixel = Rgb(mix(image, across - 0.5, down - 0.5));
        }
    }
}

/// Where the values of a place's neighbours stand: first values of `N` columns within a row, and of `N` rows; those outside are the outermost ones.
fn neighbours<const N: usize>(image: &RgbImage, x: f64, y: f64) -> ([usize; N], [usize; N]) {
    // Two columns begin at the place itself, four at the one before.
    let first = 1 - N as i64 / 2;
    let place = |at: f64, step: usize, length: u32| (at as i64 + first + step as i64).clamp(0, i64::from(length) - 1) as usize;
    let columns = std::array::from_fn(|step| 3 * place(x, step, image.width()));
    let rows = std::array::from_fn(|step| 3 * image.width() as usize * place(y, step, image.height()));
    (columns, rows)
}

/// The whole number below a place, which is at most half a pixel outside of the picture: quicker than `floor` on plain x86-64.
fn whole(at: f64) -> f64 {
    if at < 0.0 { -1.0 } else { at as i64 as f64 }
}

/// Three values of a pixel.
#[inline(always)]
fn values(raw: &[u8], at: usize) -> [f64; 3] {
    raw[at..].first_chunk::<3>().map_or([0.0; 3], |pixel| pixel.map(f64::from))
}

fn bilinear(image: &RgbImage, across: f64, down: f64) -> [u8; 3] {
    let (x, y) = (whole(across), whole(down));
    let (right, lower) = (across - x, down - y);
    let (columns, rows) = neighbours::<2>(image, x, y);
    let line = |from: f64, to: f64, share: f64| from + (to - from) * share;
    let [upper, below] = rows.map(|row| {
        let [from, to] = columns.map(|column| values(image.as_raw(), row + column));
        [line(from[0], to[0], right), line(from[1], to[1], right), line(from[2], to[2], right)]
    });
    [0, 1, 2].map(|channel| line(upper[channel], below[channel], lower) as u8)
}

fn bicubic(image: &RgbImage, across: f64, down: f64) -> [u8; 3] {
    let (x, y) = (whole(across), whole(down));
    let (columns, rows) = neighbours::<4>(image, x, y);
    let pixels = rows.map(|row| columns.map(|column| values(image.as_raw(), row + column)));
    let (right, lower) = (across - x, down - y);
    [0, 1, 2].map(|channel| {
        let [first, second, third, fourth] = &pixels;
        let line = |row: &[[f64; 3]; 4]| cubic(row[0][channel], row[1][channel], row[2][channel], row[3][channel], right);
        cubic(line(first), line(second), line(third), line(fourth), lower) as u8
    })
}

/// The cubic through four values at `share` of the way from the second to the third.
#[inline(always)]
fn cubic(first: f64, second: f64, third: f64, fourth: f64, share: f64) -> f64 {
    let slope = -first + third;
    let bend = 2.0 * (first - second) + third - fourth;
    let twist = -first + second - third + fourth;
    second + share * (slope + share * (bend + share * twist))
}
