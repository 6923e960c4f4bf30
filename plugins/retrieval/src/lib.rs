//! Image-text retrieval: the suite `retrieval`.
//!
//! Every picture looks for its texts among all texts, and every text for its picture among all pictures; the metrics have the names of
//! open_clip.
#![forbid(unsafe_code)]

mod captions;
mod gallery;
mod pictures;
mod pool;
mod rank;
mod suite;

pub use {pictures::Group, suite::RetrievalConfig};

vlhub_sdk::export!();
