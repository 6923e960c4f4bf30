//! Messages of `wandb_internal.proto`, each within a `Record`.

use serde_json::{Map, Value};

use super::super::protobuf::{ProtoWriter, WireValue, field, fields};
use super::names::RunNames;

/// Fields of `Record`.
const HISTORY: u64 = 2;
const SUMMARY: u64 = 3;
const CONFIG: u64 = 5;
const FILES: u64 = 6;
const RUN: u64 = 17;
const EXIT: u64 = 18;
const HEADER: u64 = 21;
const ENVIRONMENT: u64 = 26;

/// Makes records of one run, and numbers them.
#[derive(Debug)]
pub(super) struct RecordMaker {
    /// The run's id.
    pub id: String,
    /// The number of the last record that was made.
    pub made: u64,
}

impl RecordMaker {
    fn record(&mut self, kind: u64, fill: impl FnOnce(&mut ProtoWriter)) -> Vec<u8> {
        self.made += 1;
        ProtoWriter::of(|record| {
            record.varint(1, self.made);
            record.message(kind, fill);
            // _info: { stream_id }
            record.message(200, |info| info.text(1, &self.id));
        })
    }

    /// `HeaderRecord`: who wrote the file.
    pub fn header(&mut self) -> Vec<u8> {
        self.record(HEADER, |header| {
            header.message(1, |version| {
                version.text(1, concat!("vlhub/", env!("CARGO_PKG_VERSION")));
                // The version of W&B's own writer whose records these are.
                version.text(2, "0.70.0");
            });
        })
    }

    /// `RunRecord`: names and options.
    pub fn run(&mut self, names: &RunNames, options: &Map<String, Value>, started: f64) -> Vec<u8> {
        let id = self.id.clone();
        self.record(RUN, |run| {
            run.text(1, &id);
            let optional =
                [(2, &names.entity), (3, &names.project), (6, &names.group), (7, &names.job_type), (8, &names.name), (9, &names.notes)];
            optional.iter().filter(|(_, text)| !text.is_empty()).for_each(|(number, text)| run.text(*number, text));
            run.message(4, |config| updates(config, options));
            names.tags.iter().for_each(|tag| run.text(10, tag));
            run.text(13, &names.host);
            run.message(17, |time| timestamp(time, started));
        })
    }

    /// `ConfigRecord`: options that a resumed run has.
    pub fn config(&mut self, options: &Map<String, Value>) -> Vec<u8> {
        self.record(CONFIG, |config| updates(config, options))
    }

    /// `EnvironmentRecord`: the machine and the command line, without secrets.
    pub fn environment(&mut self, host: &str, arguments: &[String], started: f64) -> Vec<u8> {
        let writer = self.id.clone();
        self.record(ENVIRONMENT, |environment| {
            environment.text(1, std::env::consts::OS);
            environment.message(3, |time| timestamp(time, started));
            arguments.iter().for_each(|argument| environment.text(5, argument));
            environment.text(6, "vlhub");
            environment.text(12, host);
            environment.text(199, &writer);
        })
    }

    /// `HistoryRecord`: the row of a step. Values are JSON; `_step` is added.
    pub fn history(&mut self, step: u64, row: &[(String, String)]) -> Vec<u8> {
        self.record(HISTORY, |history| {
            let step_item = ("_step".to_owned(), step.to_string());
            for (key, json) in row.iter().chain([&step_item]) {
                history.message(1, |item| {
                    item.text(2, key);
                    item.text(16, json);
                });
            }
            history.message(2, |number| number.varint(1, step));
        })
    }

