//! ViT image towers and the CLIP text transformer, computed and named as open_clip 3.3.0 does, so that its checkpoints load by name.
//!
//! [`vit`] is *An Image is Worth 16x16 Words* (arXiv 2010.11929) as CLIP and CoCa use it, with patch dropout (FLIP, arXiv 2212.00794);
//! [`text`] is the text tower of CLIP (arXiv 2103.00020), SigLIP (arXiv 2303.15343), CLIPA (arXiv 2305.07017) and CoCa (arXiv 2205.01917).
//! Neither owns its projection: the host makes it, under the name that [`Backbone::projection`](vlhub_sdk::Backbone::projection) gives.
#![forbid(unsafe_code)]

pub mod options;
mod pool;
mod positions;
pub mod text;
pub mod vit;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod towers;

vlhub_sdk::export!();
