//! Reading: which checkpoints there are, and which of them are to be believed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use vlhub_core::{Error, Result};
use xxhash_rust::xxh3::xxh3_128;

use super::manifest::{FileEntry, Manifest, hex};
use super::{State, Store};
use crate::files::fs::Fs;
use crate::formats::safetensors::of_ours;
use crate::formats::source::ByteSource;

/// Parameters, buffers and optimiser state.
const TENSORS: &str = "rank-0.safetensors";
/// The complete options of the run.
const CONFIG: &str = "config.toml";

/// The newest valid checkpoint.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its folder.
    pub path: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
    /// Newer ones that are not to be believed, and why.
    pub rejected: Vec<(PathBuf, String)>,
}

impl Store {
    /// The newest valid checkpoint: every file is there, has its length and its hash. Newer ones that are not are listed with the reason.
    ///
    /// # Errors
    /// The folder cannot be listed, or it holds checkpoints of which none is valid.
    pub fn latest(&self) -> Result<Option<Found>> {
        let found = self.newest(|path, step| verify(&*self.fs, path, step).map(|manifest| (manifest, ())))?;
        Ok(found.map(|(found, ())| found))
    }

    /// [`Store::latest`] with what it holds; each file is read and hashed once.
    ///
    /// # Errors
    /// As [`Store::latest`].
    pub fn load_latest(&self) -> Result<Option<(Found, State)>> {
        self.newest(|path, step| {
            let (manifest, files) = verified_files(&*self.fs, path, step)?;
            Ok((manifest.clone(), state(manifest, files)?))
        })
    }

    /// The newest checkpoint that `open` does not refuse, and what it makes of it.
    fn newest<T>(&self, open: impl Fn(&Path, Option<u64>) -> std::result::Result<(Manifest, T), String>) -> Result<Option<(Found, T)>> {
        let mut rejected = Vec::new();
        for candidate in self.candidates()? {
            match open(&candidate.path, Some(candidate.step)) {
                Ok((manifest, opened)) => {
                    self.remember(&candidate.path, true);
                    return Ok(Some((Found { path: candidate.path, manifest, rejected }, opened)));
                }
                Err(why) => {
                    self.remember(&candidate.path, false);
                    rejected.push((candidate.path, why));
                }
            }
        }
        if rejected.is_empty() {
            return Ok(None);
        }
        let reasons: Vec<_> = rejected.iter().map(|(path, why)| format!("\n  {}: {why}", path.display())).collect();
        Err(Error::invalid(format!("{}: no checkpoint is valid{}", self.dir.display(), reasons.concat())))
    }

    /// Checkpoints by name, newest first; of one step, a replaced one after the one that replaces it.
    pub(super) fn candidates(&self) -> Result<Vec<Candidate>> {
        let names = self.fs.list(&self.dir).map_err(|error| Error::io(&self.dir, error))?;
        let mut candidates: Vec<_> = names
            .iter()
            .filter_map(|name| {
                let (number, replaced) = match name.split_once(".old-") {
                    Some((number, _)) => (number, true),
                    None => (name.as_str(), false),
                };
                let digits = number.strip_prefix("step-").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
                Some(Candidate { step: digits.parse().ok()?, replaced, path: self.dir.join(name) })
            })
            .collect();
        candidates.sort_by(|left, right| (right.step, left.replaced).cmp(&(left.step, right.replaced)));
        Ok(candidates)
    }

    /// Whether a checkpoint is valid; hashes it only when that is not known yet.
    pub(super) fn is_valid(&self, candidate: &Candidate) -> bool {
        let known = self.verified.lock().unwrap_or_else(PoisonError::into_inner).get(&candidate.path).copied();
        known.unwrap_or_else(|| {
            let valid = verify(&*self.fs, &candidate.path, Some(candidate.step)).is_ok();
            self.remember(&candidate.path, valid);
            valid
        })
    }

