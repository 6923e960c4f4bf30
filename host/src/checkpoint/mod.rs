//! Checkpoints: complete or not there.
//!
//! A checkpoint is a folder `step-000000123` with `rank-0.safetensors` (parameters under the names that open_clip uses, buffers, optimiser
//! state), `config.toml` (every option of the run, so that its model can be built from the checkpoint alone) and `manifest.json` (where the run
//! was, sizes and hashes of the files). It is written under another name, made
//! durable, and renamed; so whatever happens, the newest folder that [`Store::latest`] finds valid is at least as new as the last one that
//! [`Store::save`] acknowledged.

mod commit;
pub mod failpoint;
mod find;
mod lock;
mod manifest;
#[cfg(test)]
mod sim;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tch::Tensor;
use vlhub_core::{Error, Result};

pub use find::Found;
pub use lock::RunLock;
pub(crate) use lock::host;
pub use manifest::{FileEntry, Manifest, Progress};

use crate::files::fs;
use crate::formats::read_safetensors;

/// What a checkpoint holds.
#[derive(Debug, Default)]
pub struct State {
    /// Parameters and buffers by their names; optimiser state as `optimizer.exp_avg.NAME` and the like. On any device.
    pub tensors: Vec<(String, Tensor)>,
    /// Where the run is.
    pub progress: Progress,
    /// Hash of the part of the configuration that decides what is computed.
    pub config_hash: String,
    /// Every option of the run, as TOML; checkpoints of older versions hold those that decide what is computed.
    pub config: String,
    /// Fingerprint of the training data.
    pub dataset: String,
    /// Whatever else the engine wants back.
    pub extra: BTreeMap<String, String>,
}

/// The checkpoints of one run.
pub struct Store {
    dir: PathBuf,
    fs: Arc<dyn fs::Fs>,
    /// How many of the newest valid checkpoints stay; never fewer than two.
    pub keep_last: usize,
    /// Checkpoints at multiples of this many steps stay for good.
    pub keep_every: Option<u64>,
    /// What is known of the checkpoints in the folder, so that each is hashed once.
    verified: Mutex<BTreeMap<PathBuf, bool>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.dir)
            .field("keep_last", &self.keep_last)
            .field("keep_every", &self.keep_every)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The checkpoints in `dir` (`RUN/checkpoints`), which is made if need be.
    ///
    /// # Errors
    /// The folder and why it cannot be made.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        std::fs::create_dir_all(&dir).map_err(|error| Error::io(&dir, error))?;
        Ok(Self::on(dir, Arc::new(fs::RealFs)))
    }

    pub(crate) fn on(dir: PathBuf, fs: Arc<dyn fs::Fs>) -> Self {
        Self { dir, fs, keep_last: 2, keep_every: None, verified: Mutex::default() }
    }

    /// How many of the newest checkpoints stay (at least two, whatever is asked for), and which others.
    pub fn keeping(mut self, last: usize, every: Option<u64>) -> Self {
        self.keep_last = last;
        self.keep_every = every;
        self
    }

    /// Renames checkpoints of later steps to `set-aside-step-…`: the run resumes from an older one, and `latest` must not find those that another
    /// continuation of it wrote.
    ///
    /// # Errors
    /// The folder that cannot be renamed.
    pub fn set_aside_after(&self, step: u64) -> Result<()> {
        for candidate in self.candidates()?.into_iter().filter(|candidate| candidate.step > step) {
            let name = candidate.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let aside = candidate.path.with_file_name(format!("set-aside-{name}"));
            if aside.exists() {
                std::fs::remove_dir_all(&aside).map_err(|error| Error::io(&aside, error))?;
            }
            self.fs.rename(&candidate.path, &aside).map_err(|error| Error::io(&candidate.path, error))?;
        }
        self.verified.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
        self.fs.sync_dir(&self.dir).map_err(|error| Error::io(&self.dir, error))
    }

    /// Where they are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads a checkpoint folder, or a bare safetensors file (then everything but the tensors is empty).
    ///
    /// # Errors
    /// The folder, and which of its files is missing, cut or changed.
    pub fn load(path: &Path) -> Result<State> {
        if path.is_file() {
            return Ok(State { tensors: read_safetensors(path)?, ..State::default() });
        }
        find::load(&fs::RealFs, path)
    }
}
