//! Contrastive objectives: CLIP's softmax and SigLIP's sigmoid loss.
//!
//! `clip` is the symmetric InfoNCE of Radford et al. (2021), `siglip` the pairwise sigmoid loss of Zhai et al. (2023). Both read the joint
//! embedding of pairs of views, share their scalars by name with other objectives, and answer for the rows in `features.own()`: so they are
//! exact under gradient caching and over several processes. Options add variants: several right answers a row, decoupled contrast, a second
//! joint space, agreement of the similarities inside of each modality, and tiles instead of the N × N matrix.
#![forbid(unsafe_code)]

mod clip;
mod extra;
#[cfg(test)]
mod golden;
mod options;
mod positives;
mod siglip;
mod sigmoid;
mod similarity;
mod softmax;
mod tiled;
mod tiles;
#[cfg(test)]
mod variants;
#[cfg(test)]
mod whole_and_tiled;

pub use {clip::ClipConfig, positives::Positives, siglip::SiglipConfig};

vlhub_sdk::export!();