    pub(super) fn remember(&self, path: &Path, valid: bool) {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), valid);
    }

    pub(super) fn forget(&self, path: &Path) {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }
}

/// A folder that is called like a checkpoint.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub step: u64,
    pub replaced: bool,
    pub path: PathBuf,
}

/// Reads the manifest of a checkpoint and checks every file that it lists, one in memory at a time.
pub(super) fn verify(fs: &dyn Fs, path: &Path, step: Option<u64>) -> std::result::Result<Manifest, String> {
    let manifest = manifest(fs, path, step)?;
    for file in &manifest.files {
        read(fs, path, &file.name, &manifest)?;
    }
    Ok(manifest)
}

/// [`verify`], with the bytes of the files by their names.
fn verified_files(fs: &dyn Fs, path: &Path, step: Option<u64>) -> std::result::Result<(Manifest, BTreeMap<String, Vec<u8>>), String> {
    let manifest = manifest(fs, path, step)?;
    let read = |file: &FileEntry| Ok((file.name.clone(), read(fs, path, &file.name, &manifest)?));
    let files = manifest.files.iter().map(read).collect::<std::result::Result<_, String>>()?;
    Ok((manifest, files))
}

/// Reads the manifest of a checkpoint, which lists the files that every checkpoint has.
fn manifest(fs: &dyn Fs, path: &Path, step: Option<u64>) -> std::result::Result<Manifest, String> {
    let bytes = fs.read(&path.join("manifest.json")).map_err(|error| format!("not a checkpoint: manifest.json: {error}"))?;
    let manifest = Manifest::unseal(&bytes)?;
    if step.is_some_and(|step| step != manifest.progress.step) {
        return Err(format!("manifest.json is of step {}, the folder is not", manifest.progress.step));
    }
    for name in [TENSORS, CONFIG] {
        if !manifest.files.iter().any(|file| file.name == name) {
            return Err(format!("manifest.json does not list {name}"));
        }
    }
    Ok(manifest)
}

/// Reads one file of a checkpoint and checks its length and its hash.
fn read(fs: &dyn Fs, path: &Path, name: &str, manifest: &Manifest) -> std::result::Result<Vec<u8>, String> {
    let entry = manifest.files.iter().find(|file| file.name == name).ok_or_else(|| format!("manifest.json does not list {name}"))?;
    if entry.name.contains(['/', '\\']) {
        return Err(format!("manifest.json lists `{}`, which is not a plain file name", entry.name));
    }
    let bytes = fs.read(&path.join(name)).map_err(|error| format!("{name}: {error}"))?;
    if bytes.len() as u64 != entry.bytes {
        return Err(format!("{name} has {} bytes, the manifest says {}", bytes.len(), entry.bytes));
    }
    if hex(xxh3_128(&bytes)) != entry.xxh3_128 {
        return Err(format!("{name} does not match its hash: the file was changed or damaged after it was written"));
    }
    Ok(bytes)
}

/// Reads a whole checkpoint.
pub(super) fn load(fs: &dyn Fs, path: &Path) -> Result<State> {
    let read = verified_files(fs, path, None).and_then(|(manifest, files)| state(manifest, files));
    read.map_err(|why| Error::invalid(format!("{}: {why}", path.display())))
}

/// What the verified files of a checkpoint hold.
fn state(manifest: Manifest, mut files: BTreeMap<String, Vec<u8>>) -> std::result::Result<State, String> {
    let mut take = |name: &str| files.remove(name).unwrap_or_default();
    let (config, data) = (take(CONFIG), take(TENSORS));
    Ok(State {
        tensors: of_ours(&ByteSource::Bytes(&data)).map(|(tensors, _)| tensors).map_err(|why| format!("{TENSORS}: {why}"))?,
        progress: manifest.progress,
        config_hash: manifest.config_hash,
        config: String::from_utf8_lossy(&config).into_owned(),
        dataset: manifest.dataset,
        extra: manifest.extra,
    })
}
