//! A file that several threads read, each at places of its own.
//!
//! `parquet` reads a `std::fs::File` through clones of its handle, which share one position; threads that read one file move it under each other.

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// An open file and its length.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    file: Arc<File>,
    length: u64,
}

impl Placed {
    /// Opens a file.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), length })
    }
}

impl Length for Placed {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Placed {
    type T = BufReader<PlacedRead>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::new(PlacedRead { file: Arc::clone(&self.file), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // A file may say any length of itself, so what is there is asked for before memory is taken.
        if start.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} of a file of {} bytes", self.length)));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// Reads on from a place.
#[derive(Debug)]
pub(crate) struct PlacedRead {
    file: Arc<File>,
    at: u64,
}

impl Read for PlacedRead {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
