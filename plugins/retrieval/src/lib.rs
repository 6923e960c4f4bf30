//! Image-text retrieval.
#![forbid(unsafe_code)]

vlhub_sdk::export!();
