//! Class names in the options of a source.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vlhub_core::{Error, Result};

/// Class names in the order of labels: a list in the run file, or a file with one a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ClassNames {
    /// The names themselves.
    List(Vec<String>),
    /// A file with one name a line.
    File(String),
}

impl ClassNames {
    /// Reads them; a relative path starts at `folder`.
    ///
    /// # Errors
    /// The file cannot be read, or is not UTF-8.
    pub fn read(&self, folder: &Path) -> Result<Vec<String>> {
        match self {
            Self::List(names) => Ok(names.clone()),
            Self::File(path) => Self::file(&folder.join(path)),
        }
    }

    /// The lines of a file; empty lines at its end do not count.
    ///
    /// # Errors
    /// The file cannot be read, or is not UTF-8.
    pub fn file(path: &Path) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        Ok(text.trim_end().lines().map(|line| line.trim().to_owned()).collect())
    }
}
