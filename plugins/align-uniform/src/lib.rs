//! Alignment and uniformity of features (Wang and Isola, 2020, arXiv 2005.10242): the two effects of a contrastive loss, as terms of their own.
//!
//! `align_uniform` draws pairs together and spreads each side over the sphere. It reads the joint embedding of pairs of views and answers for
//! the rows in `features.own()`: so it is exact under gradient caching and over several processes.
#![forbid(unsafe_code)]

mod align_uniform;
#[cfg(test)]
mod golden;
mod terms;

pub use align_uniform::{AlignUniformConfig, On};

vlhub_sdk::export!();
