//! Which model weights belong to: what they say of it, what the model is that is built, and where the two differ.
//!
//! Shapes tell neither heads nor activations, nor how pictures were prepared; weights load without a complaint into a model that computes
//! other numbers. So everything that describes weights is read (a run's checkpoint, the metadata of a converted file, a folder of open_clip,
//! transformers or timm, OpenAI's archives, a tag's entry in open_clip's list) and held against the model, option by option.

pub mod checkpoint;
pub mod claims;
pub mod description;
pub mod difference;
mod published;
pub mod teachers;

pub use checkpoint::RunCheckpoint;
pub use claims::{Claims, METADATA_MODEL, METADATA_WEIGHTS};
pub use description::Description;
pub use difference::Difference;
