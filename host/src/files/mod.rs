//! Files that are replaced as a whole, and the file operations on which that and the checkpoints rest.

pub mod fs;
mod replace;

pub(crate) use replace::{nonce, replace, replaceable};
