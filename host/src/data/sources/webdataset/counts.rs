//! What stands beside shards about how many samples they hold, against what they hold.
//!
//! open_clip takes an epoch's length from `sizes.json`, or from `__len__`, where it is not told it, and trains too long or too short where they are
//! wrong. Here shards are counted, so these files decide nothing. (What img2dataset says of its shards is compared by its own source.)

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Most bytes of such a file.
const MOST: u64 = 64 << 20;

/// What differs, one note for each file. `found` has each shard with its number of samples, usable or not.
pub(super) fn notes(found: &[(PathBuf, u64)]) -> Vec<String> {
    let mut folders: BTreeMap<&Path, Vec<(&Path, u64)>> = BTreeMap::new();
    for (path, count) in found {
        folders.entry(path.parent().unwrap_or(Path::new(""))).or_default().push((path, *count));
    }
    folders.into_iter().flat_map(|(folder, shards)| of_folder(folder, &shards)).collect()
}

fn of_folder(folder: &Path, shards: &[(&Path, u64)]) -> Vec<String> {
    let mut notes = Vec::new();
    let sizes = folder.join("sizes.json");
    let listed = read(&sizes);
    if let Some(text) = &listed {
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(sizes_of)) => {
                let said = |path: &Path| count(sizes_of.get(path.file_name()?.to_str()?)?);
                notes.extend(differences(&sizes, shards, said));
                let unlisted = shards.iter().filter(|(path, _)| said(path).is_none()).count();
                if unlisted > 0 {
                    notes.push(format!("{} has no number for {unlisted} of {} shards", sizes.display(), shards.len()));
                }
            }
            _ => notes.push(format!("{} is no JSON object of shards and their sizes", sizes.display())),
        }
    }
    let len = folder.join("__len__");
    if let Some(text) = read(&len).filter(|_| listed.is_none()) {
        let total: u64 = shards.iter().map(|(_, count)| count).sum();
        match text.trim().parse::<u64>() {
            Ok(said) if said == total => {}
            Ok(said) => notes.push(format!("{} says {said} samples, and the {} shards listed hold {total}", len.display(), shards.len())),
            Err(_) => notes.push(format!("{} holds no number", len.display())),
        }
    }
    notes
}

/// A note where a file says another number than was found.
fn differences(file: &Path, shards: &[(&Path, u64)], said: impl Fn(&Path) -> Option<u64>) -> Option<String> {
    let mut wrong = shards.iter().filter_map(|(path, found)| {
        let said = said(path).filter(|said| said != found)?;
        Some(format!("{}: {said}, found {found}", path.file_name().unwrap_or_default().to_string_lossy()))
    });
    let first = wrong.next()?;
    let more = wrong.count();
    let rest = if more > 0 { format!("; so do {more} more") } else { String::new() };
    Some(format!("{} says another number of samples than there are ({first}{rest}); what is there counts", file.display()))
}

fn read(path: &Path) -> Option<String> {
    let about = std::fs::metadata(path).ok().filter(|about| about.is_file() && about.len() <= MOST);
    about.and_then(|_| std::fs::read_to_string(path).ok())
}

/// A number, also one in quotes: open_clip takes both.
fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}
