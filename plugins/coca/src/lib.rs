//! CoCa (Yu et al., 2022, arXiv 2205.01917): the captioning loss, and the generation of captions.
//!
//! `caption` owns the decoder that reads the text tower's tokens and looks at the image tower's. Its parameters have open_clip's names, so
//! published CoCa weights load. At evaluation it writes captions: the likeliest token each time, drawn tokens, or beam search.

mod beam;
mod caption;
mod decoder;
#[cfg(test)]
mod golden;
mod measure;
mod sample;
mod writer;

pub use caption::CaptionConfig;
pub use measure::CaptionSuiteConfig;

vlhub_sdk::export!();
