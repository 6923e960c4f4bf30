//! The horizontal pass of a resize on processors that multiply four bytes with four others and add the products up in one instruction (AVX-512 VNNI):
//! Intel's servers since Ice Lake, AMD's since Zen 4. The same numbers as everywhere else: a weight of 23 bits is cut into three digits of 8 bits,
//! each digit has a sum of its own, and the sums are put together at the end, where nothing has been rounded yet.

use std::arch::x86_64::*;

use super::resize::{BITS, HALF, Taps};

/// Larger weights do not fit into three digits. No filter has any: where pixels are missing at a border, weights add up to one all the same.
const LARGEST: u32 = 3 << (BITS - 1);
/// Neighbouring pixels of one product.
const PIXELS: usize = 4;
/// Rows that go together: 4 rows of 4 pixels of 4 channels (the fourth of which is nothing) fill a register.
const ROWS: usize = 4;

/// Weights for whole groups of [`PIXELS`] source pixels. Every output pixel reads as many groups, so that the loop over them is foreseen.
struct WeightGroups {
    /// First group of each output pixel.
    first: Vec<usize>,
    /// Groups of each output pixel.
    each: usize,
    /// Groups of a source row.
    row: usize,
    /// The digits of four weights, lowest first, for each group of each output pixel; the last number fills up.
    digits: Vec<[i32; 4]>,
}

impl WeightGroups {
    fn of(taps: &Taps) -> Self {
        let read = taps.range();
        let spans = || taps.spans.iter().map(|span| (span.from - read.start, &taps.weights[span.weights.clone()]));
        let each = spans().map(|(from, weights)| (from % PIXELS + weights.len()).div_ceil(PIXELS)).max().unwrap_or(0);
        let row = read.len().div_ceil(PIXELS).max(each);
        let mut digits = vec![[0; 4]; each * taps.spans.len()];
        let mut first = Vec::with_capacity(taps.spans.len());
        for ((from, weights), digits) in spans().zip(digits.chunks_exact_mut(each.max(1))) {
            let group = (from / PIXELS).min(row - each);
            first.push(group);
            for (at, weight) in (from - PIXELS * group..).zip(weights) {
                for (all, digit) in digits[at / PIXELS].iter_mut().zip(three_digits(*weight)) {
                    *all |= i32::from(digit as u8) << (8 * (at % PIXELS));
                }
            }
        }
        Self { first, each: each.max(1), row, digits }
    }
}

/// Signed digits of a weight to the base 256, lowest first.
fn three_digits(weight: i32) -> [i8; 3] {
    let low = weight as i8;
    let rest = (weight - i32::from(low)) >> 8;
    let middle = rest as i8;
    [low, middle, ((rest - i32::from(middle)) >> 8) as i8]
}

/// Whether [`narrow`] can do with these weights.
pub(super) fn fits(taps: &Taps) -> bool {
    taps.weights.iter().all(|weight| weight.unsigned_abs() < LARGEST)
}

/// The horizontal pass over all rows of `from`, whose first column is column `first` of those that `taps` count.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn narrow(from: &[u8], stride: usize, to: &mut [u8], first: usize, taps: &Taps) {
    let (groups, read, width) = (WeightGroups::of(taps), taps.range(), 3 * taps.spans.len());
    let mut stack = vec![_mm512_setzero_si512(); groups.row];
    for (to, from) in to.chunks_mut(ROWS * width).zip(from.chunks(ROWS * stride)) {
        // Where fewer rows are left, the first goes along once more, and what comes of it has no place to go.
        let rows: [&[u8]; ROWS] = std::array::from_fn(|row| {
            let row = from.get(row * stride..(row + 1) * stride).unwrap_or(&from[..stride]);
            &row[3 * (read.start - first)..3 * (read.end - first)]
        });
        gather(rows, &mut stack);
        multiply(&stack, &groups, to, width);
    }
}

/// Rows of pixels as groups: for each row, [`PIXELS`] levels of red, of green and of blue.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[inline]
fn gather(rows: [&[u8]; ROWS], stack: &mut [__m512i]) {
    let by_channel = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1));
    for (group, stack) in stack.iter_mut().enumerate() {
        let start = 3 * PIXELS * group;
        let parts = rows.map(|row| {
            let rest = row.get(start..).unwrap_or_default();
            // Sixteen bytes are read at once; the last ones of a row are copied.
            let part = rest.first_chunk::<16>().copied().unwrap_or_else(|| {
                let mut part = [0; 16];
                part[..rest.len()].copy_from_slice(rest);
                part
            });
            let part = u128::from_le_bytes(part);
            _mm_set_epi64x((part >> 64) as i64, part as i64)
        });
        let mut four = _mm512_castsi128_si512(parts[0]);
        four = _mm512_inserti32x4::<1>(four, parts[1]);
        four = _mm512_inserti32x4::<2>(four, parts[2]);
        four = _mm512_inserti32x4::<3>(four, parts[3]);
        *stack = _mm512_shuffle_epi8(four, by_channel);
    }
}

/// Output pixels, four at a time, of [`ROWS`] rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[inline]
fn multiply(stack: &[__m512i], groups: &WeightGroups, to: &mut [u8], width: usize) {
    let without_fourth = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    let quads = groups.first.chunks(4).zip(groups.digits.chunks(4 * groups.each));
    for (quad, (first, digits)) in quads.enumerate() {
        let mut pixels = [_mm512_setzero_si512(); 4];
        for ((pixel, &first), digits) in pixels.iter_mut().zip(first).zip(digits.chunks_exact(groups.each)) {
            let mut sums = [_mm512_set1_epi32(HALF), _mm512_setzero_si512(), _mm512_setzero_si512()];
            for (&levels, digits) in stack[first..first + groups.each].iter().zip(digits) {
                for (sum, &digit) in sums.iter_mut().zip(digits) {
                    *sum = _mm512_dpbusd_epi32(*sum, levels, _mm512_set1_epi32(digit));
                }
            }
            let upper = _mm512_add_epi32(_mm512_slli_epi32::<8>(sums[1]), _mm512_slli_epi32::<16>(sums[2]));
            *pixel = _mm512_srai_epi32::<BITS>(_mm512_add_epi32(sums[0], upper));
        }
        // Both steps cut off at the ends of their range, and each row stays in its quarter of the register.
        let [one, two, three, four] = pixels;
        let levels = _mm512_packus_epi16(_mm512_packs_epi32(one, two), _mm512_packs_epi32(three, four));
        let levels = _mm512_shuffle_epi8(levels, without_fourth);
        let rows = [
            _mm512_castsi512_si128(levels),
            _mm512_extracti32x4_epi32::<1>(levels),
            _mm512_extracti32x4_epi32::<2>(levels),
            _mm512_extracti32x4_epi32::<3>(levels),
        ];
        let start = 12 * quad;
        for (to, row) in to.chunks_exact_mut(width).zip(rows) {
            let low = _mm_cvtsi128_si64(row).to_le_bytes();
            let [a, b, c, d, ..] = _mm_extract_epi64::<1>(row).to_le_bytes();
            if let Some(to) = to.get_mut(start..start + 12) {
                to[..8].copy_from_slice(&low);
                to[8..].copy_from_slice(&[a, b, c, d]);
            } else {
                to[start..].iter_mut().zip(low.into_iter().chain([a, b, c, d])).for_each(|(to, level)| *to = level);
            }
        }
    }
}
