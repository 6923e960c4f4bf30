//! Exact tests, and what several tests do to each other.

/// McNemar's exact test of two models that are right or wrong on the same samples: `only_first` samples are right in the first alone,
/// `only_second` in the second alone. Two-sided, by the binomial distribution with equal chances (McNemar 1947).
pub fn mcnemar(only_first: u64, only_second: u64) -> f64 {
    let all = only_first + only_second;
    let least = only_first.min(only_second);
    // Terms of the binomial distribution in logarithms: their factorials overflow from 171 samples on.
    let mut term = -(all as f64) * std::f64::consts::LN_2;
    let mut sum = term.exp();
    for at in 1..=least {
        term += ((all - at + 1) as f64 / at as f64).ln();
        sum += term.exp();
    }
    (2.0 * sum).min(1.0)
}

/// Holm's adjustment of the p of several tests (Holm 1979): the chance of any false finding among them stays below the level that an adjusted p is
/// held against.
pub fn holm(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|left, right| values[*left].total_cmp(&values[*right]));
    let mut adjusted = vec![0.0; values.len()];
    let mut largest: f64 = 0.0;
    for (rank, at) in order.into_iter().enumerate() {
        largest = largest.max(values[at] * (values.len() - rank) as f64).min(1.0);
        adjusted[at] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_is_symmetric_and_bounded() {
        assert_eq!((mcnemar(0, 0), mcnemar(7, 7)), (1.0, 1.0));
        assert_eq!(mcnemar(3, 9).to_bits(), mcnemar(9, 3).to_bits());
        assert!((mcnemar(0, 5) - 0.0625).abs() < 1e-15, "twice a half to the fifth");
    }

    #[test]
    fn adjusted_values_keep_their_order() {
        assert_eq!(holm(&[]), Vec::<f64>::new());
        assert_eq!(holm(&[0.25]), [0.25]);
        assert_eq!(holm(&[0.5, 0.01, 0.02, 0.9]), [1.0, 0.04, 0.06, 1.0]);
    }
}
