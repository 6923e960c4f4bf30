//! Contrast of one row's right answer with the others.

use vlhub_sdk::prelude::*;

/// Sum over rows of the cross-entropy of `[R, N]` logits whose right answers lie on the diagonal that starts in column `offset`.
pub(crate) fn coupled(logits: &Tensor, offset: i64) -> Tensor {
    -logits.log_softmax(1, logits.kind()).diagonal(offset, 0, 1).sum(logits.kind())
}

/// The same without the right answer in the denominator (DCL, Yeh et al., 2021, arXiv 2110.06848): `log Σ_{j ≠ i} exp(z_ij − z_ii)`, which is
/// negative where the right answer leads by enough.
///
/// # Errors
/// A single column: there is nothing to compare with.
pub(crate) fn decoupled(logits: &Tensor, offset: i64) -> Result<Tensor> {
    let size = logits.size();
    if size[1] < 2 {
        return Err(Error::invalid("`dcl` compares a pair with the others of its batch, so a batch has at least 2 rows"));
    }
    let place = (Kind::Int64, logits.device());
    let right_answer = (Tensor::arange(size[0], place) + offset).unsqueeze(1).eq_tensor(&Tensor::arange(size[1], place).unsqueeze(0));
    // Differences before exponentials: at a scale of 100 the two logarithms would be rounded to 1e-5 before they are subtracted.
    let ahead = logits - logits.diagonal(offset, 0, 1).unsqueeze(1);
    Ok(ahead.masked_fill(&right_answer, f64::NEG_INFINITY).logsumexp([1i64].as_slice(), false).sum(logits.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_logits_neither_overflow_nor_vanish() {
        let logits = Tensor::from_slice(&[100.0f32, 99.0, -100.0, -100.0, 98.0, 100.0]).view([2, 3]);
        let of = |rows: [[f64; 3]; 2], decoupled: bool| -> f64 {
            let row = |row: [f64; 3], right: usize| {
                let others = row.iter().enumerate().filter(|(at, _)| !decoupled || *at != right);
                others.map(|(_, value)| (value - row[right]).exp()).sum::<f64>().ln()
            };
            row(rows[0], 1) + row(rows[1], 2)
        };
        let rows = [[100.0, 99.0, -100.0], [-100.0, 98.0, 100.0]];
        let found = [coupled(&logits, 1), decoupled(&logits, 1).expect("three columns")].map(|sum| sum.double_value(&[]));
        for (found, expected) in found.into_iter().zip([of(rows, false), of(rows, true)]) {
            assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{found} for {expected}");
        }
    }

    #[test]
    fn a_single_pair_has_nothing_to_be_told_from() {
        let logits = Tensor::ones([1, 1], (Kind::Float, Device::Cpu));
        assert_eq!(coupled(&logits, 0).double_value(&[]), 0.0);
        assert!(decoupled(&logits, 0).expect_err("refused").to_string().contains("at least 2 rows"));
    }
}
