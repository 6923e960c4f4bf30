//! What an evaluation leaves in a folder, beside its line in `results.jsonl`.
//!
//! ```text
//! per_sample/SUITE.csv         what was found for each sample: key, true and predicted class, unit where rows share one, scores
//! per_class/SUITE.csv          samples, recall, precision, F1 and more of each class
//! confusion_matrix/SUITE.csv   true classes in rows, predicted ones in columns; SUITE.order.csv lists classes that are confused side by side
//! examples/SUITE.json          what is shown on the page, with its pictures in examples/SUITE/
//! ```
//!
//! Each file is replaced as a whole, and the line comes last. So a line's files are there, and may be of a later evaluation at most.

pub mod appended;
pub mod classes;
pub mod examples;
pub mod folder;
pub mod samples;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use vlhub_core::{Error, Report, Result, SampleTable};

use super::folder::plain;
use super::jsonl::{self, Jsonl};
use super::matrix;
use samples::TableFile;

/// Largest number of classes of which a confusion matrix is written: a larger one is megabytes that nobody can look at.
pub const LARGEST_MATRIX: usize = 1000;

/// A line of `results.jsonl`.
#[derive(Debug, Serialize)]
struct ResultLine<'a, P: Serialize> {
    name: &'a str,
    #[serde(flatten)]
    place: P,
    metrics: BTreeMap<&'a str, f64>,
    chance: BTreeMap<&'a str, f64>,
    interval: BTreeMap<&'a str, [f64; 2]>,
    samples: u64,
    skipped: &'a [String],
    notes: &'a [String],
    tables: Vec<TableFile>,
}

/// Writes what suite `name` found into `folder`, and then its line to the file `lines`. `place` says what was measured: its fields become those
/// of the line.
///
/// # Errors
/// The file and why it cannot be written.
pub fn write(folder: &Path, lines: &Path, name: &str, place: impl Serialize, report: &Report) -> Result<()> {
    let stem = plain(name);
    let mut tables = Vec::new();
    for table in &report.tables {
        tables.push(samples::write(folder, &stem, table, &report.classes)?);
    }
    if let Some(table) = classified(report) {
        let rows = classes::of_table(table, &report.classes);
        put(folder, "per_class", &format!("{stem}.csv"), &classes::to_csv(&rows)?)?;
    }
    let counted =
        || classified(report).filter(|_| report.classes.len() <= LARGEST_MATRIX).map(|table| matrix::of_table(table, &report.classes));
    if let Some(confusion) = report.confusion.clone().or_else(counted) {
        let within = |error: Error| error.within(format!("confusion matrix of `{name}`"));
        put(folder, "confusion_matrix", &format!("{stem}.csv"), &matrix::to_csv(&confusion).map_err(within)?)?;
        put(folder, "confusion_matrix", &format!("{stem}.order.csv"), &matrix::order_to_csv(&confusion)?)?;
    }
    if !report.examples.is_empty() {
        examples::write(&folder.join("examples"), &stem, &report.examples)?;
    }
    let numbers = report.metrics.iter();
    Jsonl::open(lines)?.append(&ResultLine {
        name,
        place,
        metrics: numbers.clone().map(|metric| (metric.name.as_str(), metric.value)).collect(),
        chance: numbers.clone().filter_map(|metric| Some((metric.name.as_str(), metric.chance?))).collect(),
        interval: numbers.filter_map(|metric| Some((metric.name.as_str(), metric.interval?))).collect(),
        samples: report.samples,
        skipped: &report.skipped,
        notes: &report.notes,
        tables,
    })
}

/// The table that says of each sample which class it has and which was predicted.
fn classified(report: &Report) -> Option<&SampleTable> {
    let is_whole = |table: &&SampleTable| {
        let rows = table.keys.len();
        let known = |class: &u32| (*class as usize) < report.classes.len();
        rows > 0 && table.classes.len() == rows && table.predicted.len() == rows && table.classes.iter().chain(&table.predicted).all(known)
    };
    report.tables.iter().find(is_whole)
}

/// Replaces a file in a folder of the folder.
fn put(folder: &Path, room: &str, file: &str, bytes: &[u8]) -> Result<()> {
    let room = folder.join(room);
    std::fs::create_dir_all(&room).map_err(|error| Error::io(&room, error))?;
    jsonl::replace(&room.join(file), bytes)
}

/// Rows as CSV.
///
/// # Errors
/// Rows of different lengths.
pub fn csv_of<R: AsRef<[u8]>>(rows: impl IntoIterator<Item = Vec<R>>) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for row in rows {
        csv.write_record(row).map_err(|error| Error::invalid(error.to_string()))?;
    }
    csv.into_inner().map_err(|error| Error::invalid(error.to_string()))
}

#[cfg(test)]
mod tests;
