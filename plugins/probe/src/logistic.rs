//! Multinomial logistic regression: mean cross-entropy plus `l2 / 2` times the squared weights, without the biases.
//!
//! All of it is computed in double precision, where the features are, and over a few rows at a time.

use vlhub_sdk::prelude::*;

use crate::features::Known;
use crate::lbfgs::{Minimum, Stop, minimise};

/// About how many numbers a temporary tensor has.
const LARGEST: i64 = 1 << 23;

/// Features whose spread is a smaller share of their mean are constant: what varies is rounding, and must not be blown up to a feature.
const CONSTANT: f64 = 1e-6;

/// What is subtracted from features `[D]`, and then divided by.
struct Scale {
    mean: Tensor,
    spread: Tensor,
}

impl Scale {
    fn none(features: &Tensor) -> Self {
        let mean = Tensor::zeros([features.size()[1]], (Kind::Double, features.device()));
        Self { spread: mean.ones_like(), mean }
    }

    /// Mean and standard deviation.
    fn of(features: &Tensor, rows: i64) -> Self {
        let count = features.size()[0] as f64;
        let Self { mut mean, mut spread } = Self::none(features);
        for part in features.split(rows, 0) {
            mean += part.sum_dim_intlist([0i64].as_slice(), false, Kind::Double) / count;
        }
        let _ = spread.zero_();
        for part in features.split(rows, 0) {
            let off = part.to_kind(Kind::Double) - &mean;
            spread += off.square().sum_dim_intlist([0i64].as_slice(), false, Kind::Double) / count;
        }
        let spread = spread.sqrt();
        let varies = spread.gt_tensor(&(mean.abs() * CONSTANT));
        Self { spread: spread.where_self(&varies, &mean.ones_like()), mean }
    }

    fn apply(&self, features: &Tensor) -> Tensor {
        (features.to_kind(Kind::Double) - &self.mean) / &self.spread
    }
}

/// Labelled features to which a linear classifier is fitted.
pub(crate) struct Problem {
    features: Tensor,
    /// Places in `present`, `[N]`.
    targets: Tensor,
    /// The classes that occur. Another's bias would fall for ever.
    present: Vec<usize>,
    scale: Scale,
    /// Rows that are worked on at once.
    rows: i64,
}

impl Problem {
    /// `known` has at least one row.
    pub fn new(known: &Known, standardise: bool) -> Self {
        let mut present: Vec<_> = known.labels.iter().map(|label| *label as usize).collect();
        present.sort_unstable();
        present.dedup();
        let place = |label: &i64| present.partition_point(|class| *class < *label as usize) as i64;
        let features = known.features.shallow_clone();
        let targets = Tensor::from_slice(&known.labels.iter().map(place).collect::<Vec<_>>()).to_device(features.device());
        let rows = (LARGEST / features.size()[1].max(present.len() as i64)).max(1);
        let scale = if standardise { Scale::of(&features, rows) } else { Scale::none(&features) };
        Self { features, targets, present, scale, rows }
    }

    /// The classes that can be predicted.
    pub fn present(&self) -> usize {
        self.present.len()
    }

    /// Weights `[D + 1, classes that occur]` of all zeros; the last row are the biases.
    pub fn zeros(&self) -> Tensor {
        Tensor::zeros([self.features.size()[1] + 1, self.present.len() as i64], (Kind::Double, self.features.device()))
    }

    /// Fits from `start` on.
    pub fn fit(&self, l2: f64, start: Tensor, stop: Stop) -> Result<Minimum> {
        minimise(start, stop, |weights| self.loss(weights, l2))
    }

    fn logits(&self, features: &Tensor, weights: &Tensor) -> Tensor {
        let width = weights.size()[0] - 1;
        features.matmul(&weights.narrow(0, 0, width)) + weights.narrow(0, width, 1)
    }

    /// The loss and its gradient, which is shaped as the weights.
    pub fn loss(&self, weights: &Tensor, l2: f64) -> Result<(f64, Tensor)> {
        let width = weights.size()[0] - 1;
        let count = self.features.size()[0] as f64;
        let slopes = weights.narrow(0, 0, width);
        let mut loss = slopes.square().sum(Kind::Double) * (l2 / 2.0);
        let gradient = weights.zeros_like();
        let (mut of_slopes, mut of_biases) = (gradient.narrow(0, 0, width), gradient.narrow(0, width, 1));
        for (features, targets) in self.features.split(self.rows, 0).iter().zip(self.targets.split(self.rows, 0)) {
            let features = self.scale.apply(features);
            let targets = targets.unsqueeze(1);
            let log = self.logits(&features, weights).log_softmax(1, Kind::Double);
            let right = log.gather(1, &targets, false);
            loss -= right.sum(Kind::Double) / count;
            let wrong = log.exp().scatter_add(1, &targets, &-right.ones_like()) / count;
            of_slopes += features.tr().matmul(&wrong);
            of_biases += wrong.sum_dim_intlist([0i64].as_slice(), true, Kind::Double);
        }
        of_slopes += slopes * l2;
        Ok((loss.double_value(&[]), gradient))
    }

