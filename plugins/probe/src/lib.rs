//! What image towers know of classes without a text: `knn` asks the nearest neighbours among labelled pictures, `accuracy` asks the head that an
//! objective such as `classify` has trained.
#![forbid(unsafe_code)]

mod accuracy;
mod counts;
mod knn;
mod read;

pub use {accuracy::AccuracyConfig, knn::KnnConfig};

vlhub_sdk::export!();
