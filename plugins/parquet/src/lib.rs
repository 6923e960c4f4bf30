//! Parquet tables as data sources: exports of Hugging Face `datasets`, tables of paths, and the folders that img2dataset writes.
//!
//! [`parquet`](table::ParquetConfig) reads rows at random: `blocks.rs` says what that costs. [`img2dataset`](img2dataset::Img2datasetConfig)
//! puts the tables beside img2dataset's shards to use.

mod blocks;
mod cells;
mod columns;
mod file;
#[cfg(test)]
mod golden;
pub mod img2dataset;
mod placed;
pub mod table;

vlhub_sdk::export!();
