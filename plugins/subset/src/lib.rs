//! Subset matching (VL Hub; Fang et al., 2022, arXiv 2205.01397): which classes of a list captions name.
//!
//! Words of a caption become WordNet lemmas, and each run of up to three of them is looked up among the variants of all class names at once.
//! `match_labels` makes class labels of what is found, `simple` a sentence, and `ds_cipher` enciphers it. The nouns of WordNet 3.0 come with
//! this crate (`data/`), so a distribution can leave them out.
#![forbid(unsafe_code)]

mod ds_cipher;
mod fuzzy;
#[cfg(test)]
mod golden;
mod lemmas;
mod match_labels;
mod matcher;
mod simple;
mod synsets;

pub use ds_cipher::{DsCipherConfig, Part};
pub use match_labels::{MatchLabelsConfig, Mode};
pub use simple::SimpleConfig;
pub use synsets::Related;

vlhub_sdk::export!();