    /// `SummaryRecord`: the latest values.
    pub fn summary<'a>(&mut self, values: impl Iterator<Item = (&'a String, &'a String)>) -> Vec<u8> {
        self.record(SUMMARY, |summary| {
            for (key, json) in values {
                summary.message(1, |item| {
                    item.text(2, key);
                    item.text(16, json);
                });
            }
        })
    }

    /// `FilesRecord`: a file below `files/`, that is uploaded at once.
    pub fn file(&mut self, path: &str) -> Vec<u8> {
        self.record(FILES, |files| files.message(1, |file| file.text(1, path)))
    }

    /// `RunExitRecord`: the end.
    pub fn exit(&mut self, code: u64, seconds: f64) -> Vec<u8> {
        self.record(EXIT, |exit| {
            exit.varint(1, code);
            exit.varint(2, seconds as u64);
        })
    }
}

fn updates(config: &mut ProtoWriter, options: &Map<String, Value>) {
    for (key, value) in options {
        config.message(1, |item| {
            item.text(1, key);
            item.text(16, &value.to_string());
        });
    }
}

/// `google.protobuf.Timestamp`.
fn timestamp(message: &mut ProtoWriter, seconds: f64) {
    message.varint(1, seconds as u64);
    message.varint(2, (seconds.fract() * 1e9) as u64);
}

/// What a record of an earlier life is, for a resumed run.
#[derive(Debug, PartialEq)]
pub(super) enum EarlierRecord {
    /// The row of a step, as [`RecordMaker::history`] took it.
    Row(u64, Vec<(String, String)>),
    /// An end, or a summary: the resumed run writes its own.
    Ended,
    /// Anything else, which is kept.
    Kept,
}

/// Reads a record; `None` where it is none.
pub(super) fn earlier(record: &[u8]) -> Option<EarlierRecord> {
    let mut kind = EarlierRecord::Kept;
    for (number, value) in fields(record)? {
        match (number, value) {
            (HISTORY, WireValue::Bytes(history)) => {
                let (step, row) = history_row(history)?;
                kind = EarlierRecord::Row(step, row);
            }
            (EXIT | SUMMARY, _) => kind = EarlierRecord::Ended,
            _ => {}
        }
    }
    Some(kind)
}

fn history_row(history: &[u8]) -> Option<(u64, Vec<(String, String)>)> {
    let (mut step, mut row) = (0, Vec::new());
    for (number, value) in fields(history)? {
        match (number, value) {
            (1, WireValue::Bytes(item)) => {
                let text = |number| field(item, number).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                let key = text(2)?;
                if key != "_step" {
                    row.push((key, text(16)?));
                }
            }
            (2, WireValue::Bytes(number)) => {
                step = integer(number, 1).unwrap_or_default();
            }
            _ => {}
        }
    }
    Some((step, row))
}

/// The number of a record in its file.
pub(super) fn place(record: &[u8]) -> u64 {
    integer(record, 1).unwrap_or_default()
}

fn integer(message: &[u8], number: u64) -> Option<u64> {
    fields(message)?.into_iter().find_map(|(found, value)| match value {
        WireValue::Varint(integer) if found == number => Some(integer),
        _ => None,
    })
}

/// A number as W&B writes it: JSON, with Python's names for what JSON has not.
pub(super) fn json(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        value => Value::from(value).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written() {
        let mut maker = RecordMaker { id: "ab12".into(), made: 0 };
        let row: Vec<_> = [("train/loss", json(0.1)), ("val/a_R@1", json(f64::NAN))].map(|(key, value)| (key.to_owned(), value)).to_vec();
        let history = maker.history(0, &row);
        assert_eq!(earlier(&history), Some(EarlierRecord::Row(0, row)));
        assert_eq!(earlier(&maker.exit(0, 1.0)), Some(EarlierRecord::Ended));
        assert_eq!(earlier(&maker.file("config.toml")), Some(EarlierRecord::Kept));
        assert_eq!(earlier(b"\xff"), None);
        assert_eq!(maker.made, 3, "records are numbered");
    }

    #[test]
    fn numbers_are_json_of_python() {
        for (value, text) in [(0.1, "0.1"), (2.0, "2.0"), (1e-8, "1e-8"), (f64::NAN, "NaN"), (f64::NEG_INFINITY, "-Infinity")] {
            assert_eq!(json(value), text);
        }
    }
}