    /// Scores of `classes` classes for features `[B, D]`: logits; a class that does not occur has the lowest number there is.
    pub fn scores(&self, features: &Tensor, weights: &Tensor, classes: usize) -> Result<Vec<Vec<f32>>> {
        let mut scores = Vec::with_capacity(features.size()[0] as usize);
        for part in features.split(self.rows, 0) {
            let logits = self.logits(&self.scale.apply(&part), weights).to_kind(Kind::Float).to_device(Device::Cpu);
            let logits = Vec::<f32>::try_from(logits.contiguous().view(-1))?;
            for logits in logits.chunks(self.present.len()) {
                let mut row = vec![f32::MIN; classes];
                for (class, logit) in self.present.iter().zip(logits) {
                    row[*class] = *logit;
                }
                scores.push(row);
            }
        }
        Ok(scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vlhub_sdk::testkit::golden::numbers;

    fn known() -> Known {
        let features = Tensor::from_slice(&numbers("features", 23 * 5)).view([23, 5]) * 3.0 + 1.0;
        Known { features, labels: (0..23).map(|at| at * at % 4).collect() }
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let problem = Problem::new(&known(), true);
        let weights = Tensor::from_slice(&numbers("weights", 12)).to_kind(Kind::Double).view([6, 2]);
        assert_eq!(problem.zeros().size(), weights.size(), "only squares modulo 4 occur");
        let (_, gradient) = problem.loss(&weights, 0.3).expect("a loss");
        for at in 0..12 {
            let mut step = weights.zeros_like();
            let _ = step.view(-1).get(at).fill_(1e-5);
            let side = |weights: Tensor| problem.loss(&weights, 0.3).expect("a loss").0;
            let slope = (side(&weights + &step) - side(&weights - &step)) / 2e-5;
            step = gradient.view(-1);
            assert!((step.double_value(&[at]) - slope).abs() < 1e-9, "entry {at}: {} for {slope}", step.double_value(&[at]));
        }
    }

    #[test]
    fn a_few_rows_at_a_time_give_the_same() {
        let known = known();
        let whole = Problem::new(&known, true);
        let parts = Problem { rows: 4, scale: Scale::of(&known.features, 4), ..Problem::new(&known, true) };
        let weights = Tensor::from_slice(&numbers("weights", 12)).to_kind(Kind::Double).view([6, 2]);
        let [(loss, gradient), (wanted, whole_gradient)] = [&parts, &whole].map(|problem| problem.loss(&weights, 0.3).expect("a loss"));
        assert!((loss - wanted).abs() < 1e-12);
        assert!((gradient - whole_gradient).abs().max().double_value(&[]) < 1e-12);
        let [few, all] = [&parts, &whole].map(|problem| problem.scores(&known.features, &weights, 3).expect("scores"));
        assert_eq!(few.len(), 23);
        assert!(few.iter().flatten().zip(all.iter().flatten()).all(|(few, all)| (few - all).abs() < 1e-5));
        assert_eq!(few[0][2], f32::MIN, "class 2 does not occur");
    }

    #[test]
    fn rounding_of_a_constant_is_not_taken_for_a_feature() {
        // As a device may give it: a constant, but for the last digits.
        let noise = Tensor::from_slice(&numbers("noise", 23)).view([23, 1]) * 1e-7;
        let features = Tensor::cat(&[known().features, noise * 5.0 + 5.0], 1);
        let scaled = Scale::of(&features, 100).apply(&features);
        assert!(scaled.narrow(1, 5, 1).abs().max().double_value(&[]) < 1e-5);
        let others = scaled.narrow(1, 0, 5);
        let (mean, square) =
            (others.mean_dim([0i64].as_slice(), false, Kind::Double), others.square().mean_dim([0i64].as_slice(), false, Kind::Double));
        assert!(mean.abs().max().double_value(&[]) < 1e-12 && (square - 1.0).abs().max().double_value(&[]) < 1e-12);
    }
}
