//! `metrics.csv`, with a row for each recorded step, and `evaluations.csv`, with a row for each number that a suite found.

use std::path::{Path, PathBuf};

use vlhub_core::{Error, Metric, Result};

use super::super::folder::Measurement;
use super::super::jsonl;
use super::record_file::RecordFile;
use super::{LogRecord, LoggerEnd, RunAbout, RunEnding, RunLogger, past};

/// Columns of `evaluations.csv`.
const EVALUATION: [&str; 7] = ["name", "step", "epoch", "weights", "metric", "value", "chance"];

/// Writes both files. They are made anew from the JSON lines when a run starts or goes on, and when a number appears that has no column yet, so
/// rows are never doubled or torn.
#[derive(Debug)]
pub(super) struct CsvLogger {
    folder: PathBuf,
    columns: Vec<String>,
    metrics: RecordFile,
    evaluations: RecordFile,
}

impl CsvLogger {
    /// Writes what the run has recorded so far.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn open(about: &RunAbout<'_>) -> Result<Self> {
        let [metrics, evaluations] = [about.folder.join("metrics.csv"), about.folder.join("evaluations.csv")];
        let columns = rebuild(&metrics, &about.past)?;
        let mut rows = line(&metrics, EVALUATION.map(str::to_owned))?;
        for record in &about.past {
            if let LogRecord::Evaluation { suite, place, metrics } = record {
                rows.extend(evaluation(&evaluations, suite, *place, metrics)?);
            }
        }
        jsonl::replace(&evaluations, &rows)?;
        let (metrics, evaluations) = (RecordFile::open(metrics)?, RecordFile::open(evaluations)?);
        Ok(Self { folder: about.folder.to_owned(), columns, metrics, evaluations })
    }
}

impl RunLogger for CsvLogger {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn write(&mut self, record: &LogRecord) -> Result<()> {
        match record {
            LogRecord::Step { values, .. } if values.iter().any(|(name, _)| !self.columns.contains(name)) => {
                // The JSON lines have this step already.
                let path = self.metrics.path().to_owned();
                self.columns = rebuild(&path, &past::records(&self.folder)?)?;
                self.metrics = RecordFile::open(path)?;
                Ok(())
            }
            LogRecord::Step { step, epoch, values } => {
                let row = line(self.metrics.path(), row(&self.columns, *step, *epoch, values))?;
                self.metrics.append(&row)
            }
            LogRecord::Evaluation { suite, place, metrics } => {
                let rows = evaluation(self.evaluations.path(), suite, *place, metrics)?;
                self.evaluations.append(&rows)
            }
            LogRecord::Image { .. } | LogRecord::Embeddings { .. } => Ok(()),
        }
    }

    fn finish(&mut self, _: RunEnding) -> Result<LoggerEnd> {
        Ok(LoggerEnd::default())
    }
}

/// Writes `metrics.csv` as a whole. Returns its columns after `step` and `epoch`, in the order in which the numbers appeared.
fn rebuild(path: &Path, records: &[LogRecord]) -> Result<Vec<String>> {
    let steps = || {
        records.iter().filter_map(|record| match record {
            LogRecord::Step { step, epoch, values } => Some((*step, *epoch, values)),
            _ => None,
        })
    };
    let mut columns: Vec<String> = past::OWN.map(str::to_owned).to_vec();
    for (name, _) in steps().flat_map(|(.., values)| values) {
        if !columns.contains(name) {
            columns.push(name.clone());
        }
    }
    let mut text = line(path, ["step", "epoch"].into_iter().map(str::to_owned).chain(columns.iter().cloned()))?;
    for (step, epoch, values) in steps() {
        text.extend(line(path, row(&columns, step, epoch, values))?);
    }
    jsonl::replace(path, &text)?;
    Ok(columns)
}

/// The fields of a step; a number that it lacks is empty.
fn row(columns: &[String], step: u64, epoch: u64, values: &[(String, f64)]) -> Vec<String> {
    let value = |column: &String| values.iter().find(|(name, _)| name == column).map(|(_, value)| value.to_string());
    [step.to_string(), epoch.to_string()].into_iter().chain(columns.iter().map(|column| value(column).unwrap_or_default())).collect()
}

fn evaluation(path: &Path, suite: &str, place: Measurement, metrics: &[Metric]) -> Result<Vec<u8>> {
    let mut rows = Vec::new();
    for metric in metrics {
        let chance = metric.chance.map(|chance| chance.to_string()).unwrap_or_default();
        let (step, epoch) = (place.step.to_string(), place.epoch.to_string());
        let fields =
            [suite.to_owned(), step, epoch, place.weights.name().to_owned(), metric.name.clone(), metric.value.to_string(), chance];
        rows.extend(line(path, fields)?);
    }
    Ok(rows)
}

/// One line of CSV.
fn line(path: &Path, fields: impl IntoIterator<Item = String>) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields).map_err(|error| Error::io(path, error.into()))?;
    writer.into_inner().map_err(|error| Error::io(path, error.into_error()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::super::super::jsonl::Jsonl;
    use super::*;

    fn open(folder: &Path, resumed: Option<u64>) -> CsvLogger {
        let past = past::records(folder).expect("it can be read");
        let options = Map::new();
        CsvLogger::open(&RunAbout { name: "a", folder, options: &options, toml: "", resumed, past }).expect("it can be written")
    }

    fn step(folder: &Path, logger: &mut CsvLogger, step: u64, metrics: &[(&str, f64)]) {
        let named: Map<_, _> = metrics.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let line = json!({ "step": step, "epoch": 0, "loss": 0.5, "metrics": named });
        Jsonl::open(folder.join("metrics.jsonl")).expect("it can be opened").append(&line).expect("it can be written");
        let others = metrics.iter().map(|(name, value)| ((*name).to_owned(), *value));
        let values = std::iter::once(("loss".to_owned(), 0.5)).chain(others).collect();
        logger.write(&LogRecord::Step { step, epoch: 0, values }).expect("it can be written");
    }

    #[test]
    fn columns_are_added_and_resumed_runs_have_every_step_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = || std::fs::read_to_string(folder.path().join("metrics.csv")).expect("it is there");
        let own = past::OWN.join(",");
        let mut logger = open(folder.path(), None);
        assert_eq!(read(), format!("step,epoch,{own}\n"));
        step(folder.path(), &mut logger, 1, &[("b", 0.25)]);
        step(folder.path(), &mut logger, 2, &[("b", f64::NAN)]);
        step(folder.path(), &mut logger, 3, &[("a, quoted", 1.0)]);
        let expected = format!("step,epoch,{own},b,\"a, quoted\"\n1,0,0.5,,,,,0.25,\n2,0,0.5,,,,,NaN,\n3,0,0.5,,,,,,1\n");
        assert_eq!(read(), expected);
        drop(logger);
        // Step 2 was committed; the file ends in the middle of a row.
        let torn = [expected.as_bytes(), b"4,0,0."].concat();
        std::fs::write(folder.path().join("metrics.csv"), torn).expect("written");
        jsonl::truncate(&folder.path().join("metrics.jsonl"), 2).expect("it can be cut");
        let mut logger = open(folder.path(), Some(2));
        step(folder.path(), &mut logger, 3, &[("b", 0.5)]);
        assert_eq!(read(), format!("step,epoch,{own},b\n1,0,0.5,,,,,0.25\n2,0,0.5,,,,,NaN\n3,0,0.5,,,,,0.5\n"));
    }
}
