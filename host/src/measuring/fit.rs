//! Curves through measured points: how cost grows.

/// A straight line through points, by least squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FittedLine {
    /// How much `y` grows for each 1 of `x`.
    pub slope: f64,
    /// `y` where `x` is 0.
    pub at_zero: f64,
}

impl FittedLine {
    /// The line through points `(x, y)`; `None` where they have fewer than two different `x`.
    pub fn through(points: &[(f64, f64)]) -> Option<Self> {
        let (first, _) = points.first()?;
        if points.iter().all(|(x, _)| x == first) {
            return None;
        }
        let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / points.len() as f64;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
        let together: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
        let slope = together / spread;
        Some(Self { slope, at_zero: y - slope * x })
    }
}

/// The exponent of a power law `y = a · x^exponent` through points `(x, y)`, by least squares of their logarithms: 1 where cost grows as size
/// does, 2 where it grows with its square. `None` where fewer than two different `x` are left; points that are not above 0 have no logarithm.
pub fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    let positive = points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0);
    let logarithms: Vec<(f64, f64)> = positive.map(|(x, y)| (x.ln(), y.ln())).collect();
    FittedLine::through(&logarithms).map(|line| line.slope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_and_a_power_law_are_found_again() {
        let line = FittedLine::through(&[(8.0, 30.0), (16.0, 50.0), (32.0, 90.0)]).expect("three points");
        assert!((line.slope - 2.5).abs() < 1e-12 && (line.at_zero - 10.0).abs() < 1e-12, "{line:?}");
        for wanted in [0.0, 1.0, 1.5, 2.0] {
            let points: Vec<(f64, f64)> =
                [1024.0f64, 2048.0, 4096.0, 8192.0].iter().map(|rows| (*rows, 3e-7 * rows.powf(wanted))).collect();
            let found = exponent(&points).expect("four points");
            assert!((found - wanted).abs() < 1e-9, "{found} and {wanted}");
        }
        // Of points that lie on no line, the one that is nearest to all.
        let apart = FittedLine::through(&[(0.0, 0.0), (1.0, 2.0), (2.0, 1.0)]).expect("three points");
        assert!((apart.slope - 0.5).abs() < 1e-12 && (apart.at_zero - 0.5).abs() < 1e-12, "{apart:?}");
    }

    #[test]
    fn too_few_points_have_no_curve() {
        for points in [&[(1.0, 2.0)][..], &[], &[(0.1, 1.0), (0.1, 2.0), (0.1, 4.0)]] {
            assert_eq!((FittedLine::through(points), exponent(points)), (None, None), "{points:?}");
        }
        assert_eq!(exponent(&[(1.0, 0.0), (2.0, 3.0)]), None, "nothing has no logarithm");
        assert!(exponent(&[(1.0, 0.0), (2.0, 3.0), (4.0, 6.0)]).is_some_and(|found| (found - 1.0).abs() < 1e-9));
    }
}
