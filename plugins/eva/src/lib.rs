//! timm's `Eva` image towers, computed and named as open_clip with timm does, so that its checkpoints load by name.
//!
//! One vision transformer with many switches: EVA-01 (arXiv 2211.07636), EVA-02 (arXiv 2303.11331), EVA-CLIP (arXiv 2303.15389), the
//! Perception Encoder (arXiv 2504.13181), and vision transformers with axial rotary positions (RoPE-ViT, arXiv 2403.13298). The network
//! lies under `trunk`; its projection is made by the host.
#![forbid(unsafe_code)]

pub mod attention;
pub mod block;
pub mod eva;
pub mod options;
pub mod pool;
mod presets;
pub mod rope;

#[cfg(test)]
mod golden;

vlhub_sdk::export!();
