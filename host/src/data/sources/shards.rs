//! Lists of shards: patterns to files.

use serde::{Deserialize, Serialize};
use vlhub_core::{Error, Extent, LocalFile, Result, SourceCx};
use vlhub_sdk::schemars::JsonSchema;
use vlhub_sdk::sources::brace;

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

/// Shards as local files, each with the number of the pattern that names it.
#[derive(Debug)]
pub(super) struct ShardFiles {
    /// How many patterns there are.
    pub patterns: usize,
    /// In the order of the patterns; of a glance the first alone.
    pub files: Vec<(usize, LocalFile)>,
}

/// The shards that patterns name.
///
/// # Errors
/// No shard, a pattern that does not parse or that nothing fits, or a shard that cannot be brought.
pub(super) fn shard_files(shards: &Shards, cx: &SourceCx<'_>) -> Result<ShardFiles> {
    let patterns: Vec<&str> = match shards {
        Shards::One(text) => text.split("::").collect(),
        Shards::Many(list) => list.iter().flat_map(|text| text.split("::")).collect(),
    };
    let patterns: Vec<&str> = patterns.iter().map(|pattern| pattern.trim()).filter(|pattern| !pattern.is_empty()).collect();
    let (mut places, mut numbers) = (Vec::new(), Vec::new());
    for (number, pattern) in patterns.iter().enumerate() {
        for name in brace::expand(pattern)? {
            places.append(&mut cx.host.names(&name, cx)?);
            numbers.resize(places.len(), number);
        }
    }
    if places.is_empty() {
        return Err(Error::invalid("`shards` names no shard; write, for example, shards = \"cc3m/{00000..00331}.tar\""));
    }
    if cx.extent == Extent::Glance {
        places.truncate(1);
    }
    let files = cx.host.local(&places, cx)?;
    Ok(ShardFiles { patterns: patterns.len(), files: numbers.into_iter().zip(files).collect() })
}
