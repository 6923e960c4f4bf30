//! What img2dataset says of its shards: `00000_stats.json`, which it writes when a shard is done.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use vlhub_sdk::prelude::*;

/// Shards, and reasons of failures, that one remark names.
const LISTED: usize = 5;

/// The counts of a shard.
#[derive(Debug, Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
pub(super) struct Stats {
    /// Addresses that were tried.
    count: u64,
    /// Pictures that were written.
    successes: u64,
    /// How many ended in which way; `success` is one.
    #[serde(default)]
    status_dict: BTreeMap<String, u64>,
}

impl Stats {
    /// Of a shard, if it was finished.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    fn read(folder: &Path, stem: &str) -> Result<Option<Self>> {
        let path = folder.join(format!("{stem}_stats.json"));
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(&path, error)),
        };
        vlhub_sdk::serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Error::invalid(format!("{} is not what img2dataset writes: {error}", path.display())))
    }
}

/// Remarks on shards. `ends` is what follows a shard's number in a sample's key.
///
/// # Errors
/// Statistics that cannot be read.
pub(super) fn notes(folder: &Path, stems: &[String], source: &dyn Source, ends: &str) -> Result<Vec<String>> {
    let mut found: HashMap<String, u64> = HashMap::new();
    let lost = source.problems().iter().map(|bad| bad.key.clone());
    for key in (0..source.len()).map(|index| source.key(index)).chain(lost) {
        let stem = key.split(ends).next().unwrap_or_default();
        let stem = stem.rsplit('/').next().unwrap_or_default();
        *found.entry(stem.to_owned()).or_default() += 1;
    }
    let (mut unfinished, mut other) = (Vec::new(), Vec::new());
    let (mut tried, mut written) = (0, 0);
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for stem in stems {
        let Some(stats) = Stats::read(folder, stem)? else {
            unfinished.push(stem.clone());
            continue;
        };
        let here = found.get(stem).copied().unwrap_or_default();
        if here != stats.successes {
            other.push(format!("{stem}: {here} of {}", stats.successes));
        }
        tried += stats.count;
        written += stats.successes;
        for (status, count) in stats.status_dict.into_iter().filter(|(status, _)| status != "success") {
            *reasons.entry(status).or_default() += count;
        }
    }
    let mut notes = Vec::new();
    if !unfinished.is_empty() {
        let count = unfinished.len();
        notes.push(format!(
            "img2dataset had not finished {count} of {} shards, which have no `_stats.json`: {}",
            stems.len(),
            list(unfinished)
        ));
    }
    if !other.is_empty() {
        let count = other.len();
        notes.push(format!("{count} shards hold another number of samples than their `_stats.json` says (found of said): {}", list(other)));
    }
    if tried > written {
        let mut reasons: Vec<(String, u64)> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let reasons = list(reasons.into_iter().map(|(status, count)| format!("{count} × {status}")).collect());
        notes.push(format!("img2dataset got {written} of {tried} pictures; what failed is no sample: {reasons}"));
    }
    Ok(notes)
}

fn list(mut names: Vec<String>) -> String {
    let more = if names.len() > LISTED { ", …" } else { "" };
    names.truncate(LISTED);
    names.join(", ") + more
}
