//! The data cache: whole files under names that are hashes, shared by all runs of a user.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use vlhub_core::{Bad, Error, LocalFile, Result};

use super::leases;
use super::place::DataPlace;
use crate::files;
use crate::section::amount;

/// Most bytes, unless `VLHUB_DATA_CACHE_SIZE` says otherwise.
const LIMIT: u64 = 200 << 30;

/// A folder of files.
#[derive(Clone, Debug)]
pub struct DataCache {
    folder: PathBuf,
    limit: u64,
    /// Bytes for which there was room when the files were last counted, and that nobody has taken since.
    free: Arc<Mutex<u64>>,
}

/// Room that is looked for at once, so that not every file has all others counted.
const AHEAD: u64 = 4 << 30;

/// Names a file: a hash of what it is, so that no name of a run file or a server becomes a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    /// Of an object in a store.
    pub fn of_object(realm: &str, address: &str) -> Self {
        Self::hash(&["object", realm, address])
    }

    /// Of a local file that is unpacked; a file that changes is another.
    pub fn of_file(path: &Path) -> Result<Self> {
        let io = |error| Error::io(path, error);
        let about = std::fs::metadata(path).map_err(io)?;
        let path = std::fs::canonicalize(path).map_err(io)?;
        let time = about.modified().map_err(io)?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Self::hash(&["file", &path.to_string_lossy(), &about.len().to_string(), &time.as_nanos().to_string()]))
    }

    fn hash(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Where a compressed file is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamDamage {
    /// Bytes that could be unpacked.
    pub unpacked: u64,
    /// What is wrong.
    pub why: String,
}

/// A file of the cache.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CachedFile {
    /// Where it comes from, for people.
    pub place: String,
    /// Its size.
    pub bytes: u64,
    /// The version that the store told.
    pub version: Option<String>,
    damage: Option<StreamDamage>,
    /// The file; not a part of what is written down.
    #[serde(skip)]
    pub path: PathBuf,
    /// When it was last asked for.
    #[serde(skip)]
    pub used: Option<SystemTime>,
}

impl CachedFile {
    pub(super) fn file(self, place: &DataPlace) -> LocalFile {
        let name = place.name();
        let damage = self.damage.map(|damage| Bad {
            key: name.clone(),
            place: format!("{name}:{}", damage.unpacked),
            reason: "damaged compression",
            detail: format!("{}; the {} bytes before that are read", damage.why, damage.unpacked),
        });
        let folder = if let DataPlace::Path(path) = place { path.parent().map(Path::to_owned) } else { None };
        LocalFile { path: self.path, name, folder, damage }
    }
}

impl DataCache {
    /// The cache that `VLHUB_DATA_CACHE` names, else `data` in `VLHUB_CACHE`, or in `vlhub` in `XDG_CACHE_HOME` or `~/.cache`.
    ///
    /// # Errors
    /// No folder, or a size in `VLHUB_DATA_CACHE_SIZE` that is none.
    pub fn of_environment() -> Result<Self> {
        Self::of(&|name| std::env::var_os(name))
    }

    fn of(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self> {
        let value = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let shared = || files::cache_folder(variable).map(|folder| folder.join("data"));
        let folder = value("VLHUB_DATA_CACHE").or_else(shared);
        let folder = folder.ok_or_else(|| Error::invalid("no folder for the data cache: set `VLHUB_DATA_CACHE` to one"))?;
        let limit = match variable("VLHUB_DATA_CACHE_SIZE").filter(|value| !value.is_empty()) {
            None => LIMIT,
            Some(text) => size(&text.to_string_lossy())?,
        };
        Ok(Self { folder: std::path::absolute(&folder).unwrap_or(folder), limit, free: Arc::default() })
    }

    #[cfg(test)]
    pub(crate) fn at(folder: &Path, limit: u64) -> Self {
        Self { folder: folder.to_owned(), limit, free: Arc::default() }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The most bytes that it holds.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// What is being brought: not yet a file of the cache.
    pub(super) fn partial(&self, key: &Key) -> PathBuf {
        self.folder.join("partial").join(&key.0)
    }

    /// Kept by whoever brings a file; others wait.
    pub(super) fn lock(&self, key: &Key) -> Result<File> {
        self.make_folders()?;
        locked(&self.partial(key).with_extension("lock"), true)
    }

    /// A file, which this process then holds.
    pub(super) fn get(&self, key: &Key) -> Result<Option<CachedFile>> {
        let path = self.folder.join("files").join(&key.0);
        if !path.is_file() {
            return Ok(None);
        }
        // Between the lease and the look nothing is evicted.
        let _shared = locked(&self.folder.join("lock"), false)?;
        let leases = self.folder.join("leases");
        leases::add(&leases, &key.0).map_err(|error| Error::io(&leases, error))?;
        let Some(entry) = self.entry(&path) else { return Ok(None) };
        let touched = File::options().append(true).open(about(&path)).and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::debug!("{}: {error}", path.display());
        }
        Ok(Some(entry))
    }

    /// Makes a file of the cache of one that is complete, which is moved.
    pub(super) fn keep(
        &self,
        key: &Key,
        complete: &Path,
        place: String,
        version: Option<String>,
        damage: Option<StreamDamage>,
    ) -> Result<CachedFile> {
        let io = |error| Error::io(complete, error);
        let file = File::open(complete).map_err(io)?;
        file.sync_all().map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let path = self.folder.join("files").join(&key.0);
        let entry = CachedFile { place, bytes, version, damage, path: path.clone(), used: None };
        let text = serde_json::to_vec(&entry).map_err(|error| Error::invalid(error.to_string()))?;
        files::replace(&about(&path), text.len() as u64, &mut |out| out.write_all(&text))?;
        std::fs::rename(complete, &path).map_err(io)?;
        self.get(key)?.ok_or_else(|| Error::invalid(format!("{} was removed as soon as it was there", path.display())))
    }

    /// Takes room for `bytes` more, and evicts files that no process holds, the longest unused first, where there is none.
    pub(super) fn make_room(&self, bytes: u64) -> Result<()> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if *free < bytes {
            *free = self.count_room(bytes)?;
        }
        *free -= bytes;
        Ok(())
    }

