//! `per_class/SUITE.csv`: how well each class was told from the others.

use std::collections::BTreeMap;

use vlhub_core::{Error, Matrix, Result, SampleTable};

/// The columns of the file.
const COLUMNS: [&str; 8] = ["class", "samples", "recall", "precision", "f1", "predicted_share", "most_often_taken_for", "times"];

/// What happened to the samples of one class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassRow {
    /// Its name.
    pub class: String,
    /// Its samples.
    pub samples: u64,
    /// The share of its samples that were recognised; none without samples.
    pub recall: Option<f64>,
    /// The share of what was taken for it that is of it; none where nothing was.
    pub precision: Option<f64>,
    /// The harmonic mean of both; 0 where one is 0 or absent, none where the class is neither there nor predicted.
    pub f1: Option<f64>,
    /// The share of all samples that were taken for it.
    pub predicted: f64,
    /// What it was taken for most often, and how often; of equals the class that comes first.
    pub mistaken: Option<(String, u64)>,
}

/// Of a table of samples, whose classes are places in `names`.
pub fn of_table(table: &SampleTable, names: &[String]) -> Vec<ClassRow> {
    let mut counts = BTreeMap::new();
    for pair in table.classes.iter().zip(&table.predicted) {
        *counts.entry((*pair.0 as usize, *pair.1 as usize)).or_insert(0) += 1;
    }
    of_counts(&counts, names)
}

/// Of a confusion matrix.
pub fn of_matrix(matrix: &Matrix) -> Vec<ClassRow> {
    let cell = |row: usize| matrix.counts[row].iter().enumerate().map(move |(column, count)| ((row, column), *count));
    let counts = (0..matrix.counts.len()).flat_map(cell).filter(|(_, count)| *count > 0).collect();
    of_counts(&counts, &matrix.classes)
}

/// Of the number of samples for each true and predicted class that occur together. Classes that are neither there nor predicted are left out.
fn of_counts(counts: &BTreeMap<(usize, usize), u64>, names: &[String]) -> Vec<ClassRow> {
    let (mut samples, mut predicted) = (vec![0u64; names.len()], vec![0u64; names.len()]);
    let mut mistaken: Vec<Option<(usize, u64)>> = vec![None; names.len()];
    for (&(truth, guess), &count) in counts {
        samples[truth] += count;
        predicted[guess] += count;
        if truth != guess && mistaken[truth].is_none_or(|(_, most)| count > most) {
            mistaken[truth] = Some((guess, count));
        }
    }
    let all = samples.iter().sum::<u64>().max(1) as f64;
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let row = |class: usize| {
        let right = counts.get(&(class, class)).copied().unwrap_or(0);
        ClassRow {
            class: names[class].clone(),
            samples: samples[class],
            recall: share(right, samples[class]),
            precision: share(right, predicted[class]),
            f1: share(2 * right, samples[class] + predicted[class]),
            predicted: predicted[class] as f64 / all,
            mistaken: mistaken[class].map(|(other, count)| (names[other].clone(), count)),
        }
    };
    (0..names.len()).filter(|class| samples[*class] + predicted[*class] > 0).map(row).collect()
}

/// Those that have samples, from the least to the best recognised; of equals, those with more samples first.
pub fn ranked(rows: &[ClassRow]) -> Vec<&ClassRow> {
    let mut ranked: Vec<_> = rows.iter().filter(|row| row.recall.is_some()).collect();
    ranked.sort_by(|left, right| {
        left.recall.partial_cmp(&right.recall).unwrap_or(std::cmp::Ordering::Equal).then(right.samples.cmp(&left.samples))
    });
    ranked
}

/// As CSV; what does not exist is an empty cell.
///
/// # Errors
/// None that can happen: the rows have one length.
pub fn to_csv(rows: &[ClassRow]) -> Result<Vec<u8>> {
    let cell = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let line = |row: &ClassRow| {
        let (other, times) = row.mistaken.clone().map_or_else(Default::default, |(other, times)| (other, times.to_string()));
        let numbers = [row.recall, row.precision, row.f1, Some(row.predicted)].map(cell);
        [vec![row.class.clone(), row.samples.to_string()], numbers.to_vec(), vec![other, times]].concat()
    };
    super::csv_of(std::iter::once(COLUMNS.map(str::to_owned).to_vec()).chain(rows.iter().map(line)))
}

/// Back from CSV.
///
/// # Errors
/// The line that is no row of such a table.
pub fn from_csv(bytes: &[u8]) -> Result<Vec<ClassRow>> {
    let fail = |error: csv::Error| Error::invalid(error.to_string());
    let mut csv = csv::Reader::from_reader(bytes);
    if csv.headers().map_err(fail)?.iter().ne(COLUMNS) {
        return Err(Error::invalid(format!("its columns are not {}", COLUMNS.join(", "))));
    }
    let line = |(row, record): (usize, csv::Result<csv::StringRecord>)| {
        let record = record.map_err(fail)?;
        let bad = |cell: &str| Error::invalid(format!("line {}: `{cell}` is no number", row + 2));
        let share = |cell: &str| if cell.is_empty() { Ok(None) } else { cell.parse().map(Some).map_err(|_| bad(cell)) };
        let count = |cell: &str| cell.parse::<u64>().map_err(|_| bad(cell));
        Ok(ClassRow {
            class: record[0].to_owned(),
            samples: count(&record[1])?,
            recall: share(&record[2])?,
            precision: share(&record[3])?,
            f1: share(&record[4])?,
            predicted: share(&record[5])?.unwrap_or(0.0),
            mistaken: if record[7].is_empty() { None } else { Some((record[6].to_owned(), count(&record[7])?)) },
        })
    };
    csv.records().enumerate().map(line).collect()
}
