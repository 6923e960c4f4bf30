//! Image towers of convolutions and of MLPs, computed and named as timm 1.0.31 does inside open_clip 3.3.0, so that its checkpoints load by
//! name.
//!
//! [`convnext`] is *A ConvNet for the 2020s* (arXiv 2201.03545) and ConvNeXt V2 (arXiv 2301.00808); [`efficientnet`] is EfficientNet
//! (arXiv 1905.11946) and EfficientNetV2 (arXiv 2104.00298); [`resmlp`] is ResMLP (arXiv 2105.03404). What they share is in [`tower`]: all
//! parameters are below `trunk`, and the host makes the projection under the name that
//! [`Backbone::projection`](vlhub_sdk::Backbone::projection) gives.
#![forbid(unsafe_code)]

pub mod convnext;
pub mod efficientnet;
mod mbconv;
pub mod resmlp;
pub mod tower;

#[cfg(test)]
mod golden;

vlhub_sdk::export!();
