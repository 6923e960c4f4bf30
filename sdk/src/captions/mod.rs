//! What caption transforms and suites share: lists of class names, the sentences around them, and VL Hub's cleaning of captions.

mod class_set;
mod clean;
mod templates;

pub use class_set::{ClassSet, imagenet_subset, imagenet_subsets, is_imagenet};
pub use clean::clean;
pub use templates::{IMAGENET, SIMPLE, Templates, fill};
