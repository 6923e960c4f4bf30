//! Index files: what a walk over a shard's headers found, so that the next run need not walk.
//!
//! `vlhub data index` writes `00000.tar.vidx` beside `00000.tar`, or into the cache folder where that place cannot be written. A file is used while
//! the shard has the size, the time of change and the first and last 16 KiB that it had; otherwise it is passed over and a note says so. It
//! is data like the shard: a checksum tells damage, every number is checked, and a sample is read only where a header of its size stands before
//! it. Nothing writes one without being asked: a run then looks at the shards as they are.
//!
//! Layout, integers little-endian: `VLHUBIDX`, version (u32), size of the shard (u64), its time of change in nanoseconds since 1970 (i128, 0 where
//! unknown), xxh3-64 of its ends (u64), length of the records (u64), the records, xxh3-128 of all before. A record is a kind and numbers of
//! seven bits a byte: 0 = member (bytes shared with the last name, length of the rest, the rest, distance from the end of the last member, size),
//! 1 = damage (offset, place in the list of reasons, length of the detail, the detail), 2 = another kind of member (place in the list of
//! kinds, length of the name, the name).

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::samples::{put, shared, take};
use crate::data::sources::tar_index::{Damage, KINDS, MAX_EXTENDED, MAX_MEMBER, Member, REASONS, TarEvent, Visit, read_full};

const MAGIC: &[u8; 8] = b"VLHUBIDX";
const VERSION: u32 = 1;
/// Bytes before the records.
const FIXED: usize = 8 + 4 + 8 + 16 + 8 + 8;
const CHECKSUM: usize = 16;
/// How much of each end of the shard is looked at.
const END: u64 = 16 << 10;

/// By what a shard is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub size: u64,
    modified: i128,
    ends: u64,
}

impl Stamp {
    /// Of an open shard.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of(file: &File) -> io::Result<Self> {
        let about = file.metadata()?;
        let size = about.len();
        let mut ends = vec![0; 2 * END as usize];
        let (head, tail) = ends.split_at_mut(END as usize);
        read_full(file, 0, head)?;
        read_full(file, size.saturating_sub(END), tail)?;
        Ok(Self { size, modified: about.modified().map_or(0, nanoseconds), ends: xxh3_64(&ends) })
    }
}

