//! The folder that `vlhub eval --out` writes: `results.jsonl` and its files, as in a run's folder, but without a run.

use std::path::{Path, PathBuf};

use serde::Serialize;
use vlhub_core::{Error, Report, Result};

use super::super::{environment, jsonl};

/// An evaluation's folder.
#[derive(Debug)]
pub struct EvaluationFolder {
    path: PathBuf,
}

impl EvaluationFolder {
    /// Makes the folder, or opens that of an evaluation of the same weights, whose numbers stay. `measured` names the weights, `facts` are for the
    /// page, `config` are the complete options.
    ///
    /// # Errors
    /// It is the folder of a run, or holds an evaluation of other weights; it cannot be written.
    pub fn open(path: &Path, measured: &str, facts: &[(&str, String)], config: &str) -> Result<Self> {
        let other = |what: &str| Error::Options(format!("`--out {}`: {what}; name another folder", path.display()));
        if path.join("checkpoints").exists() || path.join("metrics.jsonl").exists() {
            return Err(other("it is the folder of a run"));
        }
        let about = path.join("about.json");
        if path.join("results.jsonl").exists() {
            let known: Vec<(String, String)> =
                std::fs::read(&about).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
            match known.iter().find(|(name, _)| name == MEASURED) {
                Some((_, before)) if before == measured => {}
                Some((_, before)) => return Err(other(&format!("it holds what was measured of {before}, and this is {measured}"))),
                None => return Err(other("it holds results, and does not say of what")),
            }
        } else if std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(other("it holds other files"));
        }
        std::fs::create_dir_all(path).map_err(|error| Error::io(path, error))?;
        let first = (MEASURED.to_owned(), measured.to_owned());
        let facts = facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let all: Vec<_> = std::iter::once(first).chain(facts).chain(environment::machine()).collect();
        let bytes = serde_json::to_vec_pretty(&all).map_err(|error| Error::io(&about, error.into()))?;
        jsonl::replace(&about, &bytes)?;
        jsonl::replace(&path.join("config.toml"), config.as_bytes())?;
        Ok(Self { path: path.to_owned() })
    }

    /// Adds what a suite found; `place` as in [`super::write`].
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn add(&self, name: &str, place: impl Serialize, report: &Report) -> Result<()> {
        super::write(&self.path, &self.path.join("results.jsonl"), name, place, report)
    }
}

/// The fact that names the weights.
const MEASURED: &str = "measured";
