//! Tiles: what losses without the N × N matrix share.

use std::ops::Range;

use vlhub_sdk::prelude::*;

/// Consecutive ranges of at most `tile` rows that cover `0..total`, each wholly inside of `own` or outside of it.
pub(crate) fn cut(own: &Range<i64>, total: i64, tile: i64) -> Vec<Range<i64>> {
    let mut ranges = Vec::new();
    for part in [0..own.start, own.clone(), own.end..total] {
        let mut start = part.start;
        while start < part.end {
            let end = part.end.min(start.saturating_add(tile));
            ranges.push(start..end);
            start = end;
        }
    }
    ranges
}

/// The side of the tiles in which `total` rows meet, `None` for the whole matrix at once. `asked` is the option `tile`: 0 lets this decide.
///
/// A whole matrix needs three products and tiles need four; but what is done with each similarity is done in a processor's cache. On a CPU with a
/// megabyte of it, tiles of 512 are as fast from 1,024 rows on and need three quarters of the time at 4,096. A GPU has the bandwidth for the whole
/// matrix, until it takes gigabytes.
pub(crate) fn side(asked: i64, total: i64, device: Device) -> Option<i64> {
    let (whole, side) = if device == Device::Cpu { (1024, 512) } else { (8192, 4096) };
    if asked > 0 { Some(asked) } else { (total > whole).then_some(side) }
}

/// The rows in `range`, as a view.
pub(crate) fn rows(of: &Tensor, range: &Range<i64>) -> Tensor {
    of.narrow(0, range.start, range.end - range.start)
}

/// The sum of all products of an element with that of the other, without a tensor of their size.
pub(crate) fn dot(of: &Tensor, other: &Tensor, tiles: &[Range<i64>]) -> Tensor {
    let parts = tiles.iter().map(|range| (rows(of, range) * rows(other, range)).sum(of.kind()));
    parts.fold(Tensor::zeros([], (of.kind(), of.device())), |sum, part| sum + part)
}

/// Adds `value` to the rows in `range`.
pub(crate) fn add(to: &Tensor, range: &Range<i64>, value: &Tensor) {
    let _ = rows(to, range).g_add_(value);
}

/// Adds `left · right` to the rows in `range`.
pub(crate) fn add_product(to: &Tensor, range: &Range<i64>, left: &Tensor, right: &Tensor) {
    let _ = rows(to, range).addmm_(left, right);
}

/// A scalar that is `value` and whose gradient with respect to each input is the tensor beside it.
pub(crate) fn with_gradients(value: &Tensor, inputs: &[(&Tensor, Tensor)]) -> Tensor {
    inputs.iter().fold(value.detach(), |sum, (input, gradient)| {
        // As a product of vectors: no tensor of the input's size is made for it.
        let product = input.flatten(0, -1).dot(&gradient.flatten(0, -1));
        // First the difference, which is exactly 0: next to a large product the value would lose digits.
        sum + (&product - product.detach())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_row_once_and_respect_the_own_ones() {
        for (own, total, tile, expected) in [
            (0..6, 6, 4, vec![0..4, 4..6]),
            (0..6, 6, 3, vec![0..3, 3..6]),
            (2..5, 7, 2, vec![0..2, 2..4, 4..5, 5..7]),
            (3..3, 4, 8, vec![0..3, 3..4]),
            (0..4, 5, i64::MAX, vec![0..4, 4..5]),
        ] {
            assert_eq!(cut(&own, total, tile), expected, "{own:?} of {total} by {tile}");
        }
    }

    #[test]
    fn a_given_gradient_is_the_gradient_and_changes_no_value() {
        let input = (Tensor::randn([3, 2], (Kind::Float, Device::Cpu)) * 1e6).set_requires_grad(true);
        let gradient = Tensor::randn([3, 2], (Kind::Float, Device::Cpu));
        let loss = with_gradients(&Tensor::from(0.125f32), &[(&input, gradient.shallow_clone())]) * 2.0;
        assert_eq!(loss.double_value(&[]), 0.25);
        loss.backward();
        assert!(input.grad().equal(&(gradient * 2.0)));
    }
}
