//! `loggers.json`: what a run is called in other programs, so that a resumed run goes on there under the same name.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vlhub_core::{Error, Result};

use super::super::jsonl;

const FILE: &str = "loggers.json";

/// What loggers remember of a run.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LoggerState {
    /// The run at W&B.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wandb: Option<WandbState>,
    /// Tag of the run at MLflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlflow: Option<String>,
}

/// The offline run of W&B.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct WandbState {
    /// The run's id.
    pub id: String,
    /// The folder of the offline run.
    pub folder: PathBuf,
    /// When the run started: seconds since 1970.
    pub started: f64,
}

impl LoggerState {
    /// What the run's folder remembers; nothing where there is no such file, or none that can be read.
    pub fn of(folder: &Path) -> Self {
        let bytes = std::fs::read(folder.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| Error::io(&path, error.into()))?;
        jsonl::replace(&path, &bytes)
    }
}
