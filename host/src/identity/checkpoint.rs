//! A run's checkpoint, and what it says of itself.

use std::path::{Path, PathBuf};

use serde_json::Value;
use vlhub_core::Teacher;

use super::teachers;
use crate::checkpoint::Manifest;
use crate::config::document::{Document, FOLDER, OF_MODEL};
use crate::failure::{Failure, Outcome};
use crate::formats::WeightSet;

/// The file of weights in a checkpoint.
const WEIGHTS: &str = "rank-0.safetensors";

/// The checkpoint of a run.
#[derive(Debug)]
pub struct RunCheckpoint {
    /// Its folder.
    pub folder: PathBuf,
    /// Its weights.
    pub weights: PathBuf,
    /// The complete options of the run, with where its relative paths start.
    pub document: Document,
    /// What the run's objectives were told of their teachers. Checkpoints that are older than this list have none.
    pub teachers: Option<Vec<Teacher>>,
    /// What the run measured with.
    pub measured: WeightSet,
}

impl RunCheckpoint {
    /// The checkpoint that a file of weights is part of; `None` for any other file.
    ///
    /// # Errors
    /// A checkpoint whose description cannot be read.
    pub fn of(weights: &Path) -> Outcome<Option<Self>> {
        let folder = weights.parent().filter(|_| weights.file_name().is_some_and(|name| name == WEIGHTS)).map(Path::to_path_buf);
        let Some((folder, bytes)) = folder.and_then(|folder| std::fs::read(folder.join("manifest.json")).ok().map(|bytes| (folder, bytes)))
        else {
            return Ok(None);
        };
        let manifest = Manifest::unseal(&bytes).map_err(|why| Failure::new(Failure::RESUME, format!("{}: {why}", folder.display())))?;
        let document = describe(&folder)?;
        let measured = if averages(&document) { WeightSet::Average } else { WeightSet::Raw };
        let teachers = manifest.extra.get(teachers::KEY).map(|json| teachers::of_json(json)).transpose();
        let teachers = teachers.map_err(|why| Failure::new(Failure::RESUME, format!("{}: its teachers: {why}", folder.display())))?;
        Ok(Some(Self { weights: weights.to_path_buf(), folder, document, teachers, measured }))
    }

    /// The tables that describe its model, and nothing else of the run but its device and seed.
    pub fn model(&self) -> Document {
        let mut document = self.document.clone();
        let kept = |key: &str| OF_MODEL.contains(&key) || ["seed", "device"].contains(&key);
        document.tree.retain(|key, _| kept(key) || key == "teacher" && self.teachers.is_none());
        let teachers = document.tree.get("teacher").cloned();
        document.forget_training();
        document.tree.extend(teachers.map(|teachers| ("teacher".to_owned(), teachers)));
        document
    }
}

/// Whether a run keeps a moving average and measures with it.
fn averages(document: &Document) -> bool {
    let ema = |key: &str| document.tree.get("ema").and_then(|ema| ema.get(key));
    ema("decay").and_then(Value::as_f64).is_some_and(|decay| decay > 0.0) && ema("eval").and_then(Value::as_bool).unwrap_or(true)
}

/// A checkpoint's options. Those of older checkpoints are what decides a resume, without libraries, suites and where paths start; the rest is
/// taken from the run's folder.
fn describe(folder: &Path) -> Outcome<Document> {
    let own = folder.join("config.toml");
    let mut document = Document::of_checkpoint(&own).map_err(|failure| Failure::new(Failure::RESUME, failure.message))?;
    // Every complete description has it.
    if document.tree.contains_key("logs") {
        return Ok(document);
    }
    let run = folder.ancestors().skip(1).take(2).map(|above| above.join("config.toml")).find(|file| file.is_file());
    match run {
        Some(run) => {
            let mut whole = Document::of_checkpoint(&run)?;
            whole.tree.extend(document.tree);
            document = whole;
        }
        None => tracing::warn!(
            "`{}` is of an older version and describes its model only in part; the libraries that its run loaded are unknown: name them \
             with `--library`, and where its relative paths start with `{FOLDER}=PATH`",
            folder.display()
        ),
    }
    Ok(document)
}
