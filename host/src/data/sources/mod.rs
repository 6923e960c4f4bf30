//! The sources that come with the program. Each file registers one, as a plugin crate would; what they share stands beside them.

mod brace;
pub mod class_names;
pub mod csv;
pub mod folder;
mod group;
pub mod picture_file;
mod python_json;
mod records;
pub mod shapes;
mod shards;
mod suffixes;
mod tar_index;
pub mod webdataset;
