//! What can be told of a model without training it: its size and work, and its description for open_clip.

mod open_clip_config;
pub mod sizes;

pub use open_clip_config::open_clip_config;
