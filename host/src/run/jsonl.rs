//! One JSON object per line: a kill may tear the last line, never an earlier one.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use vlhub_core::{Error, Result};

/// A file to which lines are added.
#[derive(Debug)]
pub struct Jsonl {
    file: File,
    path: PathBuf,
}

impl Jsonl {
    /// Opens a file for adding lines; drops a torn last line first.
    ///
    /// # Errors
    /// The file and why it cannot be opened.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let fail = |error| Error::io(&path, error);
        if path.exists() {
            let bytes = std::fs::read(&path).map_err(fail)?;
            let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            if whole < bytes.len() {
                let file = OpenOptions::new().write(true).open(&path).map_err(fail)?;
                file.set_len(whole as u64).map_err(fail)?;
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(fail)?;
        Ok(Self { file, path })
    }

    /// Adds one line, with one write.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn append(&mut self, line: &impl Serialize) -> Result<()> {
        let mut bytes = serde_json::to_vec(line).map_err(|error| Error::io(&self.path, error.into()))?;
        bytes.push(b'\n');
        self.file.write_all(&bytes).map_err(|error| Error::io(&self.path, error))
    }
}

/// The lines that parse, and how many do not. A file that is not there has none.
///
/// # Errors
/// The file and why it cannot be read.
pub fn read(path: &Path) -> Result<(Vec<Value>, usize)> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(Error::io(path, error)),
    };
    let mut torn = 0;
    let lines = bytes
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .filter_map(|line| serde_json::from_slice(line).inspect_err(|_| torn += 1).ok())
        .collect();
    Ok((lines, torn))
}

/// Drops lines of steps after `step`, and lines that are torn, so that a resumed run writes no step twice. Replaces the file in one step.
///
/// # Errors
/// The file and why it cannot be read or written.
pub fn truncate(path: &Path, step: u64) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    let stays = |line: &[u8]| {
        let line = serde_json::from_slice::<Value>(line).ok();
        line.is_some_and(|line| line.get("step").and_then(Value::as_u64).is_none_or(|at| at <= step))
    };
    let mut kept = Vec::new();
    for line in bytes.split(|&byte| byte == b'\n').filter(|line| stays(line)) {
        // As it stands: a number that is read and written again may lose its last digit.
        kept.extend_from_slice(line);
        kept.push(b'\n');
    }
    replace(path, &kept)
}

/// Replaces a small file in one step.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    crate::files::replaceable(path)?;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".tmp-{}", std::process::id()));
    let temporary = path.with_file_name(name);
    std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path)).map_err(|error| {
        std::fs::remove_file(&temporary).ok();
        Error::io(path, error)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_torn_tail_and_uncommitted_steps_are_dropped() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("metrics.jsonl");
        let text = "{\"step\":1}\n{\"step\":2}\n{\"note\":\"no step\"}\n{\"st\u{0}\n{\"step\":3}\n{\"step\":4,\"lo";
        std::fs::write(&path, text).expect("it can be written");
        assert_eq!(
            read(&path).expect("it is there"),
            (vec![json!({"step":1}), json!({"step":2}), json!({"note":"no step"}), json!({"step":3})], 2)
        );
        let mut file = Jsonl::open(&path).expect("it can be opened");
        file.append(&json!({"step": 5})).expect("it can be written");
        let (lines, torn) = read(&path).expect("it is there");
        assert_eq!((lines.last(), lines.len(), torn), (Some(&json!({"step":5})), 5, 1), "the new line does not run into the torn one");
        truncate(&path, 2).expect("it can be cut");
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "{\"step\":1}\n{\"step\":2}\n{\"note\":\"no step\"}\n");
        truncate(&dir.path().join("none"), 2).expect("no file is no lines");
    }

    #[test]
    fn what_stays_keeps_every_digit() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("metrics.jsonl");
        // 20.31359481811523, as serde_json reads the first, is another number.
        let kept = "{\"step\":1,\"grad_norm\":20.313594818115234}\n{\"step\":2,\"loss\":2.50}\n";
        std::fs::write(&path, format!("{kept}{{\"step\":3}}\n")).expect("it can be written");
        truncate(&path, 2).expect("it can be cut");
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), kept);
    }

    #[test]
    fn numbers_that_are_not_finite_are_null() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.jsonl");
        Jsonl::open(&path).expect("it can be opened").append(&json!({"loss": f64::NAN})).expect("it can be written");
        assert_eq!(read(&path).expect("it is there").0, [json!({"loss": null})]);
    }
}
