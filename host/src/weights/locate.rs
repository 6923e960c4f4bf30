//! From what a user writes to files on this disk.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};
use crate::formats::FILES;
use crate::hub::{Cache, PublishedSource};
use crate::models::pretrained;

/// What a published repository calls its weights, in order of preference.
pub const NAMES: &[&str] = &[
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// The file or folder of weights that `source` stands for: a path, `hf-hub:…`, `local-dir:…`, or a tag of `model`. Relative paths start at
/// `base`.
///
/// # Errors
/// Where it was looked for, and what to do.
pub fn locate(source: &str, base: &Path, model: &str) -> Outcome<PathBuf> {
    let failed = |why: String| Failure::new(Failure::RESUME, why);
    if let Some(published) = PublishedSource::parse(source) {
        // On this disk, every name costs nothing to look for.
        let names = if matches!(published, PublishedSource::Folder(_)) { FILES } else { NAMES };
        return published.first_of(base, names).map_err(failed);
    }
    let path = base.join(source);
    if path.exists() {
        return checkpoint(&path);
    }
    let Some(weights) = pretrained::tag(model, source) else {
        return Err(failed(format!("no weights at `{}`: there is no such file or folder", path.display())));
    };
    if weights.hf_hub.is_empty() {
        return Cache::of_environment().url(&weights.url).map_err(failed);
    }
    // `ORGANISATION/NAME/` with the usual files, or `ORGANISATION/NAME/FILE`.
    let mut parts = weights.hf_hub.splitn(3, '/');
    let repository = [parts.next(), parts.next()].map(Option::unwrap_or_default).join("/");
    let names = match parts.next().filter(|file| !file.is_empty()) {
        Some(file) => vec![file],
        None => NAMES.to_vec(),
    };
    Cache::of_environment().first_of(&repository, "main", &names).map_err(failed)
}

/// The weights of a checkpoint folder or of a run's newest valid checkpoint; any other path is itself.
///
/// # Errors
/// A run without a valid checkpoint.
pub fn checkpoint(path: &Path) -> Outcome<PathBuf> {
    if path.is_file() {
        return Ok(path.to_path_buf());
    }
    let missing = |why: &str| Failure::new(Failure::RESUME, format!("no weights at `{}`: {why}", path.display()));
    if !path.exists() {
        return Err(missing("there is no such file or folder"));
    }
    if FILES.iter().any(|name| path.join(name).is_file()) {
        return Ok(path.to_path_buf());
    }
    let file = path.join("rank-0.safetensors");
    if file.is_file() {
        return Ok(file);
    }
    let checkpoints = if path.join("checkpoints").is_dir() { path.join("checkpoints") } else { path.to_path_buf() };
    let found = crate::checkpoint::Store::open(&checkpoints)?.latest().map_err(|error| missing(&error.to_string()))?;
    found.map(|found| found.path.join("rank-0.safetensors")).ok_or_else(|| missing("it holds no valid checkpoint"))
}
