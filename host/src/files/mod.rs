//! Files that are replaced as a whole, and the file operations on which that and the checkpoints rest.

mod cache_folder;
pub mod fs;
mod replace;

pub(crate) use cache_folder::cache_folder;
pub(crate) use replace::{nonce, replace, replaceable};
