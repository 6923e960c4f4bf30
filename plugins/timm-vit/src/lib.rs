//! timm's vision transformers as image towers, computed and named as timm 1.0 does and under `trunk`, as open_clip 3.3.0 wraps them, so that
//! published checkpoints load by name.
//!
//! [`vit`] is the vision transformer (arXiv 2010.11929) with what DeiT (arXiv 2012.12877), DeiT III (arXiv 2204.07118), CLIP (arXiv
//! 2103.00020) and SigLIP (arXiv 2303.15343) changed of it; [`relpos`] is timm's variant with relative positions; [`beit`] is BEiT (arXiv
//! 2106.08254, v2: 2208.06366). Each has its plugin with small defaults, and a plugin for each of timm's names with that name's sizes.
#![forbid(unsafe_code)]

pub mod beit;
mod block;
mod net;
pub mod options;
mod pool;
mod presets;
mod relative;
pub mod relpos;
pub mod vit;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

vlhub_sdk::export!();
