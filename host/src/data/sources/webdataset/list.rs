//! What shards hold, for `vlhub data index`: their index files, and lists of their samples.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use vlhub_core::{Error, LocalFile, Result, SourceCx};

use super::WebDatasetConfig;
use super::index::ShardFile;
use super::index_file::{IndexRecorder, Stamp, places};
use crate::data::ordered::{Ordered, ordered};
use crate::data::sources::group::{Group, Grouper};
use crate::data::sources::shards::shard_files;
use crate::data::sources::tar_index::{self, Damage, TarEvent};
use crate::files::replace;

/// What [`list`] tells.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum ListedEntry {
    /// A sample, by WebDataset's rules, whatever a run would read of it.
    Sample {
        /// File name of the shard.
        shard: String,
        /// Its key.
        key: String,
        /// Each suffix, with the offset and the size of its data, in bytes.
        members: BTreeMap<String, (u64, u32)>,
        /// What is odd about it: `mixed members`, `repeated suffix`.
        #[serde(skip_serializing_if = "Option::is_none")]
        odd: Option<&'static str>,
    },
    /// Something that was lost.
    Lost {
        /// File name of the shard.
        shard: String,
        /// Where, in bytes.
        offset: u64,
        /// Class of reason.
        reason: &'static str,
        /// The particular case.
        detail: String,
    },
}

/// What one shard holds.
#[derive(Debug, Default, Serialize)]
pub struct ShardSummary {
    /// The shard.
    pub shard: PathBuf,
    /// Samples, by WebDataset's rules.
    pub samples: u64,
    /// Plain files in it.
    pub members: u64,
    /// Places where something was lost.
    pub lost: u64,
    /// The first of them.
    pub first_lost: Option<String>,
    /// The index file, where one was written.
    pub index: Option<PathBuf>,
}

/// Walks over the headers of the shards of `config` and writes an index file for each: beside it, or in the cache folder.
///
/// # Errors
/// What keeps the shards from being found; each result says what keeps one from being read, or its index file from being written.
pub fn write_index(config: &WebDatasetConfig, cx: &SourceCx<'_>) -> Result<Ordered<Result<ShardSummary>>> {
    let files = shard_files(&config.shards, cx)?.files;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let count = files.len();
    Ok(ordered(threads, 0..count, Arc::new(move |at: usize| write_one(&files[at].1))))
}

fn write_one(local: &LocalFile) -> Result<ShardSummary> {
    let path = local.path.as_path();
    let (shard, file) = ShardFile::open(local)?;
    let io = |error| Error::io(path, error);
    let stamp = Stamp::of(&file).map_err(io)?;
    let (mut summary, mut recorder, mut grouper) = (ShardSummary::default(), IndexRecorder::default(), Grouper::default());
    tar_index::walk(&file, shard.size, &mut |found| {
        recorder.record(&found);
        match found {
            TarEvent::Member(member) => {
                summary.members += 1;
                summary.samples += u64::from(grouper.push(&member).is_some());
            }
            TarEvent::Damage(damage) => {
                summary.lost += 1;
                summary.first_lost.get_or_insert_with(|| shard.bad(&damage).to_string());
            }
            TarEvent::Other { .. } => {}
        }
        ControlFlow::Continue(())
    })
    .map_err(io)?;
    summary.samples += u64::from(grouper.finish().is_some());
    if Stamp::of(&file).map_err(io)? != stamp {
        return Err(Error::invalid(format!("shard {} is being written; index it when it is whole", path.display())));
    }
    let index = write_beside_or_cached(path, &recorder.finish(&stamp))?;
    Ok(ShardSummary { shard: path.to_owned(), index: Some(index), ..summary })
}

fn write_beside_or_cached(shard: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let mut first_error = None;
    for place in places(shard) {
        if first_error.is_some()
            && let Some(folder) = place.parent()
        {
            // The place beside the shard cannot be written.
            std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        }
        match replace(&place, bytes.len() as u64, &mut |file: &mut dyn Write| file.write_all(bytes)) {
            Ok(()) => return Ok(place),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| Error::invalid(format!("no place for the index of {}", shard.display()))))
}

/// Tells every sample of the shards of `config` and everything that was lost, in order, from their headers.
///
/// # Errors
/// A shard that is missing or cannot be read; what `each` returns.
pub fn list(config: &WebDatasetConfig, cx: &SourceCx<'_>, each: &mut dyn FnMut(ListedEntry) -> Result<()>) -> Result<()> {
    for (_, local) in shard_files(&config.shards, cx)?.files {
        let (shard, file) = ShardFile::open(&local)?;
        let mut grouper = Grouper::default();
        let mut failed = None;
        tar_index::walk(&file, shard.size, &mut |found| {
            let entry = match found {
                TarEvent::Member(member) => grouper.push(&member).map(|group| sample(&shard.name, group)),
                TarEvent::Damage(Damage { offset, reason, detail }) => {
                    Some(ListedEntry::Lost { shard: shard.name.clone(), offset, reason, detail })
                }
                TarEvent::Other { .. } => None,
            };
            match entry.map_or(Ok(()), &mut *each) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })
        .map_err(|error| Error::io(&local.path, error))?;
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(group) = grouper.finish() {
            each(sample(&shard.name, group))?;
        }
    }
    Ok(())
}

fn sample(shard: &str, group: Group) -> ListedEntry {
    ListedEntry::Sample {
        shard: shard.to_owned(),
        key: String::from_utf8_lossy(&group.key).into_owned(),
        members: group.parts.into_iter().map(|(suffix, span)| (suffix, (span.offset, span.size))).collect(),
        odd: if group.again { Some("mixed members") } else { group.repeated.then_some("repeated suffix") },
    }
}
