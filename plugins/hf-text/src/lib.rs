//! The text towers that open_clip 3.3.0 wraps as `HFTextEncoder`, computed and named as transformers does, so that their checkpoints load
//! by name.
//!
//! [`bert`] holds BERT (arXiv 1810.04805), RoBERTa (arXiv 1907.11692) and XLM-R (arXiv 1911.02116), [`t5`] the encoder of mT5
//! (arXiv 2010.11934), and [`m2m100`] that of NLLB-200 (arXiv 2207.04672). The network stands under `transformer`. The projection, under
//! `proj`, is the host's.
#![forbid(unsafe_code)]

pub mod bert;
pub mod m2m100;
pub mod options;
pub mod t5;

mod attention;
mod tower;

#[cfg(test)]
mod golden;

vlhub_sdk::export!();
