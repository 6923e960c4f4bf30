//! Residual networks as image towers, computed and named as open_clip 3.3.0 and timm 1.0 do, so that their checkpoints load by name.
//!
//! [`modified`] is the ResNet of CLIP (arXiv 2103.00020), with attention for a pool. The others are timm's, under `trunk` as open_clip
//! keeps them: [`resnet`] (arXiv 1512.03385 and its variants), [`resnetv2`] with activation before convolution (arXiv 1603.05027; BiT,
//! arXiv 1912.11370), [`regnet`] (arXiv 2003.13678) and [`nf_regnet`] without normalisation (arXiv 2101.08692). None owns its projection:
//! the host makes it, under the name that [`Backbone::projection`](vlhub_sdk::Backbone::projection) gives.
#![forbid(unsafe_code)]

mod layers;
pub mod modified;
pub mod nf_regnet;
pub mod options;
mod preact;
pub mod regnet;
mod regnet_presets;
mod residual;
pub mod resnet;
mod resnet_presets;
pub mod resnetv2;
mod tower;

#[cfg(test)]
mod golden;

vlhub_sdk::export!();
