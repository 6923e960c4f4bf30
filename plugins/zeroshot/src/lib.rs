//! Zero-shot classification.
#![forbid(unsafe_code)]

vlhub_sdk::export!();
