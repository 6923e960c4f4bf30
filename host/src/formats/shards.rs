//! Weights in several files, and the folder that a model came in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use vlhub_core::{Error, Result};

use super::{Budget, Checked, Format, PartChoice, WeightFile};

/// Names of weight files in a folder or a published repository, the preferred one first: open_clip's own order, then Hugging Face's, which
/// takes safetensors before pickles and one file before shards.
pub const FILES: &[&str] = &[
    "open_clip_model.safetensors",
    "open_clip_model.safetensors.index.json",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.bin.index.json",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "pytorch_model.pth",
    "model.pth",
];
/// Files that weights may be split into.
const SHARDS: usize = 2000;

/// The weight file of a folder.
///
/// # Errors
/// The folder, if it holds none of the usual names.
pub(super) fn in_folder(folder: &Path) -> Result<PathBuf> {
    if let Some(file) = FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file()) {
        return Ok(file);
    }
    let entries = std::fs::read_dir(folder).map_err(|error| Error::io(folder, error))?;
    let mut there: Vec<_> = entries.flatten().take(1000).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    there.sort();
    there.truncate(10);
    Err(Error::invalid(format!(
        "{}: no weight file in this folder. Looked for: {}. It holds: {}. Name the file itself",
        folder.display(),
        FILES.join(" "),
        if there.is_empty() { "nothing".into() } else { there.join(" ") }
    )))
}

#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// Names of the shards, and the tensors that the index places in each.
fn shards(json: &[u8]) -> Checked<BTreeMap<String, BTreeSet<String>>> {
    let index: ShardIndex = serde_json::from_slice(json).map_err(|error| {
        format!("this JSON file is not an index of shards (it needs `weight_map`): {error}; if it is a model's configuration, name the weight file instead")
    })?;
    let mut shards: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, file) in index.weight_map {
        // Only files beside the index: a name must not lead anywhere else.
        if file.is_empty() || file.starts_with('.') || file.contains(['/', '\\', '\0']) || file.len() > 255 || file.ends_with(".json") {
            return Err(format!("tensor `{name}` lies in `{file}`, which is not the name of a weight file beside the index"));
        }
        shards.entry(file).or_default().insert(name);
    }
    match shards.len() {
        0 => Err("the index names no tensors".into()),
        count if count > SHARDS => Err(format!("the index names {count} files; at most {SHARDS} are read")),
        _ => Ok(shards),
    }
}

/// Reads every shard of an index.
pub(super) fn read(path: &Path, json: &[u8], wanted: PartChoice<'_>, budget: &mut Budget<'_>) -> Result<WeightFile> {
    let bad = |why: String| Error::invalid(format!("{}: {why}", path.display()));
    let shards = shards(json).map_err(bad)?;
    let mut whole: Option<WeightFile> = None;
    let mut seen = BTreeSet::new();
    for (file, mut names) in shards {
        let shard = super::read_one(&path.with_file_name(&file), wanted, budget, false)?;
        for (name, _) in &shard.tensors {
            names.remove(name);
            if !seen.insert(name.clone()) {
                return Err(bad(format!("tensor `{name}` is in `{file}` and in a file before it")));
            }
        }
        if let Some(missing) = names.first() {
            return Err(bad(format!("tensor `{missing}` should be in `{file}`, but is not; fetch the files again")));
        }
        match &mut whole {
            Some(whole) => whole.tensors.extend(shard.tensors),
            None => whole = Some(shard),
        }
    }
    let mut whole = whole.ok_or_else(|| bad("the index names no files".into()))?;
    whole.format = match whole.format {
        Format::Safetensors => Format::ShardedSafetensors,
        _ => Format::ShardedPyTorch,
    };
    whole.tensors.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(whole)
}
