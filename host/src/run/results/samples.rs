//! `per_sample/SUITE.csv`: what was found for each sample.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use vlhub_core::{Error, MeanOf, Result, SampleTable, ScoreColumn};

use super::super::folder::plain;

/// Columns in front of the scores.
const OWN: [&str; 3] = ["key", "class", "predicted"];

/// What `results.jsonl` says about a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFile {
    /// What its rows are, where a suite has several; else empty.
    pub name: String,
    /// Its path in the folder.
    pub file: String,
    /// Metrics that are a mean of the means of each class; the others are means of all rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean_of_classes: Vec<String>,
}

/// Writes a table as `per_sample/STEM.csv`, or `per_sample/STEM.TABLE.csv` for one that has a name.
///
/// # Errors
/// A column that is not as long as the keys; the file and why it cannot be written.
pub fn write(folder: &Path, stem: &str, table: &SampleTable, classes: &[String]) -> Result<TableFile> {
    let file = if table.name.is_empty() { format!("{stem}.csv") } else { format!("{stem}.{}.csv", plain(&table.name)) };
    let bytes = to_csv(table, classes).map_err(|error| error.within(format!("per_sample/{file}")))?;
    super::put(folder, "per_sample", &file, &bytes)?;
    let of_classes = table.columns.iter().filter(|column| column.mean == MeanOf::Classes);
    Ok(TableFile {
        name: table.name.clone(),
        file: format!("per_sample/{file}"),
        mean_of_classes: of_classes.map(|column| column.metric.clone()).collect(),
    })
}

/// A table as CSV, with the names of its classes.
///
/// # Errors
/// A column that is not as long as the keys, or a class without a name.
pub fn to_csv(table: &SampleTable, classes: &[String]) -> Result<Vec<u8>> {
    let rows = table.keys.len();
    let fits = |length: usize| length == rows;
    let optional = |length: usize| length == 0 || fits(length);
    if !optional(table.classes.len()) || !optional(table.predicted.len()) || !table.columns.iter().all(|column| fits(column.values.len())) {
        return Err(Error::invalid(format!("its columns have not the {rows} rows of its keys")));
    }
    let name = |class: Option<&u32>| match class {
        None => Ok(""),
        Some(class) => classes.get(*class as usize).map(String::as_str).ok_or_else(|| Error::invalid(format!("class {class} has no name"))),
    };
    let mut lines = vec![OWN.into_iter().chain(table.columns.iter().map(|column| column.metric.as_str())).map(str::to_owned).collect()];
    for (row, key) in table.keys.iter().enumerate() {
        let mut line = vec![key.clone(), name(table.classes.get(row))?.to_owned(), name(table.predicted.get(row))?.to_owned()];
        line.extend(table.columns.iter().map(|column| column.values[row].to_string()));
        lines.push(line);
    }
    super::csv_of(lines)
}

/// Reads a table of a folder back, and the names of its classes in the order in which they first stand there.
///
/// # Errors
/// The file and its line that is no row of such a table.
pub fn read(folder: &Path, about: &TableFile) -> Result<(SampleTable, Vec<String>)> {
    let path = folder.join(&about.file);
    let bytes = std::fs::read(&path).map_err(|error| Error::io(&path, error))?;
    from_csv(&bytes, about).map_err(|error| error.within(path.display().to_string()))
}

/// Back from CSV.
///
/// # Errors
/// The line that is no row of such a table.
pub fn from_csv(bytes: &[u8], about: &TableFile) -> Result<(SampleTable, Vec<String>)> {
    let fail = |error: csv::Error| Error::invalid(error.to_string());
    let mut csv = csv::Reader::from_reader(bytes);
    let head = csv.headers().map_err(fail)?.clone();
    if !OWN.iter().enumerate().all(|(at, name)| head.get(at) == Some(name)) {
        return Err(Error::invalid("its first columns are not key, class and predicted"));
    }
    let mean = |metric: &str| if about.mean_of_classes.iter().any(|name| name == metric) { MeanOf::Classes } else { MeanOf::Rows };
    let column = |metric: &str| ScoreColumn { metric: metric.to_owned(), values: Vec::new(), mean: mean(metric) };
    let mut table =
        SampleTable { name: about.name.clone(), columns: head.iter().skip(OWN.len()).map(column).collect(), ..SampleTable::default() };
    let (mut names, mut places) = (Vec::new(), HashMap::new());
    let mut place = |name: &str| -> u32 {
        *places.entry(name.to_owned()).or_insert_with(|| {
            names.push(name.to_owned());
            names.len() as u32 - 1
        })
    };
    for (row, record) in csv.records().enumerate() {
        let record = record.map_err(fail)?;
        table.keys.push(record[0].to_owned());
        for (name, into) in [(&record[1], &mut table.classes), (&record[2], &mut table.predicted)] {
            if !name.is_empty() {
                into.push(place(name));
            }
        }
        for (column, cell) in table.columns.iter_mut().zip(record.iter().skip(OWN.len())) {
            let value = cell.parse().map_err(|_| Error::invalid(format!("line {}: `{cell}` is no number", row + 2)))?;
            column.values.push(value);
        }
    }
    let rows = table.keys.len();
    if [&table.classes, &table.predicted].iter().any(|classes| !classes.is_empty() && classes.len() != rows) {
        return Err(Error::invalid("some of its rows have a class, and others have none"));
    }
    Ok((table, names))
}
