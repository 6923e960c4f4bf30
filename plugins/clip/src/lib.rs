//! Contrastive objectives: CLIP's softmax and SigLIP's sigmoid loss.
#![forbid(unsafe_code)]

vlhub_sdk::export!();
