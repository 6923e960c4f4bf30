//! Distillation between models with two towers (CLIP-KD, Yang et al., 2024, arXiv 2307.12732; TinyCLIP, Wu et al., 2023, arXiv 2309.12314).
//!
//! `distill` makes a model choose among the texts and among the images of a batch as a teacher does. It is the distillation part of open_clip's
//! `DistillClipLoss`; the contrastive part is the objective `clip` beside it. It owns nothing but the scale that objectives share, and answers
//! for the rows in `features.own()`: so it is exact under gradient caching and over several processes.
#![forbid(unsafe_code)]

mod distill;
#[cfg(test)]
mod golden;

pub use distill::DistillConfig;

vlhub_sdk::export!();
