//! `vlhub data index`.

use vlhub_core::{Extent, SourceCx, Wants};

use super::data::{document, source_of};
use super::print_json;
use crate::cli::{IndexArgs, Shared};
use crate::data::sources::webdataset::{ShardSummary, WebDatasetConfig, list, write_index};
use crate::failure::{Failure, Outcome};

/// Writes index files for shards, or lists what is in them.
pub fn data_index(shared: &Shared, args: &IndexArgs) -> Outcome {
    let (config, chosen) = source_of(shared, document(&args.data, &args.overrides)?)?;
    if chosen.plugin != "webdataset" {
        return Err(Failure::usage(format!("{} is `{}`; only tar shards (`webdataset`) are indexed", args.data, chosen.plugin)));
    }
    let options = erased_serde::serialize(chosen.config.as_ref(), serde_json::value::Serializer);
    let options = options.and_then(serde_json::from_value::<WebDatasetConfig>).map_err(|error| Failure::usage(error.to_string()))?;
    let usage = |error: vlhub_core::Error| Failure::usage(error.to_string());
    let cx = SourceCx { folder: &config.folder, wants: Wants::WHATEVER, extent: Extent::Whole, host: &config.opener() };
    if args.list {
        return list(&options, &cx, &mut |entry| {
            say!("{}", serde_json::to_string(&entry).unwrap_or_default());
            Ok(())
        })
        .map_err(usage);
    }
    let (mut shards, mut failed) = (Vec::new(), Vec::new());
    for shard in write_index(&options, &cx).map_err(usage)? {
        match shard {
            Ok(shard) => shards.push(shard),
            Err(error) => failed.push(error.to_string()),
        }
    }
    if args.json {
        print_json(&shards)?;
    } else {
        tell(&shards);
    }
    match failed.first() {
        Some(first) => Err(Failure::new(Failure::DATA, format!("{} shards were not indexed; the first: {first}", failed.len()))),
        None => Ok(()),
    }
}

fn tell(shards: &[ShardSummary]) {
    for shard in shards.iter().filter(|shard| shard.lost > 0) {
        say!("{} × lost in {}: {}", shard.lost, shard.shard.display(), shard.first_lost.as_deref().unwrap_or_default());
    }
    let of = |count: fn(&ShardSummary) -> u64| shards.iter().map(count).sum::<u64>();
    let (samples, members, lost) = (of(|it| it.samples), of(|it| it.members), of(|it| it.lost));
    say!("{} shards indexed: {samples} samples, {members} members, {lost} lost", shards.len());
    if let Some(first) = shards.first().and_then(|shard| shard.index.as_ref()) {
        say!("the first index file is {}", first.display());
    }
}
