//! Image towers of windowed and multi-scale attention, computed and named as timm 1.0.31 does inside open_clip, so that their checkpoints
//! load by name.
//!
//! [`swin`] is Swin Transformer (arXiv 2103.14030), [`swinv2`] its second version (arXiv 2111.09883), [`maxvit`] is MaxViT (arXiv
//! 2204.01697), [`gcvit`] Global Context ViT (arXiv 2206.09959) and [`coat`] CoaT (arXiv 2104.06399). The networks are under `trunk`; the
//! host makes the projection that [`Backbone::projection`](vlhub_sdk::Backbone::projection) names.
#![forbid(unsafe_code)]

pub mod coat;
pub mod gcvit;
pub mod maxvit;
pub mod options;
pub mod swin;
pub mod swinv2;

mod attention;
mod block;
mod conv_attention;
mod fused;
mod hierarchy;
mod layers;
mod mbconv;
mod tower;
mod windows;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod presets;

vlhub_sdk::export!();