    /// Room for at least `bytes`.
    fn count_room(&self, bytes: u64) -> Result<u64> {
        let room = |total: u64| self.limit.saturating_sub(total).min(bytes.saturating_add(AHEAD));
        let _alone = locked(&self.folder.join("lock"), true)?;
        let mut entries = self.entries()?;
        let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
        if room(total) >= bytes {
            return Ok(room(total));
        }
        entries.sort_by_key(|entry| entry.used);
        let held = self.held()?;
        for entry in entries.iter().filter(|entry| !held.contains(&entry.key())) {
            self.remove(entry)?;
            total -= entry.bytes;
            if room(total) >= bytes {
                return Ok(room(total));
            }
        }
        Err(Error::invalid(format!(
            "the data cache {} may hold {} MB; runs hold {} MB of them, and {} MB more do not fit. Set `VLHUB_DATA_CACHE_SIZE` to more, such as \
             \"500 GiB\", or `VLHUB_DATA_CACHE` to another disk",
            self.folder.display(),
            self.limit / 1_000_000,
            total / 1_000_000,
            bytes.div_ceil(1_000_000)
        )))
    }

    /// Its files.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn entries(&self) -> Result<Vec<CachedFile>> {
        let folder = self.folder.join("files");
        let names = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names.map_err(|error| Error::io(&folder, error))?,
        };
        let paths = names.flatten().map(|name| name.path()).filter(|path| path.extension().is_none());
        Ok(paths.filter_map(|path| self.entry(&path)).collect())
    }

    /// Removes the files that `which` picks, unless a process holds them, and what was left half brought. Returns the files and bytes that went,
    /// and how many files are held.
    ///
    /// # Errors
    /// The folder cannot be changed.
    pub fn clear(&self, which: &dyn Fn(&CachedFile) -> bool) -> Result<(usize, u64, usize)> {
        if !self.folder.is_dir() {
            return Ok((0, 0, 0));
        }
        self.make_folders()?;
        let _alone = locked(&self.folder.join("lock"), true)?;
        let held = self.held()?;
        let (mut count, mut bytes, mut kept) = (0, 0, 0);
        for entry in self.entries()?.iter().filter(|entry| which(entry)) {
            if held.contains(&entry.key()) {
                kept += 1;
                continue;
            }
            self.remove(entry)?;
            (count, bytes) = (count + 1, bytes + entry.bytes);
        }
        for name in std::fs::read_dir(self.folder.join("partial")).into_iter().flatten().flatten() {
            let lock = name.path().with_extension("lock");
            // Whoever brings a file holds its lock.
            if File::open(&lock).is_ok_and(|file| file.try_lock().is_ok()) && name.path() != lock {
                std::fs::remove_file(name.path()).map_err(|error| Error::io(name.path(), error))?;
            }
        }
        Ok((count, bytes, kept))
    }

    fn held(&self) -> Result<std::collections::BTreeSet<String>> {
        let leases = self.folder.join("leases");
        leases::held(&leases).map_err(|error| Error::io(&leases, error))
    }

    fn remove(&self, entry: &CachedFile) -> Result<()> {
        // The file first: without it what is told about it says nothing.
        for path in [entry.path.clone(), about(&entry.path)] {
            std::fs::remove_file(&path).map_err(|error| Error::io(&path, error))?;
        }
        Ok(())
    }

    /// What is known of a file; nothing where that is no whole file.
    fn entry(&self, path: &Path) -> Option<CachedFile> {
        let length = std::fs::metadata(path).ok()?.len();
        let about = about(path);
        let used = std::fs::metadata(&about).ok()?.modified().ok();
        let entry: CachedFile = serde_json::from_slice(&std::fs::read(&about).ok()?).ok()?;
        (entry.bytes == length).then(|| CachedFile { path: path.to_owned(), used, ..entry })
    }

    fn make_folders(&self) -> Result<()> {
        for name in ["files", "partial", "leases"] {
            let folder = self.folder.join(name);
            // Data may be private.
            DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| Error::io(&folder, error))?;
        }
        Ok(())
    }
}

impl CachedFile {
    fn key(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// What is told about a file.
fn about(path: &Path) -> PathBuf {
    path.with_extension("json")
}

/// A file that is locked until it is dropped. On a file system without locks nobody is kept out; files are whole all the same.
fn locked(path: &Path, alone: bool) -> Result<File> {
    let io = |error| Error::io(path, error);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(io)?;
    match if alone { file.lock() } else { file.lock_shared() } {
        Err(error) if error.kind() != std::io::ErrorKind::Unsupported => Err(io(error)),
        _ => Ok(file),
    }
}

/// `200 GiB`, `500 MB`, `1000000`.
fn size(text: &str) -> Result<u64> {
    const MIB: f64 = 1024.0 * 1024.0;
    const UNITS: [(&str, f64); 6] = [("mib", MIB), ("gib", MIB * 1024.0), ("tib", MIB * MIB), ("mb", 1e6), ("gb", 1e9), ("tb", 1e12)];
    amount(text, &UNITS)
        .ok_or_else(|| Error::invalid(format!("`VLHUB_DATA_CACHE_SIZE` is `{text}`; write a size such as `200 GiB` or `500 MB`")))
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
