//! FILIP (Yao et al., 2021, arXiv 2111.07783): images and texts are compared token by token.
//!
//! `filip` looks for the best match of each image token among the words of a text, and of each word among the tokens of an image. The
//! similarity of a pair is the mean over those best matches, and it is trained as in CLIP. All tokens of all pairs together would be a matrix
//! of `[N, N, image tokens, text tokens]`; it is made tile by tile, forwards and once more backwards, so memory does not grow with the square
//! of the batch. At evaluation the objective scores images against texts in the same way.
#![forbid(unsafe_code)]

mod decoupled;
mod filip;
#[cfg(test)]
mod golden;
mod late;
mod words;

pub use filip::{Compat, FilipConfig};

vlhub_sdk::export!();
