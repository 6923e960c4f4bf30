//! Supervised classification of images.
//!
//! `classify` is a linear head on the pooled output of the image tower, trained by cross-entropy or binary cross-entropy on class labels, of
//! which a row may have several, with label smoothing, mixup (Zhang et al., 2017, arXiv 1710.09412) and cutmix (Yun et al., 2019, arXiv
//! 1905.04899). At evaluation it predicts classes. Losses and mixing are those of timm.
#![forbid(unsafe_code)]

mod beta;
mod classify;
mod mix;
mod options;
mod rows;
#[cfg(test)]
mod tests;

pub use options::{ClassifyConfig, Criterion, Several};

vlhub_sdk::export!();
