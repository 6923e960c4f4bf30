//! Evaluation: a trained model as suites see it, suites with their data, and the names of classes on both sides.

pub mod class_names;
mod embedding_sample;
mod encode_once;
mod eval_model;
pub mod intervals;
pub mod suites;

pub use embedding_sample::{EmbeddingSample, EmbeddingTap};
pub use encode_once::EncodeOnce;
pub use eval_model::EvalModel;
