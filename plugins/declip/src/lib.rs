//! The parts of DeCLIP (Li et al., 2021, arXiv 2110.05208) that CLIP does not have.
//!
//! `mlm` predicts masked words of a caption, `simsiam` compares two pictures of one image, `nearest` pairs images with the nearest
//! neighbours of their texts, and the caption transform `eda` makes the second caption. DeCLIP is `clip` with weight 0.4 over two image
//! views and two text views, beside the three others with 0.2 each; each is of use alone.
#![forbid(unsafe_code)]

mod eda;
#[cfg(test)]
mod golden;
mod masking;
mod mlm;
mod nearest;
mod simsiam;
mod synonyms;

pub use {eda::EdaConfig, mlm::MlmConfig, nearest::NearestConfig, simsiam::SimsiamConfig};

vlhub_sdk::export!();
