//! The two terms, as shares of the own rows.

use vlhub_sdk::prelude::*;
use vlhub_sdk::tch;

/// Squared distances below this have no gradient under powers that are not even: it would be infinite at 0.
const NEAREST: f64 = 1e-24;

/// Mean of ‖x_i − y_i‖^alpha: the own rows' part of the sum over all rows, divided by the number of all rows.
///
/// # Shapes
/// - x, y: `[N, K]`; returns a scalar.
pub(crate) fn align(x: &Tensor, y: &Tensor, alpha: f64, features: &Features) -> Tensor {
    let squares = (features.own_rows(x) - features.own_rows(y)).square().sum_dim_intlist([1i64].as_slice(), false, x.kind());
    let powers = if alpha == 2.0 { squares } else { squares.clamp_min(NEAREST).pow_tensor_scalar(alpha / 2.0) };
    powers.sum(x.kind()) / features.total() as f64
}

/// Logarithm of the mean of exp(−t ‖x_i − x_j‖²) over all pairs of different rows: the own rows' share.
///
/// The logarithm stands before the sum over anchors, so the sum is needed whole. Its value is found without a graph, and the shares of its
/// value are those of the rows. In its gradient, the anchors' parts are weighted by their parts of the sum: those do add up.
///
/// # Shapes
/// - x: `[N, K]`; returns a scalar, which is zero for fewer than two rows: there is no pair.
pub(crate) fn uniformity(x: &Tensor, t: f64, features: &Features) -> Tensor {
    let (own, total) = (features.own(), features.total());
    let rows = own.end - own.start;
    if total < 2 || rows < 1 {
        return x.sum(x.kind()) * 0.0;
    }
    // Distances do not change with the origin. From the middle of the rows, which lie in a narrow cone at first, little cancels.
    let x = x - x.detach().mean_dim([0i64].as_slice(), true, x.kind());
    // Each pair of rows is met from both of its ends, which changes nothing of the mean.
    let pairs = (total * (total - 1)) as f64;
    let ours = log_sum(&x, t, own.clone());
    if rows == total {
        return ours - pairs.ln();
    }
    let all = tch::no_grad(|| Tensor::stack(&blocks(total, rows).map(|block| log_sum(&x, t, block)).collect::<Vec<_>>(), 0));
    let all = all.logsumexp([0i64].as_slice(), false);
    let part = (ours - &all).exp();
    (all - pairs.ln()) * (rows as f64 / total as f64) + (&part - part.detach())
}

/// `0..total` in blocks of at most `rows`.
fn blocks(total: i64, rows: i64) -> impl Iterator<Item = std::ops::Range<i64>> {
    (0..total).step_by(rows as usize).map(move |start| start..(start + rows).min(total))
}

/// Logarithm of the sum of exp(−t ‖x_i − x_j‖²) over the anchors i and all other rows j. Distances come from products, so no difference of two
/// rows is ever held.
fn log_sum(x: &Tensor, t: f64, anchors: std::ops::Range<i64>) -> Tensor {
    let rows = x.narrow(0, anchors.start, anchors.end - anchors.start);
    let squares = x.square().sum_dim_intlist([1i64].as_slice(), false, x.kind());
    let apart = rows.matmul(&x.tr()) * -2.0 + squares.narrow(0, anchors.start, anchors.end - anchors.start).unsqueeze(1) + &squares;
    let index = |range: std::ops::Range<i64>| Tensor::arange_start(range.start, range.end, (Kind::Int64, x.device()));
    let itself = index(anchors).unsqueeze(1).eq_tensor(&index(0..x.size()[0]));
    (apart * -t).masked_fill(&itself, f64::NEG_INFINITY).logsumexp([0i64, 1].as_slice(), false)
}