fn nanoseconds(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

/// Where the index file of a shard may be: beside it, and in the cache folder.
pub(super) fn places(shard: &Path) -> Vec<PathBuf> {
    let mut beside = shard.as_os_str().to_owned();
    beside.push(".vidx");
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    let whole = std::path::absolute(shard).unwrap_or_else(|_| shard.to_owned());
    let hash = xxh3_128(whole.as_os_str().as_encoded_bytes());
    let cached = cache.map(|cache| cache.join("vlhub/index").join(format!("{hash:032x}.vidx")));
    [Some(beside.into()), cached].into_iter().flatten().collect()
}

/// Writes down what a walk finds.
#[derive(Debug, Default)]
pub(super) struct IndexRecorder {
    records: Vec<u8>,
    name: Vec<u8>,
    end: u64,
}

impl IndexRecorder {
    pub fn record(&mut self, found: &TarEvent<'_>) {
        let records = &mut self.records;
        match found {
            TarEvent::Member(Member { name, offset, size }) => {
                let shared = shared(&self.name, name);
                records.push(0);
                put(records, shared as u64);
                put(records, (name.len() - shared) as u64);
                records.extend_from_slice(&name[shared..]);
                put(records, offset - self.end);
                put(records, u64::from(*size));
                self.name.truncate(shared);
                self.name.extend_from_slice(&name[shared..]);
                self.end = offset + u64::from(*size);
            }
            TarEvent::Damage(Damage { offset, reason, detail }) => {
                records.push(1);
                put(records, *offset);
                put(records, REASONS.iter().position(|known| known == reason).unwrap_or_default() as u64);
                put(records, detail.len() as u64);
                records.extend_from_slice(detail.as_bytes());
            }
            TarEvent::Other { kind, name } => {
                records.push(2);
                put(records, KINDS.iter().position(|known| known == kind).unwrap_or_default() as u64);
                put(records, name.len() as u64);
                records.extend_from_slice(name);
            }
        }
    }

    /// The whole file.
    pub fn finish(self, stamp: &Stamp) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED + self.records.len() + CHECKSUM);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&stamp.size.to_le_bytes());
        bytes.extend_from_slice(&stamp.modified.to_le_bytes());
        bytes.extend_from_slice(&stamp.ends.to_le_bytes());
        bytes.extend_from_slice(&(self.records.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&self.records);
        let checksum = xxh3_128(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

/// The records of an index file that fits the shard as it is now.
#[derive(Debug)]
pub(super) struct IndexRecords {
    bytes: Vec<u8>,
    size: u64,
}

impl IndexRecords {
    /// Looks at a file's bytes.
    ///
    /// # Errors
    /// Why they cannot be used.
    pub fn parse(bytes: Vec<u8>, stamp: &Stamp) -> Result<Self, &'static str> {
        let (body, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or("it is cut")?;
        let (magic, rest) = body.split_first_chunk::<8>().ok_or("it is cut")?;
        if magic != MAGIC {
            return Err("it is no index file");
        }
        let (version, rest) = rest.split_first_chunk().ok_or("it is cut")?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err("it is of another version");
        }
        if xxh3_128(body) != u128::from_le_bytes(*checksum) {
            return Err("it is damaged: its checksum is wrong");
        }
        let (size, rest) = rest.split_first_chunk().ok_or("it is cut")?;
        let (modified, rest) = rest.split_first_chunk().ok_or("it is cut")?;
        let (ends, rest) = rest.split_first_chunk().ok_or("it is cut")?;
        let (length, records) = rest.split_first_chunk().ok_or("it is cut")?;
        let was = Stamp { size: u64::from_le_bytes(*size), modified: i128::from_le_bytes(*modified), ends: u64::from_le_bytes(*ends) };
        if was != *stamp {
            return Err("the shard has changed since");
        }
        if u64::from_le_bytes(*length) != records.len() as u64 {
            return Err("it is cut");
        }
        let this = Self { size: stamp.size, bytes };
        // All of it is looked at before anything is told.
        this.walk(&mut |_| ControlFlow::Continue(())).ok_or("its records make no sense")?;
        Ok(this)
    }

    /// Tells what the walk over the shard told; `None` where the records make no sense.
    pub fn walk(&self, visit: &mut Visit<'_>) -> Option<()> {
        let mut rest = self.bytes.get(FIXED..self.bytes.len().checked_sub(CHECKSUM)?)?;
        let rest = &mut rest;
        let (mut name, mut end) = (Vec::new(), 0u64);
        while let Some((kind, after)) = rest.split_first() {
            *rest = after;
            let told = match kind {
                0 => {
                    let shared = usize::try_from(take(rest)?).ok().filter(|shared| *shared <= name.len())?;
                    name.truncate(shared);
                    name.extend_from_slice(bytes(rest)?);
                    let offset = end.checked_add(take(rest)?)?;
                    let size = take(rest).filter(|size| *size <= MAX_MEMBER)?;
                    end = offset.checked_add(size).filter(|end| *end <= self.size)?;
                    if name.is_empty() || name.len() as u64 > MAX_EXTENDED {
                        return None;
                    }
                    visit(TarEvent::Member(Member { name: &name, offset, size: size as u32 }))
                }
                1 => {
                    let offset = take(rest).filter(|offset| *offset <= self.size)?;
                    let reason = REASONS.get(usize::try_from(take(rest)?).ok()?)?;
                    let detail = std::str::from_utf8(bytes(rest)?).ok()?.to_owned();
                    visit(TarEvent::Damage(Damage { offset, reason, detail }))
                }
                2 => {
                    let kind = KINDS.get(usize::try_from(take(rest)?).ok()?)?;
                    visit(TarEvent::Other { kind, name: bytes(rest)? })
                }
                _ => return None,
            };
            if told.is_break() {
                break;
            }
        }
        Some(())
    }
}

/// A length, and as many bytes.
fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

#[cfg(test)]
#[path = "index_file_tests.rs"]
mod tests;
