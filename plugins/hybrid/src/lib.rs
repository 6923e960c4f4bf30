//! Networks of convolutions and attention, computed and named as open_clip with timm does, so that its checkpoints load by name.
//!
//! [`vitamin`] is ViTamin (arXiv 2404.02132), [`fastvit`] FastViT (arXiv 2303.14189) with MobileCLIP's encoders (arXiv 2311.17049,
//! 2508.20691), and [`mci`] MobileCLIP-B's vision transformer behind a convolutional stem. The network lies under `trunk`; its projection
//! is made by the host.
#![forbid(unsafe_code)]

pub mod fastvit;
pub mod layers;
pub mod mci;
mod metaformer;
mod mobileone;
mod transformer;
pub mod vitamin;

#[cfg(test)]
mod golden;

vlhub_sdk::export!();
