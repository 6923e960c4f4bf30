//! `--save-results-to-csv FILE`: one table to which every evaluation adds its numbers.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use vlhub_core::{Error, Report, Result};

/// The columns of the table.
const COLUMNS: [&str; 9] = ["run", "checkpoint", "suite", "metric", "value", "low", "high", "samples", "chance"];

/// Adds a row for each metric of each suite. A table that is not there is begun with its header; a last line that was cut is dropped first.
///
/// # Errors
/// A file that begins with other columns, and stays as it is; the file and why it cannot be written.
pub fn append(file: &Path, run: &str, checkpoint: &str, reports: &[(&str, &Report)]) -> Result<()> {
    let fail = |error| Error::io(file, error);
    let there = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(fail(error)),
    };
    let header = super::csv_of([COLUMNS.to_vec()])?;
    let whole = there.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    // Without a whole line it may be a header that was cut, and nothing else: it is about to be overwritten.
    let is_ours = if whole == 0 { header.starts_with(&there) } else { there.starts_with(&header) };
    if !is_ours {
        let wanted = COLUMNS.join(",");
        return Err(Error::invalid(format!("{}: its first line is not `{wanted}`; name another file", file.display())));
    }
    let cell = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let rows = reports.iter().flat_map(|(suite, report)| {
        report.metrics.iter().map(|metric| {
            let bounds = metric.interval.map_or([None; 2], |interval| interval.map(Some));
            let numbers = [Some(metric.value), bounds[0], bounds[1]].map(cell);
            let texts = [run, checkpoint, suite, &metric.name].map(str::to_owned);
            [texts.to_vec(), numbers.to_vec(), vec![report.samples.to_string(), cell(metric.chance)]].concat()
        })
    });
    let mut bytes = if whole == 0 { header } else { Vec::new() };
    bytes.extend(super::csv_of(rows)?);
    let mut table = OpenOptions::new().write(true).create(true).truncate(false).open(file).map_err(fail)?;
    table.set_len(whole as u64).map_err(fail)?;
    table.seek(SeekFrom::End(0)).map_err(fail)?;
    // One write: a kill leaves at most a line that is cut.
    table.write_all(&bytes).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_line_break_is_refused_unless_it_is_a_header_that_was_cut() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("notes.txt");
        let mut report = Report { samples: 6, ..Report::default() };
        report.metric("top1", 0.5);
        for other in ["my only copy", "run,checkpoint,notes", "r\0"] {
            std::fs::write(&file, other).expect("written");
            let error = append(&file, "a", "a.safetensors", &[("zero", &report)]).expect_err(other).to_string();
            assert!(error.contains("notes.txt") && error.contains("name another file"), "{error}");
            assert_eq!(std::fs::read_to_string(&file).expect("there"), other, "it stays as it is");
        }
        let header = COLUMNS.join(",");
        for ours in ["", "run,check", header.as_str()] {
            std::fs::write(&file, ours).expect("written");
            append(&file, "a", "a.safetensors", &[("zero", &report)]).expect(ours);
            assert_eq!(std::fs::read_to_string(&file).expect("there"), format!("{header}\na,a.safetensors,zero,top1,0.5,,,6,\n"));
        }
    }
}
