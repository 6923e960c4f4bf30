//! Decoupled contrastive learning: contrast without the right answer in the denominator.

use vlhub_sdk::prelude::*;

/// Sum over rows of the decoupled cross-entropy (DCL, Yeh et al., 2021, arXiv 2110.06848) of `[R, N]` logits whose right answers lie on the
/// diagonal that starts in column `offset`: `log Σ_{j ≠ i} exp(z_ij − z_ii)`, which is negative where the right answer leads by enough.
///
/// # Errors
/// A single column: there is nothing to compare with.
pub(crate) fn cross_entropy_sum(logits: &Tensor, offset: i64) -> Result<Tensor> {
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
        let row = |row: [f64; 3], right: usize| {
            let others = row.iter().enumerate().filter(|(at, _)| *at != right);
            others.map(|(_, value)| (value - row[right]).exp()).sum::<f64>().ln()
        };
        let expected = row([100.0, 99.0, -100.0], 1) + row([-100.0, 98.0, 100.0], 2);
        let found = cross_entropy_sum(&logits, 1).expect("three columns").double_value(&[]);
        assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{found} for {expected}");
    }

    #[test]
    fn a_single_pair_has_nothing_to_be_told_from() {
        let logits = Tensor::ones([1, 1], (Kind::Float, Device::Cpu));
        assert!(cross_entropy_sum(&logits, 0).expect_err("refused").to_string().contains("at least 2 rows"));
    }
}
