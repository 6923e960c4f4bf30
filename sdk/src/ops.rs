//! Mathematics that plugins share.

use tch::{Kind, Tensor};

/// Scales rows of `[…, D]` to unit length. A zero row stays zero.
pub fn normalize(x: &Tensor) -> Tensor {
    let norm = x.norm_scalaropt_dim(2.0, [-1], true).clamp_min(1e-12);
    x / norm
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
