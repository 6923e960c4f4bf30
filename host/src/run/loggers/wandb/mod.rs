//! Weights & Biases: an offline run that `wandb sync` sends, and `wandb leet` shows.
//!
//! ```text
//! wandb/offline-run-YYYYMMDD_HHMMSS-ID/run-ID.wandb
//!                                      files/{config.toml, config.yaml, wandb-metadata.json, wandb-summary.json, media/images/…}
//! ```
//!
//! A row of the history is a step, and nothing is ever added to a row that stands in the file. So the row of a step is held back until the next
//! step begins; what a process that was killed held back is found in the run's own JSON lines.

mod names;
mod records;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use vlhub_core::{Error, Result};

use super::super::folder::plain;
use super::super::jsonl;
use super::redact::{redacted_arguments, redacted_options};
use super::state::{LoggerState, WandbState};
use super::{LogRecord, LoggerEnd, RunAbout, RunEnding, RunLogger, seconds};
use crate::config::document::to_toml;
use crate::config::log::WandbConfig;
use names::{RunNames, Variables};
use records::{EarlierRecord, RecordMaker};
use store::WandbStore;

/// Names and values (JSON) of a row.
type HistoryRow = Vec<(String, String)>;

/// Writes an offline run.
#[derive(Debug)]
pub(super) struct WandbLogger {
    folder: PathBuf,
    started: f64,
    maker: RecordMaker,
    store: WandbStore,
    /// The row of the step that is not over.
    row: Option<(u64, HistoryRow)>,
    /// The latest values.
    summary: BTreeMap<String, String>,
}

impl WandbLogger {
    /// Begins an offline run, or goes on with that of the run. `None` where `WANDB_MODE` is `disabled`.
    ///
    /// # Errors
    /// The file and why it cannot be written, or an id that W&B does not take.
    pub fn open(about: &RunAbout<'_>, config: &WandbConfig) -> Result<Option<Self>> {
        let arguments: Vec<String> = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
        Self::with(about, config, &|name| std::env::var(name).ok().filter(|value| !value.is_empty()), &arguments)
    }

    fn with(about: &RunAbout<'_>, config: &WandbConfig, variables: Variables<'_>, arguments: &[String]) -> Result<Option<Self>> {
        if names::is_disabled(variables) {
            tracing::info!("wandb: WANDB_MODE is `disabled`, so nothing is written");
            return Ok(None);
        }
        let mut state = LoggerState::of(about.folder);
        let run = match &state.wandb {
            Some(run) => run.clone(),
            None => {
                let (id, time) = (names::id(variables)?, jiff::Zoned::now().strftime("%Y%m%d_%H%M%S").to_string());
                let folder = std::path::absolute(names::folder(variables, about.folder).join(format!("offline-run-{time}-{id}")));
                let folder = folder.map_err(|error| Error::io(about.folder, error))?;
                let run = WandbState { id, folder, started: seconds() };
                // The run's folder may be moved, and its offline run with it.
                let relative = run.folder.strip_prefix(std::path::absolute(about.folder).unwrap_or_default()).map(Path::to_owned);
                state.wandb = Some(WandbState { folder: relative.unwrap_or_else(|_| run.folder.clone()), ..run.clone() });
                state.save(about.folder)?;
                run
            }
        };
        let folder = about.folder.join(&run.folder);
        let names = RunNames::new(config, variables, about.name);
        // Whoever syncs the run sends what is written here.
        let (options, arguments, started) = (redacted_options(about.options), redacted_arguments(arguments), run.started);
        write_files(&folder.join("files"), &options, &names.host, &arguments, started)?;
        let path = folder.join(format!("run-{}.wandb", run.id));
        let mut maker = RecordMaker { id: run.id, made: 0 };
        let earlier = if path.exists() { Earlier::read(&path, about.resumed.unwrap_or(0))? } else { Earlier::default() };
        let Earlier { mut kept, row, last, summary, .. } = earlier;
        maker.made = earlier.made;
        if kept.is_empty() {
            kept = vec![
                maker.header(),
                maker.run(&names, &options, started),
                maker.environment(&names.host, &arguments, started),
                maker.file("config.toml"),
            ];
        } else {
            // What was sent before is to be sent again.
            std::fs::remove_file(path.with_extension("wandb.synced")).ok();
            kept.extend([maker.config(&options), maker.summary(summary.iter())]);
        }
        let store = WandbStore::create(path, &kept)?;
        let mut this = Self { folder, started, maker, store, row, summary };
        about.past.iter().filter(|record| last.is_none_or(|last| record.step() > last)).try_for_each(|record| this.write(record))?;
        Ok(Some(this))
    }

