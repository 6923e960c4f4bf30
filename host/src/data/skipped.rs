//! `skipped.jsonl`: every sample that was not used, with its reason.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use vlhub_core::{Error, Result};

use super::Bad;

/// Writes down what was skipped and counts it by reason. Clones share the file and the counts.
#[derive(Clone, Debug, Default)]
pub struct SkipLog {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    file: Option<(PathBuf, File)>,
    counts: BTreeMap<String, u64>,
    resumed: bool,
    failed: bool,
}

/// One line of `skipped.jsonl`.
#[derive(Serialize)]
struct Line<'a> {
    epoch: Option<u64>,
    step: Option<u64>,
    #[serde(flatten)]
    bad: &'a Bad,
}

/// What is read back of a line: a line of another version may have more.
#[derive(Deserialize)]
struct Read {
    step: Option<u64>,
    reason: String,
}

impl SkipLog {
    /// Counts without writing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Starts a new file.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|error| Error::io(path, error))?;
        Ok(Self { inner: Arc::new(Mutex::new(Inner { file: Some((path.to_owned(), file)), ..Inner::default() })) })
    }

    /// Goes on with a file: lines of step `step` and later are taken out, because those steps run again, and so is a last line that was cut. The
    /// lines that stay are counted. Without a file it starts one.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn resume(path: &Path, step: u64) -> Result<Self> {
        let io = |error| Error::io(path, error);
        if !path.exists() {
            return Self::create(path);
        }
        let mut counts = BTreeMap::new();
        let mut keep = 0;
        let mut reader = BufReader::new(File::open(path).map_err(io)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let count = reader.read_until(b'\n', &mut line).map_err(io)?;
            // Steps never decrease in a file, so the first line that must go ends what stays.
            let Some(read) = line.ends_with(b"\n").then(|| serde_json::from_slice::<Read>(&line).ok()).flatten() else { break };
            if read.step.is_some_and(|at| at >= step) {
                break;
            }
            *counts.entry(read.reason).or_default() += 1;
            keep += count as u64;
        }
        let mut file = OpenOptions::new().write(true).open(path).map_err(io)?;
        file.set_len(keep).map_err(io)?;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).map_err(io)?;
        Ok(Self { inner: Arc::new(Mutex::new(Inner { file: Some((path.to_owned(), file)), counts, resumed: keep > 0, failed: false })) })
    }

    /// Counts a sample and writes it down.
    pub fn record(&self, epoch: u64, step: u64, bad: &Bad) {
        self.lock().write(&Line { epoch: Some(epoch), step: Some(step), bad });
    }

    /// Writes down what was lost when a source was indexed; a run that was resumed did that before.
    pub fn indexed(&self, problems: &[Bad]) {
        let mut inner = self.lock();
        if !inner.resumed {
            for bad in problems {
                inner.write(&Line { epoch: None, step: None, bad });
            }
        }
    }

    /// Counts a sample that a caption transform dropped: on purpose, so without a line.
    pub fn dropped(&self, transform: &str) {
        *self.lock().counts.entry(format!("dropped by {transform}")).or_default() += 1;
    }

    /// How many there were of each reason.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().counts.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, line: &Line<'_>) {
        *self.counts.entry(line.bad.reason.to_owned()).or_default() += 1;
        let Some((path, file)) = &mut self.file else { return };
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        if let Err(error) = file.write_all(&text) {
            // A full disk must not end a run for a list of bad samples, and must not be said a thousand times.
            if !std::mem::replace(&mut self.failed, true) {
                tracing::warn!("{}: {error}; samples that are skipped from here on are counted, but not all are listed", path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(key: &str, reason: &'static str) -> Bad {
        Bad { key: key.into(), place: "0.tar:512".into(), reason, detail: "why".into() }
    }

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).expect("it is there");
        text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }

    #[test]
    fn a_line_says_when_where_and_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("skipped.jsonl");
        let log = SkipLog::create(&path).expect("a new file");
        log.indexed(&[bad("a", "no caption")]);
        log.record(1, 7, &bad("b", "panic"));
        log.dropped("match");
        assert_eq!(lines(&path)[1], serde_json::json!({"epoch": 1, "step": 7, "key": "b", "place": "0.tar:512", "reason": "panic", "detail": "why"}));
        let counts: Vec<_> = log.counts().into_iter().collect();
        assert_eq!(counts, [("dropped by match".to_owned(), 1), ("no caption".to_owned(), 1), ("panic".to_owned(), 1)]);
    }

    #[test]
    fn a_resumed_run_repeats_no_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("skipped.jsonl");
        let log = SkipLog::resume(&path, 5).expect("no file yet: a new one");
        log.indexed(&[bad("index", "no caption")]);
        for step in [1, 4, 5, 6] {
            log.record(0, step, &bad(&step.to_string(), "panic"));
        }
        std::fs::OpenOptions::new().append(true).open(&path).expect("it is there").write_all(b"{\"epoch\":0,\"st").expect("room");
        let log = SkipLog::resume(&path, 5).expect("it is there");
        log.indexed(&[bad("index", "no caption")]);
        log.record(0, 5, &bad("5", "panic"));
        let keys: Vec<_> = lines(&path).iter().map(|line| line["key"].as_str().unwrap_or_default().to_owned()).collect();
        assert_eq!(keys, ["index", "1", "4", "5"]);
        assert_eq!(log.counts()["panic"], 3, "what stayed is counted again");
    }
}
