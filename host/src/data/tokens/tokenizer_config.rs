//! What stands beside a `tokenizer.json`: which tokens have which part, and what the tokenizer's class in Python does to the file.

use std::path::Path;

use serde_json::{Map, Value};
use vlhub_core::{Error, Result};

/// `tokenizer_config.json` and, behind it, `special_tokens_map.json`; both may be missing.
#[derive(Debug, Default)]
pub(super) struct TokenizerConfigs([Map<String, Value>; 2]);

impl TokenizerConfigs {
    /// Reads both from the folder of the tokenizer.
    ///
    /// # Errors
    /// A file that is there and is no JSON object.
    pub fn read(folder: &Path) -> Result<Self> {
        let read = |name: &str| -> Result<Map<String, Value>> {
            let path = folder.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => serde_json::from_slice(&bytes)
                    .map_err(|error| Error::invalid(format!("{}: not a JSON object that can be read: {error}", path.display()))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Map::new()),
                Err(error) => Err(Error::io(&path, error)),
            }
        };
        Ok(Self([read("tokenizer_config.json")?, read("special_tokens_map.json")?]))
    }

    /// A text of the configuration.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0[0].get(key)?.as_str()
    }

    /// A switch of the configuration.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.0[0].get(key)?.as_bool()
    }

    /// A token by its part, as `pad_token`: written as a text, or as a table with its text as `content`.
    pub fn token(&self, part: &str) -> Option<&str> {
        self.0.iter().find_map(|file| {
            let value = file.get(part)?;
            value.as_str().or_else(|| value.get("content")?.as_str())
        })
    }
}