    /// Adds values to the row of a step.
    fn add(&mut self, step: u64, values: HistoryRow) -> Result<()> {
        let flushed = match &self.row {
            Some((held, _)) if *held > step => return Err(Error::invalid(format!("a number of step {step} came after step {held}"))),
            Some((held, _)) if *held < step => self.flush(),
            _ => Ok(()),
        };
        let now = seconds();
        let times = [("_timestamp", now), ("_runtime", now - self.started)].map(|(name, value)| (name.to_owned(), records::json(value)));
        let (_, row) = self.row.get_or_insert_with(|| (step, Vec::new()));
        for (name, value) in values.into_iter().chain(times) {
            match row.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => row.push((name, value)),
            }
        }
        flushed
    }

    /// Writes the row that was held back.
    fn flush(&mut self) -> Result<()> {
        let Some((step, row)) = self.row.take() else { return Ok(()) };
        let mut latest = row.clone();
        latest.push(("_step".into(), step.to_string()));
        self.store.append(&self.maker.summary(latest.iter().map(|(key, value)| (key, value))))?;
        self.summary.extend(latest);
        self.store.append(&self.maker.history(step, &row))
    }

    /// Writes a picture, and what the history says of it.
    fn image(&mut self, tag: &str, step: u64, (width, height): (u32, u32), png: &[u8]) -> Result<()> {
        let digest: String = Sha256::digest(png).iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("media/images/{}_{step}_{}.png", plain(tag), &digest[..20]);
        let path = self.folder.join("files").join(&name);
        make_folder(path.parent().unwrap_or(&self.folder))?;
        jsonl::replace(&path, png)?;
        self.store.append(&self.maker.file(&name))?;
        let about = json!({
            "_type": "image-file", "path": name, "format": "png", "width": width, "height": height, "sha256": digest, "size": png.len(),
        });
        self.add(step, vec![(tag.to_owned(), about.to_string())])
    }
}

impl RunLogger for WandbLogger {
    fn name(&self) -> &'static str {
        "wandb"
    }

    fn write(&mut self, record: &LogRecord) -> Result<()> {
        let mut row: HistoryRow = record.scalars().into_iter().map(|(name, value)| (name, records::json(value))).collect();
        match record {
            LogRecord::Image { tag, step, size, png } => return self.image(tag, *step, *size, png),
            LogRecord::Step { epoch, .. } => row.push(("epoch".into(), epoch.to_string())),
            LogRecord::Evaluation { .. } => {}
            LogRecord::Embeddings { .. } => return Ok(()),
        }
        self.add(record.step(), row)
    }

    fn finish(&mut self, ending: RunEnding) -> Result<LoggerEnd> {
        self.flush()?;
        let latest: Vec<String> = self.summary.iter().map(|(key, value)| format!("{}: {value}", Value::from(key.as_str()))).collect();
        jsonl::replace(&self.folder.join("files/wandb-summary.json"), format!("{{{}}}", latest.join(", ")).as_bytes())?;
        // A run that a signal stopped is not over.
        let code = match ending {
            RunEnding::Finished => Some(0),
            RunEnding::Failed => Some(1),
            RunEnding::Stopped => None,
        };
        if let Some(code) = code {
            self.store.append(&self.maker.exit(code, seconds() - self.started))?;
        }
        let advice = format!("`wandb sync {}` sends this run, `wandb leet` shows it", self.folder.display());
        Ok(LoggerEnd { lost: 0, advice: Some(advice) })
    }
}

/// What an earlier life of a run has left in its file.
#[derive(Debug, Default)]
struct Earlier {
    /// Records that stay.
    kept: Vec<Vec<u8>>,
    /// The number of the last record.
    made: u64,
    /// The row of the committed step, to which the resumed run may add.
    row: Option<(u64, HistoryRow)>,
    /// The step of the last row that stays.
    last: Option<u64>,
    /// The latest values of the rows that stay.
    summary: BTreeMap<String, String>,
}

