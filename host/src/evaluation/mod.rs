//! Evaluation: a trained model as suites see it, and suites with their data.

mod eval_model;
pub mod suites;

pub use eval_model::EvalModel;
