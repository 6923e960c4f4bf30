//! Image-text retrieval: the suite `retrieval`; right captions against wrong ones: `pairs`; and the published sets on which both are reported.
//!
//! Every picture looks for its texts among all texts, and every text for its picture among all pictures; the metrics have the names of
//! open_clip.
#![forbid(unsafe_code)]

mod captions;
mod gallery;
mod pairs;
mod pictures;
mod pool;
mod published;
mod rank;
mod suite;

pub use {pairs::PairsConfig, pictures::Group, suite::RetrievalConfig};

pub use published::{CocoCaptionsConfig, FlickrConfig, FlickrSet, SugarcrepeConfig, WinogroundConfig};

vlhub_sdk::export!();
