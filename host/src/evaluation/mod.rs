//! Evaluation: a trained model as suites see it, suites with their data, and the names of classes on both sides.

pub mod class_names;
mod eval_model;
pub mod suites;

pub use eval_model::EvalModel;
