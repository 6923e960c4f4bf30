//! A file to which whole records are added.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use vlhub_core::{Error, Result};

/// A file to which records are added, each with one write. A record that could not be written whole is taken back, so that what is added later,
/// when the disk has room again, can be read.
#[derive(Debug)]
pub(super) struct RecordFile {
    file: File,
    path: PathBuf,
    length: u64,
}

impl RecordFile {
    /// Opens a file for adding records to its end, and makes it when it is not there.
    ///
    /// # Errors
    /// The file and why it cannot be opened.
    pub fn open(path: PathBuf) -> Result<Self> {
        let fail = |error| Error::io(&path, error);
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(fail)?;
        let length = file.metadata().map_err(fail)?.len();
        Ok(Self { file, path, length })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// The file and why it cannot be written; then the file is as it was.
    pub fn append(&mut self, record: &[u8]) -> Result<()> {
        if let Err(error) = self.file.write_all(record) {
            self.file.set_len(self.length).ok();
            return Err(Error::io(&self.path, error));
        }
        self.length += record.len() as u64;
        Ok(())
    }

    /// Bytes in the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
