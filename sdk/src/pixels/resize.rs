//! Resize in two passes with 22-bit weights.

use image::RgbImage;
use multiversion::multiversion;
use multiversion::target::match_target;
use vlhub_core::Region;

use super::{Filter, Sampling};

/// Bits of a weight after the point: 32, less 8 for the value and 2 for sums outside 0..=1.
pub(super) const BITS: u32 = 22;
/// Half of one, with which sums begin, so that cutting off the bits rounds.
pub(super) const HALF: i32 = 1 << (BITS - 1);

/// Resizes like Pillow's `Image.resize`. An empty image gives a black one.
pub fn resize(image: &RgbImage, width: u32, height: u32, sampling: impl Into<Sampling>) -> RgbImage {
    resized_crop(image, Region { x: 0, y: 0, width: image.width(), height: image.height() }, width, height, sampling)
}

/// Cuts out a region, clipped to the image, and resizes it: equal to a crop followed by [`resize`], without the copy between.
pub fn resized_crop(image: &RgbImage, region: Region, width: u32, height: u32, sampling: impl Into<Sampling>) -> RgbImage {
    let across = Axis::whole(image.width(), region.x, region.width, width);
    let down = Axis::whole(image.height(), region.y, region.height, height);
    resample(image, across, down, sampling.into())
}

/// One direction of a resize, of which a window may be all that is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// First pixel that is read, and how many.
    pub source: (usize, usize),
    /// Pixels that the full output would have. May exceed memory: only the window is made.
    pub full: u64,
    /// First output pixel that is made, and how many.
    pub window: (u64, usize),
}

impl Axis {
    fn whole(length: u32, start: u32, count: u32, full: u32) -> Self {
        let start = start.min(length);
        let count = count.min(length - start);
        Self { source: (start as usize, count as usize), full: full.into(), window: (0, full as usize) }
    }

    fn is_copy(&self) -> bool {
        self.full == self.source.1 as u64
    }

    /// What each pixel of the window is made of.
    fn passed(self, filter: Filter) -> Taps {
        if self.is_copy() { Taps::copy(self) } else { self.taps(filter) }
    }

    fn taps(&self, filter: Filter) -> Taps {
        let (start, count) = self.source;
        let scale = count as f64 / self.full as f64;
        let stretch = scale.max(1.0);
        let radius = filter.radius() * stretch;
        let mut taps = Taps { spans: Vec::with_capacity(self.window.1), weights: Vec::new() };
        let mut exact = Vec::new();
        for at in self.window.0..self.window.0 + self.window.1 as u64 {
            let centre = (at as f64 + 0.5) * scale;
            let low = (centre - radius + 0.5).max(0.0) as usize;
            let high = ((centre + radius + 0.5) as usize).min(count);
            exact.clear();
            // Pillow multiplies by the reciprocal; a division would differ in the last bit.
            let inverse = 1.0 / stretch;
            exact.extend((low..high).map(|from| filter.weight((from as f64 - centre + 0.5) * inverse)));
            let sum: f64 = exact.iter().sum();
            let sum = if sum == 0.0 { 1.0 } else { sum };
            taps.spans.push(SourceRange { from: start + low, weights: taps.weights.len()..taps.weights.len() + exact.len() });
            taps.weights.extend(exact.iter().map(|weight| {
                let scaled = weight / sum * f64::from(1 << BITS);
                (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i32
            }));
        }
        taps
    }
}

/// What each output pixel is made of.
pub(super) struct Taps {
    pub spans: Vec<SourceRange>,
    pub weights: Vec<i32>,
}

impl Taps {
    /// One pixel for one pixel.
    fn copy(axis: Axis) -> Self {
        let start = axis.source.0 + axis.window.0 as usize;
        let spans = (start..start + axis.window.1).map(|from| SourceRange { from, weights: 0..1 }).collect();
        Self { spans, weights: vec![1 << BITS] }
    }

    /// The same for lines that are counted from `first` on.
    fn counted_from(mut self, first: usize) -> Self {
        self.spans.iter_mut().for_each(|span| span.from -= first);
        self
    }

