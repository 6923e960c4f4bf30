//! What image towers know of classes, without a text.
//!
//! - `knn` asks the nearest neighbours among labelled pictures; nothing is trained.
//! - `linear_probe` trains a linear classifier on frozen features.
//! - `accuracy` asks the head that an objective such as `classify` has trained.
#![forbid(unsafe_code)]

mod accuracy;
mod features;
mod few_shot;
mod knn;
mod larger;
mod lbfgs;
mod linear_probe;
mod logistic;

pub use {accuracy::AccuracyConfig, features::Output, knn::KnnConfig, linear_probe::LinearProbeConfig};

vlhub_sdk::export!();

#[cfg(test)]
mod tests;