impl Earlier {
    /// Reads a file, and leaves out rows of steps after the committed one.
    fn read(path: &Path, committed: u64) -> Result<Self> {
        let mut this = Self::default();
        for record in store::read(path)? {
            this.made = this.made.max(records::place(&record));
            match records::earlier(&record) {
                Some(EarlierRecord::Row(step, row)) if step <= committed => {
                    this.last = this.last.max(Some(step));
                    this.summary.extend(row.iter().cloned().chain([("_step".to_owned(), step.to_string())]));
                    if step == committed {
                        this.row = Some((step, row));
                    } else {
                        this.kept.push(record);
                    }
                }
                Some(EarlierRecord::Kept) => this.kept.push(record),
                Some(EarlierRecord::Row(..) | EarlierRecord::Ended) | None => {}
            }
        }
        Ok(this)
    }
}

/// The files that belong to every run of W&B.
fn write_files(folder: &Path, options: &Map<String, Value>, host: &str, arguments: &[String], started: f64) -> Result<()> {
    make_folder(folder)?;
    let mut yaml = String::from("_wandb:\n    value: {}\n");
    // Every JSON value is YAML.
    options.iter().for_each(|(key, value)| yaml += &format!("{}:\n    value: {value}\n", Value::from(key.as_str())));
    let time = jiff::Timestamp::from_second(started as i64).map(|time| time.to_string()).unwrap_or_default();
    let about = json!({ "os": std::env::consts::OS, "host": host, "program": "vlhub", "args": arguments, "startedAt": time });
    jsonl::replace(&folder.join("config.toml"), to_toml(options).as_bytes())?;
    jsonl::replace(&folder.join("config.yaml"), yaml.as_bytes())?;
    jsonl::replace(&folder.join("wandb-metadata.json"), format!("{about:#}").as_bytes())
}

fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))
}

#[cfg(test)]
mod tests {
    use vlhub_core::Metric;

    use super::super::super::folder::Measurement;
    use super::*;
    use crate::formats::WeightSet;

    fn open(folder: &Path, resumed: Option<u64>, past: Vec<LogRecord>) -> WandbLogger {
        let options = Map::from_iter([("seed".to_owned(), json!(3))]);
        let about = RunAbout { name: "a", folder, options: &options, toml: "", resumed, past };
        WandbLogger::with(&about, &WandbConfig::default(), &|_| None, &[]).expect("it can be written").expect("it is not disabled")
    }

    fn step(step: u64) -> LogRecord {
        LogRecord::Step { step, epoch: 0, values: vec![("loss".into(), 1.0 / step as f64)] }
    }

    fn evaluation(step: u64) -> LogRecord {
        let metrics = vec![Metric { name: "R@1".into(), value: 0.5, chance: None, interval: None }];
        let place = Measurement { step, epoch: 1, weights: WeightSet::Raw };
        LogRecord::Evaluation { suite: "shapes".into(), place, metrics }
    }

    /// Step, loss and measurement.
    type FoundRow = (u64, Option<String>, Option<String>);

    /// Every row, and how many records end the file.
    fn rows(folder: &Path) -> (Vec<FoundRow>, usize) {
        let run = LoggerState::of(folder).wandb.expect("it is remembered");
        let records = store::read(&folder.join(run.folder).join(format!("run-{}.wandb", run.id))).expect("it can be read");
        let ends = records.iter().filter(|record| super::super::protobuf::field(record, 18).is_some()).count();
        let rows = records.iter().filter_map(|record| match records::earlier(record) {
            Some(EarlierRecord::Row(step, row)) => {
                let value = |key: &str| row.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
                Some((step, value("train/loss"), value("val/shapes-R@1")))
            }
            _ => None,
        });
        (rows.collect(), ends)
    }

