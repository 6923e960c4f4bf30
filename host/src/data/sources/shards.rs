//! Lists of shards: patterns to files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vlhub_core::{Error, Result};
use vlhub_sdk::schemars::JsonSchema;

use super::brace;

/// One pattern or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Shards {
    /// Patterns joined by `::`.
    One(String),
    /// Patterns.
    Many(Vec<String>),
}

/// The shards that patterns name, in their order: one list for each pattern.
///
/// # Errors
/// No shard, a pattern that does not parse, or a place that is not a local file.
pub(super) fn shard_paths(shards: &Shards, folder: &Path) -> Result<Vec<Vec<PathBuf>>> {
    let patterns: Vec<&str> = match shards {
        Shards::One(text) => text.split("::").collect(),
        Shards::Many(list) => list.iter().flat_map(|text| text.split("::")).collect(),
    };
    let mut parts = Vec::new();
    for pattern in patterns.iter().map(|pattern| pattern.trim()).filter(|pattern| !pattern.is_empty()) {
        if pattern.starts_with("pipe:") {
            return Err(Error::invalid(format!(
                "`{pattern}`: commands in shard lists are not run; copy the shards to a local folder first"
            )));
        }
        if let Some((scheme, _)) = pattern.split_once("://").filter(|(scheme, _)| *scheme != "file") {
            return Err(Error::invalid(format!("`{pattern}`: `{scheme}` is not read; copy the shards to a local folder first")));
        }
        let mut paths = Vec::new();
        for name in brace::expand(pattern.strip_prefix("file://").or(pattern.strip_prefix("file:")).unwrap_or(pattern))? {
            let path = folder.join(&name);
            if name.contains(['*', '?']) && !path.exists() {
                let bad = |error: String| Error::invalid(format!("shard pattern `{name}`: {error}"));
                let found = glob::glob(&path.to_string_lossy()).map_err(|error| bad(error.to_string()))?;
                let mut found: Vec<PathBuf> = found.collect::<Result<_, _>>().map_err(|error| bad(error.to_string()))?;
                if found.is_empty() {
                    return Err(bad("no file matches".into()));
                }
                found.sort();
                paths.append(&mut found);
            } else {
                paths.push(path);
            }
        }
        parts.push(paths);
    }
    if parts.iter().all(Vec::is_empty) {
        return Err(Error::invalid("`shards` names no shard; write, for example, shards = \"cc3m/{00000..00331}.tar\""));
    }
    Ok(parts)
}