    /// From the first pixel that is read to behind the last.
    pub fn range(&self) -> std::ops::Range<usize> {
        let first = self.spans.first().map_or(0, |span| span.from);
        first..self.spans.last().map_or(0, |span| span.from + span.weights.len())
    }
}

/// Source pixels of one output pixel: the first, and where their weights stand.
pub(super) struct SourceRange {
    pub from: usize,
    pub weights: std::ops::Range<usize>,
}

/// Both passes. Rows and columns outside the windows are never computed.
pub(super) fn resample(image: &RgbImage, across: Axis, down: Axis, sampling: Sampling) -> RgbImage {
    let (width, height) = (across.window.1, down.window.1);
    if across.source.1 == 0 || down.source.1 == 0 || width == 0 || height == 0 {
        return RgbImage::new(width as u32, height as u32);
    }
    if sampling.filter == Filter::Nearest {
        return nearest(image, across, down);
    }
    let (horizontal, vertical) = (across.passed(sampling.filter), down.passed(sampling.filter));
    let before = (across.source.1 as u64, down.source.1 as u64);
    // A pass that changes no size is no pass, so only two can come in another order.
    let swapped = !across.is_copy() && !down.is_copy() && sampling.pass_order.vertical_first(before, (across.full, down.full));
    let row = 3 * image.width() as usize;
    let data = if swapped {
        let columns = horizontal.range();
        let stride = 3 * columns.len();
        let middle = shorten(&image.as_raw()[3 * columns.start..], row, stride, &vertical);
        squeeze(&middle, stride, columns.start, &horizontal)
    } else if across.is_copy() {
        let pixels = &image.as_raw()[3 * horizontal.range().start..];
        if down.is_copy() {
            let rows = vertical.range();
            pixels.chunks(row).skip(rows.start).take(rows.len()).flat_map(|row| &row[..3 * width]).copied().collect()
        } else {
            shorten(pixels, row, 3 * width, &vertical)
        }
    } else {
        let rows = vertical.range();
        let middle = squeeze(&image.as_raw()[rows.start * row..rows.end * row], row, 0, &horizontal);
        if down.is_copy() { middle } else { shorten(&middle, 3 * width, 3 * width, &vertical.counted_from(rows.start)) }
    };
    RgbImage::from_raw(width as u32, height as u32, data).unwrap_or_default()
}

/// Each pixel of the output is one of the input: that under its centre. Pillow adds the step up, so its rounding errors are added up here too.
fn nearest(image: &RgbImage, across: Axis, down: Axis) -> RgbImage {
    let places = |axis: Axis| -> Vec<usize> {
        let (start, count) = axis.source;
        let step = count as f64 / axis.full as f64;
        let steps = std::iter::successors(Some(step * 0.5), |at| Some(at + step));
        let wanted = steps.skip(axis.window.0 as usize).take(axis.window.1);
        wanted.map(|at| start + (at as usize).min(count - 1)).collect()
    };
    let (columns, rows) = (places(across), places(down));
    RgbImage::from_fn(columns.len() as u32, rows.len() as u32, |x, y| *image.get_pixel(columns[x as usize] as u32, rows[y as usize] as u32))
}

/// The horizontal pass over all rows of `from`, whose first column is column `first` of those that `taps` count.
fn squeeze(from: &[u8], stride: usize, first: usize, taps: &Taps) -> Vec<u8> {
    let mut out = vec![0; from.len() / stride * 3 * taps.spans.len()];
    narrow(from, stride, &mut out, first, taps);
    out
}

/// The vertical pass over the first `width` values of each row.
fn shorten(rows: &[u8], stride: usize, width: usize, taps: &Taps) -> Vec<u8> {
    let mut out = vec![0; taps.spans.len() * width];
    for (to, span) in out.chunks_exact_mut(width).zip(&taps.spans) {
        blend(&rows[span.from * stride..], stride, &taps.weights[span.weights.clone()], to);
    }
    out
}

/// Columns that are summed at a time: as many as fit in registers.
const COLUMNS: usize = 32;

/// The vertical pass for one row of the output: the rows from the first of `rows` on, each times its weight.
#[multiversion(targets("x86_64+avx2"))]
fn blend(rows: &[u8], stride: usize, weights: &[i32], to: &mut [u8]) {
    let (blocks, rest) = to.as_chunks_mut::<COLUMNS>();
    let done = blocks.len() * COLUMNS;
    for (number, block) in blocks.iter_mut().enumerate() {
        let mut sums = [HALF; COLUMNS];
        for (row, &weight) in rows[number * COLUMNS..].chunks(stride).zip(weights) {
            let Some(values) = row.first_chunk::<COLUMNS>() else { continue };
            add(&mut sums, values, weight);
        }
        round(&sums, block);
    }
    for (at, to) in rest.iter_mut().enumerate() {
        let mut sum = [HALF];
        for (&value, &weight) in rows[done + at..].iter().step_by(stride).zip(weights) {
            add(&mut sum, &[value], weight);
        }
        round(&sum, std::array::from_mut(to));
    }
}

/// Rows that go through the horizontal pass together. With fewer, the compiler takes the loop over the weights for the one to work on in parallel.
const ROWS: usize = 16;
/// One pixel of each of these rows, with a fourth byte that does not count: four bytes are moved at once, three are not.
type Stack = [u8; 4 * ROWS];

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512vnni", "x86_64+avx2"))]
fn narrow(from: &[u8], stride: usize, to: &mut [u8], first: usize, taps: &Taps) {
    match_target! {
        "x86_64+avx512f+avx512bw+avx512vl+avx512vnni" => if super::dot_products::fits(taps) {
            return super::dot_products::narrow(from, stride, to, first, taps);
        },
        _ => (),
    }
    stacked(from, stride, to, first, taps);
}

/// The same for every processor.
#[inline(always)]
fn stacked(from: &[u8], stride: usize, to: &mut [u8], first: usize, taps: &Taps) {
    let mut stacks = vec![[0; 4 * ROWS]; taps.range().len()];
    for (to, from) in to.chunks_mut(ROWS * 3 * taps.spans.len()).zip(from.chunks(ROWS * stride)) {
        narrow_rows(from, stride, to, first, taps, &mut stacks);
    }
}

/// The horizontal pass for a few rows: `from` and `to` hold them one behind the other. `stacks` is room for the columns that `taps` read, so that a
/// weight meets numbers that stand side by side.
#[inline(always)]
fn narrow_rows(from: &[u8], stride: usize, to: &mut [u8], first: usize, taps: &Taps, stacks: &mut [Stack]) {
    let (read, width) = (taps.range(), 3 * taps.spans.len());
    for (number, row) in from.chunks_exact(stride).enumerate() {
        let row = &row[3 * (read.start - first)..3 * (read.end - first)];
        let place = 4 * number..4 * number + 4;
        // All pixels but the last have a byte behind them.
        for (pixel, stack) in row.windows(4).step_by(3).zip(stacks.iter_mut()) {
            stack[place.clone()].copy_from_slice(pixel);
        }
        if let (Some(stack), Some(pixel)) = (stacks.last_mut(), row.last_chunk::<3>()) {
            stack[4 * number..4 * number + 3].copy_from_slice(pixel);
        }
    }
    for (at, span) in taps.spans.iter().enumerate() {
        let mut sums = [HALF; 4 * ROWS];
        for (values, &weight) in stacks[span.from - read.start..].iter().zip(&taps.weights[span.weights.clone()]) {
            add(&mut sums, values, weight);
        }
        let mut rounded = [0; 4 * ROWS];
        round(&sums, &mut rounded);
        for (row, pixel) in to.chunks_exact_mut(width).zip(rounded.as_chunks::<4>().0) {
            row[3 * at..3 * at + 3].copy_from_slice(&pixel[..3]);
        }
    }
}

/// One more weighted level for each sum. They cannot overflow, and without the check for it many are added at once.
#[inline(always)]
fn add<const N: usize>(sums: &mut [i32; N], values: &[u8; N], weight: i32) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum = sum.wrapping_add(i32::from(value).wrapping_mul(weight));
    }
}

