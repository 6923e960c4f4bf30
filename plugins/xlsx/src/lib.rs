//! Spreadsheets as data sources: a sheet with a column of picture files and a column of captions.

#[cfg(test)]
mod golden;
mod sheet;
pub mod xlsx;

vlhub_sdk::export!();
