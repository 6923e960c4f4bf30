//! What data sources share: files that are named by patterns, pictures in files of their own, class names, and tables of samples.

pub mod brace;
mod class_names;
mod files;
mod header;
mod labels;
pub mod picture_file;
mod table;

pub use class_names::ClassNames;
pub use files::{Files, find_files};
pub use header::{ColumnKeys, TableColumns, TableHeader};
pub use labels::LabelColumn;
pub use table::PictureTable;