#[inline(always)]
fn round<const N: usize>(sums: &[i32; N], to: &mut [u8; N]) {
    for (to, sum) in to.iter_mut().zip(sums) {
        *to = (sum >> BITS).clamp(0, 255) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a processor with VNNI this compares two ways of adding; on others it compares one with itself.
    #[test]
    fn what_this_processor_does_is_what_every_processor_does() {
        let mut state = 1u32;
        let mut level = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Many black and white pixels: sums beyond both ends of the range.
            ((state >> 24) as i32 * 2 - 128).clamp(0, 255) as u8
        };
        let sizes = [(1, 1), (1, 5), (2, 1), (3, 7), (5, 4), (9, 2), (17, 16), (40, 13), (63, 64), (97, 30), (200, 224), (500, 224)];
        for filter in [Filter::Box, Filter::Bilinear, Filter::Hamming, Filter::Bicubic, Filter::Lanczos] {
            for (columns, width) in sizes {
                for (start, rows) in [(0, 1), (1, 3), (2, 4), (3, 9)] {
                    let stride = 3 * (columns + start + 1);
                    let from: Vec<u8> = (0..rows * stride).map(|_| level()).collect();
                    let taps = Axis { source: (start, columns), full: width as u64, window: (0, width) }.taps(filter);
                    let (mut here, mut everywhere) = (vec![0; rows * 3 * width], vec![0; rows * 3 * width]);
                    narrow(&from, stride, &mut here, 0, &taps);
                    stacked(&from, stride, &mut everywhere, 0, &taps);
                    assert_eq!(here, everywhere, "{filter:?}, {columns} columns from {start} on to {width}, {rows} rows");
                }
            }
        }
    }
}
