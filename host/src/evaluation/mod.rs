//! Evaluation: a trained model as suites see it, suites with their data, and the names of classes on both sides.

pub mod benchmark;
pub mod class_names;
mod classifier_cache;
pub mod datacomp;
mod embedding_sample;
mod encode_once;
mod eval_model;
pub mod intervals;
pub mod resampling;
pub mod result_files;
pub mod speed;
pub mod suites;
mod text_rows;

pub use classifier_cache::ClassifierCache;
pub use embedding_sample::{EmbeddingSample, EmbeddingTap};
pub use encode_once::EncodeOnce;
pub use eval_model::{EncodedCounts, EvalModel};
