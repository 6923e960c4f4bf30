//! Tensor operations that plugins share.

use tch::{Kind, Tensor};

/// Scales rows of `[…, D]` to unit length. A zero row stays zero.
pub fn normalize(x: &Tensor) -> Tensor {
    let norm = x.norm_scalaropt_dim(2.0, [-1], true).clamp_min(1e-12);
    x / norm
}

/// At least float32: half precision has too few digits for a scale of 100 times a cosine, for the statistics of a batch, and for
/// differences of unit rows.
pub fn wide(x: &Tensor) -> Tensor {
    match x.kind() {
        Kind::Half | Kind::BFloat16 => x.to_kind(Kind::Float),
        _ => x.shallow_clone(),
    }
}

/// Unit-length rows of `[…, D]`, in at least float32: what cosine similarities are taken of.
pub fn unit(x: &Tensor) -> Tensor {
    normalize(&wide(x))
}

/// Mean of `[B, T, D]` over the tokens where `[B, T]` is true, `[B, D]`. A row without any such token is zero.
pub fn masked_mean(values: &Tensor, mask: &Tensor) -> Tensor {
    let mask = mask.to_kind(values.kind()).unsqueeze(-1);
    let count = mask.sum_dim_intlist([1i64].as_slice(), false, values.kind()).clamp_min(1.0);
    (values * &mask).sum_dim_intlist([1i64].as_slice(), false, values.kind()) / count
}

/// The row `at[b]` of each `[B, T, D]`, as `[B, D]`.
pub fn gather_rows(values: &Tensor, at: &Tensor) -> Tensor {
    let width = values.size()[2];
    values.gather(1, &at.view([-1, 1, 1]).expand([-1, 1, width], false), false).squeeze_dim(1)
}

/// Sum over rows of the cross-entropy of `[R, N]` logits with one right column `[R]` each.
pub fn cross_entropy_sum(logits: &Tensor, target: &Tensor) -> Tensor {
    let log_probs = logits.log_softmax(-1, Kind::Float);
    -log_probs.gather(1, &target.unsqueeze(1), false).sum(Kind::Float)
}

/// Sum of the cross-entropies of a matrix of logits along `dim`, whose right answers lie on the diagonal that starts in column `offset`:
/// the InfoNCE of the rows `offset..offset + R` of a batch, of which `[R, N]` are the logits and `dim` is 1; or, with `dim` 0 and `offset`
/// 0, that of the columns of `[N, N]`. A scalar.
///
/// The log-softmax subtracts the largest logit first, so it is exact where pairs are told apart; a log-sum-exp minus the right logit rounds
/// to 1e-5 at a scale of 100.
pub fn diagonal_cross_entropy_sum(logits: &Tensor, dim: i64, offset: i64) -> Tensor {
    -logits.log_softmax(dim, logits.kind()).diagonal(offset, 0, 1).sum(logits.kind())
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn the_right_answers_of_a_part_of_the_rows_lie_on_a_shifted_diagonal() {
        let logits = Tensor::randn([5, 5], (Kind::Double, Device::Cpu)) * 20.0;
        let right = Tensor::arange(5, (Kind::Int64, Device::Cpu));
        let each = -logits.log_softmax(1, Kind::Double).gather(1, &right.unsqueeze(1), false).squeeze_dim(1);
        let part = diagonal_cross_entropy_sum(&logits.narrow(0, 2, 3), 1, 2).double_value(&[]);
        assert!((part - each.narrow(0, 2, 3).sum(Kind::Double).double_value(&[])).abs() < 1e-12);
        let columns = diagonal_cross_entropy_sum(&logits, 0, 0).double_value(&[]);
        assert!((columns - diagonal_cross_entropy_sum(&logits.tr(), 1, 0).double_value(&[])).abs() < 1e-12);
    }

    #[test]
    fn unit_rows_of_half_precision_are_float() {
        let rows = unit(&(Tensor::ones([2, 4], (Kind::Float, Device::Cpu)) * 3.0).to_kind(Kind::BFloat16));
        assert_eq!(rows.kind(), Kind::Float);
        assert!((rows - 0.5).abs().max().double_value(&[]) < 1e-7);
        assert_eq!(unit(&Tensor::ones([1, 1], (Kind::Double, Device::Cpu))).kind(), Kind::Double);
    }
}
