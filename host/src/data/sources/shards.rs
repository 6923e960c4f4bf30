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

/// The shards that patterns name, in their order, as local files; of a glance the first alone.
///
/// # Errors
/// No shard, a pattern that does not parse or that nothing fits, or a shard that cannot be brought.
pub(super) fn shard_files(shards: &Shards, cx: &SourceCx<'_>) -> Result<Vec<LocalFile>> {
    let patterns: Vec<&str> = match shards {
        Shards::One(text) => text.split("::").collect(),
        Shards::Many(list) => list.iter().flat_map(|text| text.split("::")).collect(),
    };
    let mut places = Vec::new();
    for pattern in patterns.iter().map(|pattern| pattern.trim()).filter(|pattern| !pattern.is_empty()) {
        for name in brace::expand(pattern)? {
            places.append(&mut cx.host.names(&name, cx)?);
        }
    }
    if places.is_empty() {
        return Err(Error::invalid("`shards` names no shard; write, for example, shards = \"cc3m/{00000..00331}.tar\""));
    }
    if cx.extent == Extent::Glance {
        places.truncate(1);
    }
    cx.host.local(&places, cx)
}
