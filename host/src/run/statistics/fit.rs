//! A straight line between accuracies on a logit scale, as standard models follow it (Taori et al. 2020, arXiv 2007.00644).

/// `logit(y) = slope * logit(x) + intercept`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitLine {
    /// Of the line.
    pub slope: f64,
    /// Of the line.
    pub intercept: f64,
    /// Models that it was fitted to.
    pub models: usize,
}

impl LogitLine {
    /// The least-squares line through pairs of accuracies. Pairs with an accuracy of 0 or 1, which has no logit, are left out; `None` where fewer than
    /// three are left, or all have the same x.
    pub fn fit(pairs: &[(f64, f64)]) -> Option<Self> {
        let inside = |value: f64| value > 0.0 && value < 1.0;
        let points: Vec<(f64, f64)> = pairs.iter().filter(|(x, y)| inside(*x) && inside(*y)).map(|(x, y)| (logit(*x), logit(*y))).collect();
        let count = points.len() as f64;
        if points.len() < 3 {
            return None;
        }
        let (mean_x, mean_y) = (points.iter().map(|(x, _)| x).sum::<f64>() / count, points.iter().map(|(_, y)| y).sum::<f64>() / count);
        let spread = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
        if spread <= 1e-12 {
            return None;
        }
        let slope = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
        Some(Self { slope, intercept: mean_y - slope * mean_x, models: points.len() })
    }

    /// The accuracy that the line expects at an accuracy between 0 and 1, both excluded.
    pub fn at(&self, accuracy: f64) -> f64 {
        1.0 / (1.0 + (-(self.slope * logit(accuracy) + self.intercept)).exp())
    }
}

/// The logarithm of the odds.
fn logit(share: f64) -> f64 {
    (share / (1.0 - share)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_needs_three_models_that_differ() {
        assert_eq!(LogitLine::fit(&[(0.5, 0.4), (0.6, 0.5)]), None);
        assert_eq!(LogitLine::fit(&[(0.5, 0.4), (0.5, 0.5), (0.5, 0.6)]), None);
        assert_eq!(LogitLine::fit(&[(0.5, 0.4), (0.6, 0.5), (1.0, 0.9)]), None, "1 has no logit");
        let line = LogitLine::fit(&[(0.2, 0.2), (0.5, 0.5), (0.8, 0.8)]).expect("a line");
        assert!((line.at(0.3) - 0.3).abs() < 1e-12 && line.models == 3);
    }
}
