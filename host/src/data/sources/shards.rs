//! Lists of shards: patterns to files.

use vlhub_core::{Error, Extent, LocalFile, Result, SourceCx};
use vlhub_sdk::sources::{Files, brace};

/// The shards of a list.
#[derive(Debug)]
pub(super) struct ShardFiles {
    /// In order, each with the number of its `::` part or list entry.
    pub files: Vec<(usize, LocalFile)>,
    /// How many parts there are.
    pub parts: usize,
}

/// The shards that patterns name, in their order, as local files; of a glance the first alone.
///
/// # Errors
/// No shard, a pattern that does not parse or that nothing fits, or a shard that cannot be brought.
pub(super) fn shard_files(shards: &Files, cx: &SourceCx<'_>) -> Result<ShardFiles> {
    let (mut places, mut part_of, mut parts) = (Vec::new(), Vec::new(), 0);
    for pattern in shards.patterns() {
        for name in brace::expand(pattern)? {
            places.append(&mut cx.host.names(&name, cx)?);
        }
        part_of.resize(places.len(), parts);
        parts += 1;
    }
    if places.is_empty() {
        return Err(Error::invalid("`shards` names no shard; write, for example, shards = \"cc3m/{00000..00331}.tar\""));
    }
    // Where the first is not there, a glance says how many are not.
    if cx.extent == Extent::Glance && (places[0].contains(':') || cx.folder.join(&places[0]).exists()) {
        places.truncate(1);
    }
    let files = part_of.into_iter().zip(cx.host.local(&places, cx)?).collect();
    Ok(ShardFiles { files, parts })
}