    #[test]
    fn a_run_that_was_killed_and_resumed_has_every_step_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut logger = open(folder.path(), None, Vec::new());
        for record in [step(1), step(2), evaluation(2), step(3), step(4), evaluation(4), step(5)] {
            logger.write(&record).expect("it can be written");
        }
        let loss = |step: u64| Some(records::json(1.0 / step as f64));
        let found = Some("0.5".to_owned());
        let early = [(1, loss(1), None), (2, loss(2), found.clone()), (3, loss(3), None), (4, loss(4), found.clone())];
        assert_eq!(rows(folder.path()), (early.to_vec(), 0), "step 5 may still be measured");
        // Killed; step 2 was committed.
        drop(logger);
        let mut logger = open(folder.path(), Some(2), vec![step(1), step(2), evaluation(2)]);
        logger.write(&step(3)).expect("it can be written");
        drop(logger);
        // Killed before step 4; step 3 was committed, and only the JSON lines have it.
        let mut logger = open(folder.path(), Some(3), vec![step(1), step(2), evaluation(2), step(3)]);
        logger.write(&evaluation(3)).expect("a measurement that was owed");
        logger.write(&step(4)).expect("it can be written");
        logger.finish(RunEnding::Finished).expect("it can be written");
        let whole = [(1, loss(1), None), (2, loss(2), found.clone()), (3, loss(3), found.clone()), (4, loss(4), None)];
        assert_eq!(rows(folder.path()), (whole.to_vec(), 1));
        // Finished, and then carried on.
        let mut logger = open(folder.path(), Some(4), Vec::new());
        logger.write(&step(5)).expect("it can be written");
        logger.finish(RunEnding::Stopped).expect("it can be written");
        assert_eq!(rows(folder.path()), ([&whole[..], &[(5, loss(5), None)]].concat(), 0));
        assert_eq!(std::fs::read_dir(folder.path().join("wandb")).expect("it is there").count(), 1, "one offline run");
    }

    #[test]
    fn a_logger_that_begins_in_the_middle_writes_what_was_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut logger = open(folder.path(), Some(2), vec![step(1), step(2)]);
        let about = json!({ "_type": "image-file", "width": 2 });
        logger
            .write(&LogRecord::Image { tag: "batch", step: 2, size: (2, 1), png: std::sync::Arc::new(b"png".to_vec()) })
            .expect("written");
        logger.write(&step(3)).expect("it can be written");
        logger.finish(RunEnding::Finished).expect("it can be written");
        assert_eq!(rows(folder.path()).0.iter().map(|(step, ..)| *step).collect::<Vec<_>>(), [1, 2, 3]);
        let summary = std::fs::read_to_string(logger.folder.join("files/wandb-summary.json")).expect("it is there");
        let summary: Value = serde_json::from_str(&summary).expect("it is JSON");
        assert_eq!((&summary["_step"], &summary["train/loss"]), (&json!(3), &json!(1.0 / 3.0)));
        for key in ["_type", "width"] {
            assert_eq!(summary["batch"][key], about[key]);
        }
        let picture = logger.folder.join("files").join(summary["batch"]["path"].as_str().expect("a path"));
        assert_eq!(std::fs::read(picture).expect("it is there"), b"png");
        assert!(
            WandbLogger::with(
                &RunAbout { name: "a", folder: folder.path(), options: &Map::new(), toml: "", resumed: None, past: Vec::new() },
                &WandbConfig::default(),
                &|name| (name == "WANDB_MODE").then(|| "disabled".to_owned()),
                &[]
            )
            .expect("nothing is written")
            .is_none()
        );
    }

    #[test]
    fn secrets_of_the_command_line_are_in_no_file_that_is_sent() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Map::new();
        let about = RunAbout { name: "a", folder: folder.path(), options: &options, toml: "", resumed: None, past: Vec::new() };
        let arguments = ["data.train.shards=pipe:curl -H 'Authorization: Bearer hunter2' https://h/a", "--hub-token", "hunter2"];
        let logger = WandbLogger::with(&about, &WandbConfig::default(), &|_| None, &arguments.map(str::to_owned))
            .expect("it can be written")
            .expect("it is not disabled");
        let run = LoggerState::of(folder.path()).wandb.expect("it is remembered");
        for file in [format!("run-{}.wandb", run.id), "files/wandb-metadata.json".to_owned()] {
            let bytes = std::fs::read(logger.folder.join(&file)).expect("it is there");
            let text = String::from_utf8_lossy(&bytes);
            assert!(text.contains("data.train.shards=pipe:curl …") && !text.contains("hunter2"), "{file}: {text}");
        }
    }
}
