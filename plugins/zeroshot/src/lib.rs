//! Zero-shot classification: the suites `zeroshot`, and `multilabel` where several classes of a picture are right.
//!
//! Class names are put into templates and encoded; each picture goes to the class whose text is nearest (Radford et al., 2021, §3.1).
//!
//! The suites that are named like published data sets (`imagenet`, `food101`, …) are `zeroshot` with other defaults: `eval.food101 = { path =
//! "/data/food-101" }`. Their data, class names and templates come from the sources of the same names, which the crate `benchmarks` has.
#![forbid(unsafe_code)]

mod multilabel;
mod prompts;
mod suite;

pub use multilabel::MultilabelConfig;
pub use suite::ZeroshotConfig;
pub use vlhub_sdk::captions::Templates;

vlhub_sdk::export!();
