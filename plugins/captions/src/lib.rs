//! Caption transforms.
#![forbid(unsafe_code)]

vlhub_sdk::export!();
