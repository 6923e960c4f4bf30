//! NT-Xent: each vector finds the other view of its picture among all vectors but itself.

use std::ops::Range;

use vlhub_sdk::prelude::*;
use vlhub_sdk::tch;

/// The normalised, temperature-scaled cross-entropy (Chen et al., 2020, arXiv 2002.05709).
#[derive(Clone, Copy, Debug)]
pub(crate) struct NtXent {
    /// Cosines are divided by it before the softmax.
    pub(crate) temperature: f64,
    /// Anchors at a time; 0 for all of a range at once.
    pub(crate) tile: i64,
}

/// What some anchors gave.
#[derive(Debug)]
pub(crate) struct Found {
    /// Sum of their cross-entropies, a scalar.
    pub(crate) loss: Tensor,
    /// How many found the other view of their picture.
    pub(crate) right: i64,
}

impl NtXent {
    /// Sums over the rows of `units` in `anchors`.
    ///
    /// The gradient is written out: then a tile can be forgotten as soon as it was seen, and no matrix of similarities outlives this call.
    ///
    /// # Shapes
    /// - units: `[2N, D]`, unit rows, N at least 2: those of one view, then those of the other in the same order.
    pub(crate) fn over(&self, units: &Tensor, anchors: &[Range<i64>]) -> Found {
        let held = units.detach();
        let mut sum = Tensor::zeros([], (held.kind(), held.device()));
        let pull = held.zeros_like();
        let mut right = 0;
        tch::no_grad(|| {
            for block in anchors.iter().flat_map(|range| self.blocks(range)) {
                let (loss, found) = self.block(&held, &block, &pull);
                sum += loss;
                right += found;
            }
        });
        let product = (units * pull).sum(held.kind());
        // The difference is exactly 0, so the value keeps its digits.
        Found { loss: sum + (&product - product.detach()), right }
    }

    fn blocks(&self, range: &Range<i64>) -> impl Iterator<Item = Range<i64>> + use<> {
        let (start, end) = (range.start, range.end);
        let rows = if self.tile > 0 { self.tile } else { (end - start).max(1) };
        (start..end).step_by(rows as usize).map(move |from| from..end.min(from.saturating_add(rows)))
    }

    /// Loss and right answers of a block of anchors; adds the gradient by every row to `pull`.
    fn block(&self, units: &Tensor, anchors: &Range<i64>, pull: &Tensor) -> (Tensor, i64) {
        let (count, rows) = (units.size()[0], anchors.end - anchors.start);
        let place = (Kind::Int64, units.device());
        let itself = Tensor::arange_start(anchors.start, anchors.end, place).unsqueeze(1);
        let partner = (&itself + count / 2).remainder(count);
        let queries = units.narrow(0, anchors.start, rows);

        // Differences to the right answer. Only wrong answers are left in the sum, so the loss log(1 + Σ exp d) and its gradient keep their
        // digits where the right answer has won already.
        let mut apart = queries.matmul(&units.tr()) / self.temperature;
        apart -= apart.gather(1, &partner, false);
        let _ = apart.scatter_value_(1, &itself, f64::NEG_INFINITY);
        let _ = apart.scatter_value_(1, &partner, f64::NEG_INFINITY);
        let right = apart.amax([1i64].as_slice(), false).lt(0.0).sum(Kind::Int64).int64_value(&[]);
        let losses = apart.logsumexp([1i64].as_slice(), true).softplus();

        // The probability of each wrong answer, and what the right one lacks of 1.
        apart -= &losses;
        let _ = apart.exp_();
        let lacks = -apart.sum_dim_intlist([1i64].as_slice(), true, apart.kind());
        let _ = apart.scatter_(1, &partner, &lacks);
        apart /= self.temperature;
        let _ = pull.narrow(0, anchors.start, rows).addmm_(&apart, units);
        let _ = pull.shallow_clone().addmm_(&apart.tr(), &queries);
        (losses.sum(losses.kind()), right)
    }
}
