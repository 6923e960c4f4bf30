//! Zero-shot classification: the suite `zeroshot`.
//!
//! Class names are put into templates and encoded; each picture goes to the class whose text is nearest (Radford et al., 2021, §3.1).
#![forbid(unsafe_code)]

mod suite;

pub use suite::ZeroshotConfig;
pub use vlhub_sdk::captions::Templates;

vlhub_sdk::export!();
