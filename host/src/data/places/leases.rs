//! Which files of the cache a living process reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::files::nonce;

/// The lease of this process in each cache that it uses: a file that it keeps locked, with a line for each file that it reads. The lock goes with
/// the process, however that ends, and one open file is enough for any number of shards.
static LEASES: Mutex<BTreeMap<PathBuf, File>> = Mutex::new(BTreeMap::new());

/// Notes that this process reads a file until it ends.
pub(super) fn add(folder: &Path, key: &str) -> io::Result<()> {
    let mut leases = LEASES.lock().unwrap_or_else(PoisonError::into_inner);
    if !leases.contains_key(folder) {
        let file = OpenOptions::new().create_new(true).append(true).open(folder.join(nonce()))?;
        match file.try_lock() {
            // Without locks nobody can tell who lives, and nothing is evicted.
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
            _ => drop(leases.insert(folder.to_owned(), file)),
        }
    }
    leases.get_mut(folder).map_or(Ok(()), |file| file.write_all(format!("{key}\n").as_bytes()))
}

/// What living processes read. Leases of those that are gone are removed.
pub(super) fn held(folder: &Path) -> io::Result<BTreeSet<String>> {
    let mut held = BTreeSet::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let file = File::open(&path)?;
        if file.try_lock().is_ok() {
            std::fs::remove_file(&path)?;
        } else {
            held.extend(io::read_to_string(file)?.lines().map(str::to_owned));
        }
    }
    Ok(held)
}
