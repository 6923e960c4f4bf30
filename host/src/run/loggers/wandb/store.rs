//! The file `run-ID.wandb`: a log of records in LevelDB's format, as W&B's `leveldb` package writes it.
//!
//! The file begins with seven bytes: `:W&B`, the number 0xBEE1 and a version, both little-endian. It is cut into blocks of 32 KiB, the first of
//! which holds those seven bytes. A record stands in one or more chunks that do not cross blocks; a chunk is a CRC-32 (IEEE) of its type and
//! data, the length of the data (u16), the type, and the data. Fewer than seven bytes at the end of a block are zeros.

use std::path::{Path, PathBuf};

use vlhub_core::{Error, Result};

use super::super::super::jsonl;
use super::super::record_file::RecordFile;

const BLOCK: usize = 32 * 1024;
const CHUNK_HEADER: usize = 7;
const HEADER: [u8; 7] = [b':', b'W', b'&', b'B', 0xe1, 0xbe, 0];

/// Types of chunks.
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// Adds records to a `.wandb` file.
#[derive(Debug)]
pub(super) struct WandbStore(RecordFile);

impl WandbStore {
    /// Replaces the file by one with these records, and opens it for adding more.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn create(path: PathBuf, records: &[Vec<u8>]) -> Result<Self> {
        let mut bytes = HEADER.to_vec();
        for record in records {
            let chunks = chunks(bytes.len(), record);
            bytes.extend(chunks);
        }
        jsonl::replace(&path, &bytes)?;
        Ok(Self(RecordFile::open(path)?))
    }

    /// Adds a record.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn append(&mut self, record: &[u8]) -> Result<()> {
        self.0.append(&chunks((self.0.length() % BLOCK as u64) as usize, record))
    }
}

/// A record as it is written at byte `at` of the file, or of a block.
fn chunks(at: usize, record: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.len() + 2 * CHUNK_HEADER);
    let (mut rest, mut first) = (record, true);
    loop {
        let left = BLOCK - (at + out.len()) % BLOCK;
        if left < CHUNK_HEADER {
            out.resize(out.len() + left, 0);
            continue;
        }
        let (data, after) = rest.split_at(rest.len().min(left - CHUNK_HEADER));
        let kind = match (first, after.is_empty()) {
            (true, true) => FULL,
            (true, false) => FIRST,
            (false, false) => MIDDLE,
            (false, true) => LAST,
        };
        out.extend_from_slice(&checksum(kind, data).to_le_bytes());
        out.extend_from_slice(&(data.len() as u16).to_le_bytes());
        out.push(kind);
        out.extend_from_slice(data);
        (rest, first) = (after, false);
        if rest.is_empty() {
            return out;
        }
    }
}

fn checksum(kind: u8, data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(data);
    hasher.finalize()
}

/// The whole records of a file, up to the first that is torn.
///
/// # Errors
/// The file and why it cannot be read, or that it is no `.wandb` file.
pub(super) fn read(path: &Path) -> Result<Vec<Vec<u8>>> {
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    if !bytes.starts_with(&HEADER) {
        return Err(Error::invalid(format!("`{}` does not begin as a file of W&B does", path.display())));
    }
    let (mut at, mut records, mut open) = (HEADER.len(), Vec::new(), None);
    loop {
        let left = BLOCK - at % BLOCK;
        if left < CHUNK_HEADER {
            at += left;
            continue;
        }
        let Some(chunk) = chunk(bytes.get(at..).unwrap_or_default()) else { return Ok(records) };
        at += CHUNK_HEADER + chunk.1.len();
        match (chunk, open.take()) {
            ((FULL, data), None) => records.push(data.to_vec()),
            ((FIRST, data), None) => open = Some(data.to_vec()),
            ((MIDDLE, data), Some(record)) => open = Some([record, data.to_vec()].concat()),
            ((LAST, data), Some(record)) => records.push([record, data.to_vec()].concat()),
            _ => return Ok(records),
        }
    }
}

/// The type and the data of the chunk at the start of `bytes`; `None` when it is not whole.
fn chunk(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (header, rest) = bytes.split_at_checked(CHUNK_HEADER)?;
    let length = u16::from_le_bytes([header[4], header[5]]);
    let data = rest.get(..usize::from(length))?;
    let expected = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    (checksum(header[6], data) == expected).then_some((header[6], data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_framed_as_wandb_frames_it() {
        // CRC-32 of the byte 1 and `hello`, as zlib computes it.
        let expected = [0x9d, 0x23, 0xac, 0x8a, 5, 0, 1, b'h', b'e', b'l', b'l', b'o'];
        assert_eq!(chunks(7, b"hello"), expected);
    }

    #[test]
    fn records_of_every_size_are_read_again_and_a_torn_one_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run-a.wandb");
        // The first ends 0 to 7 bytes before the end of the first block: with fewer than seven left, they are filled up.
        for gap in 0..=7 {
            let sizes = [BLOCK - HEADER.len() - CHUNK_HEADER - gap, 0, 3 * BLOCK, 10];
            let records: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(at, size)| vec![at as u8 + 1; *size]).collect();
            let mut store = WandbStore::create(path.clone(), &records[..2]).expect("it can be written");
            records[2..].iter().for_each(|record| store.append(record).expect("it can be written"));
            assert_eq!(read(&path).expect("it is there"), records, "{gap}");
            let bytes = std::fs::read(&path).expect("it is there");
            std::fs::write(&path, &bytes[..bytes.len() - 1]).expect("written");
            assert_eq!(read(&path).expect("it is there"), records[..3], "{gap}");
            let mut broken = bytes.clone();
            broken[HEADER.len() + CHUNK_HEADER] ^= 1;
            std::fs::write(&path, broken).expect("written");
            assert!(read(&path).expect("it is there").is_empty(), "a checksum is wrong");
        }
        std::fs::write(&path, "something else").expect("written");
        assert!(read(&path).is_err());
    }
}
