//! Interval quasimetric embeddings (Wang and Isola, 2022, arXiv 2211.15120): contrast by distances that have a direction.
//!
//! `iqe` is CLIP's symmetric loss with minus a distance in the place of the cosine. It reads the joint embedding of pairs of views, shares
//! `logit_scale` with other contrastive objectives, and answers for the rows in `features.own()`: so it is exact under gradient caching and
//! over several processes. Its distances never stand in memory with everything that led to them; `metric` says how.
#![forbid(unsafe_code)]

#[cfg(test)]
mod golden;
mod iqe;
mod metric;

pub use iqe::{Compat, IqeConfig, Reduce};

vlhub_sdk::export!();
