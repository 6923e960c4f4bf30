//! Contrastive objectives: CLIP's softmax and SigLIP's sigmoid loss.
//!
//! `clip` is the symmetric InfoNCE of Radford et al. (2021), `siglip` the pairwise sigmoid loss of Zhai et al. (2023). Both read the joint
//! embedding of pairs of views, own nothing but scalars that they share by name with other objectives, and answer for the rows in
//! `features.own()`: so they are exact under gradient caching and over several processes.
#![forbid(unsafe_code)]

mod clip;
#[cfg(test)]
mod golden;
mod pairs;
mod siglip;

pub use {clip::ClipConfig, siglip::SiglipConfig};

vlhub_sdk::export!();
