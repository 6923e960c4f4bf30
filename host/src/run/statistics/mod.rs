//! Whether one model is better than another: paired tests on the same samples, over several seeds too, and what several tests do to them.

mod bootstrap;
mod exact;
mod fit;

pub use bootstrap::{Paired, SeedMeans, over_seeds, replicates};
pub use exact::{holm, mcnemar};
pub use fit::LogitLine;

/// Mean and standard deviation (of the population that the values are drawn from: divided by one less than their number; none for one value).
pub fn mean_and_deviation(values: &[f64]) -> (f64, Option<f64>) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()))
}

#[cfg(test)]
mod golden;
