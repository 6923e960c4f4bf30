//! Zero-shot classification: the suites `zeroshot`, and `multilabel` where several classes of a picture are right.
//!
//! Class names are put into templates and encoded; each picture goes to the class whose text is nearest (Radford et al., 2021, §3.1).
#![forbid(unsafe_code)]

mod multilabel;
mod suite;

pub use multilabel::MultilabelConfig;
pub use suite::ZeroshotConfig;
pub use vlhub_sdk::captions::Templates;

vlhub_sdk::export!();
