//! ViT image towers and the CLIP text transformer.
#![forbid(unsafe_code)]

vlhub_sdk::export!();
