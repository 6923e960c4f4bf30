//! `skipped.jsonl`: every sample that was not used, with its reason.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use vlhub_core::{Bad, Error, Result};

/// Writes down what was skipped and counts it by reason. Clones share the file and the counts.
#[derive(Clone, Debug, Default)]
pub struct SkipLog {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    file: Option<(PathBuf, File)>,
    counts: BTreeMap<String, u64>,
    /// Found when the source was indexed, and not yet written.
    indexed: Vec<Bad>,
    begun: bool,
    warned: bool,
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

    /// Will write to a file, which stays as it is until [`SkipLog::resume`] or the first record.
    ///
    /// # Errors
    /// The file cannot be opened for writing.
    pub fn open(path: &Path) -> Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(|error| Error::io(path, error))?;
        Ok(Self { inner: Arc::new(Mutex::new(Inner { file: Some((path.to_owned(), file)), ..Inner::default() })) })
    }

    /// From now on writes to a file, as [`SkipLog::open`]; what was counted so far stays counted.
    ///
    /// # Errors
    /// The file cannot be opened for writing.
    pub fn write_to(&self, path: &Path) -> Result<()> {
        let opened = Self::open(path)?;
        self.lock().file = opened.lock().file.take();
        Ok(())
    }

    /// Begins at step `step`: lines of that step and later are taken out, because those steps run again, and so is a last line that was cut. The
    /// lines that stay are counted.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn resume(&self, step: u64) -> Result<()> {
        self.lock().begin(step)
    }

    /// Counts a sample and writes it down.
    pub fn record(&self, epoch: u64, step: u64, bad: &Bad) {
        let mut inner = self.lock();
        if let Err(error) = inner.begin_unless_begun(step) {
            inner.warn(&error.to_string());
        }
        inner.write(&Line { epoch: Some(epoch), step: Some(step), bad });
    }

    /// Takes down what was lost when a source was indexed; a run that is resumed has written that before.
    pub fn indexed(&self, problems: &[Bad]) {
        self.lock().indexed.extend_from_slice(problems);
    }

    /// Counts a sample that a caption transform dropped: on purpose, so without a line.
    pub fn dropped(&self, transform: &str) {
        *self.lock().counts.entry(format!("dropped by {transform}")).or_default() += 1;
    }

    /// How many there were of each reason.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let inner = self.lock();
        let mut counts = inner.counts.clone();
        for bad in &inner.indexed {
            *counts.entry(bad.reason.to_owned()).or_default() += 1;
        }
        counts
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn begin_unless_begun(&mut self, step: u64) -> Result<()> {
        if self.begun { Ok(()) } else { self.begin(step) }
    }

    fn begin(&mut self, step: u64) -> Result<()> {
        self.begun = true;
        self.counts.retain(|reason, _| reason.starts_with("dropped by "));
        let mut kept = 0;
        if let Some((path, file)) = &mut self.file {
            kept = keep(file, step, &mut self.counts).map_err(|error| Error::io(&*path, error))?;
        }
        let indexed = std::mem::take(&mut self.indexed);
        if kept == 0 {
            for bad in &indexed {
                self.write(&Line { epoch: None, step: None, bad });
            }
        }
        Ok(())
    }

    fn write(&mut self, line: &Line<'_>) {
        *self.counts.entry(line.bad.reason.to_owned()).or_default() += 1;
        let Some((path, file)) = &mut self.file else { return };
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        if let Err(error) = file.write_all(&text) {
            let message = format!("{}: {error}", path.display());
            self.warn(&message);
        }
    }

    /// A full disk must not end a run for a list of bad samples, and must not be said a thousand times.
    fn warn(&mut self, message: &str) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!("{message}; samples that are skipped from here on are counted, but not all are listed");
        }
    }
}

/// Cuts the file after the lines before step `step`, counts them, and says how many bytes they are.
fn keep(file: &mut File, step: u64, counts: &mut BTreeMap<String, u64>) -> std::io::Result<u64> {
    let mut kept = 0;
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::new(&mut *file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = reader.read_until(b'\n', &mut line)?;
        // Steps never decrease in a file, so the first line that must go ends what stays. At step 0 everything goes.
        let read = line.ends_with(b"\n").then(|| serde_json::from_slice::<Read>(&line).ok()).flatten();
        let Some(read) = read.filter(|read| step > 0 && read.step.is_none_or(|at| at < step)) else { break };
        *counts.entry(read.reason).or_default() += 1;
        kept += count as u64;
    }
    drop(reader);
    file.set_len(kept)?;
    file.seek(SeekFrom::Start(kept))?;
    Ok(kept)
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
        std::fs::write(&path, "of a run that was here before\n").expect("room");
        let log = SkipLog::open(&path).expect("a file");
        log.indexed(&[bad("a", "no caption")]);
        log.record(1, 7, &bad("b", "panic"));
        log.dropped("match");
        assert_eq!(
            lines(&path)[1],
            serde_json::json!({"epoch": 1, "step": 7, "key": "b", "place": "0.tar:512", "reason": "panic", "detail": "why"})
        );
        let counts: Vec<_> = log.counts().into_iter().collect();
        assert_eq!(counts, [("dropped by match".to_owned(), 1), ("no caption".to_owned(), 1), ("panic".to_owned(), 1)]);
    }

    #[test]
    fn a_resumed_run_repeats_no_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("skipped.jsonl");
        let log = SkipLog::open(&path).expect("a new file");
        log.indexed(&[bad("index", "no caption")]);
        log.resume(0).expect("an empty file");
        for step in [1, 4, 5, 6] {
            log.record(0, step, &bad(&step.to_string(), "panic"));
        }
        std::fs::OpenOptions::new().append(true).open(&path).expect("it is there").write_all(b"{\"epoch\":0,\"st").expect("room");
        let log = SkipLog::open(&path).expect("it is there");
        log.indexed(&[bad("index", "no caption")]);
        log.resume(5).expect("it is there");
        log.record(0, 5, &bad("5", "panic"));
        let keys: Vec<_> = lines(&path).iter().map(|line| line["key"].as_str().unwrap_or_default().to_owned()).collect();
        assert_eq!(keys, ["index", "1", "4", "5"]);
        assert_eq!((log.counts()["panic"], log.counts()["no caption"]), (3, 1), "what stayed is counted again");
    }
}
