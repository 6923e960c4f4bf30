//! What is translated, and what comes of it.

use std::path::{Path, PathBuf};

use vlhub_core::Registry;

use crate::compat::given::GivenFlags;
use crate::config::document::{Document, to_toml};
use crate::failure::{Failure, Outcome};

/// What the translation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `vlhub train`: without a run file, open_clip's defaults hold.
    Train,
    /// `vlhub eval`: models, weights and suites; nothing has a default.
    Eval,
}

/// What is to be translated.
#[derive(Debug)]
pub struct Request<'a> {
    /// The flags.
    pub given: &'a GivenFlags,
    /// For which command.
    pub purpose: Purpose,
    /// The run file over which the flags go; without one they are the run file.
    pub below: Option<Document>,
    /// Whether a run is measured, which describes its model.
    pub of_run: bool,
    /// What `--resume` named, of `vlhub train`.
    pub resume: Option<&'a str>,
    /// The plugins that are there: a model may be the name of a tower.
    pub registry: &'a Registry,
    /// Folders of model configs of the user's own.
    pub model_configs: &'a [PathBuf],
}

/// The run file that flags stand for.
#[derive(Debug)]
pub struct FlagTranslation {
    /// The run file. Its keys know the flag that they come from.
    pub document: Document,
    /// What the user is told: flags without effect, and choices that were made.
    pub notes: Vec<String>,
}

impl FlagTranslation {
    /// The run file as text, with the notes before it.
    pub fn to_toml(&self) -> String {
        let notes: String = self.notes.iter().map(|note| format!("# {}\n", note.replace('\n', " "))).collect();
        format!("{notes}{}", to_toml(&self.document.tree))
    }
}

/// Whether flags without a run file name nothing to train on: then open_clip and VL Hub measure the model and stop.
pub fn only_measures(given: &GivenFlags) -> bool {
    let synthetic = given.text("dataset-type").is_some_and(|kind| kind.starts_with("synthetic"));
    !given.is_empty() && !synthetic && ["train-data", "schema"].iter().all(|name| given.get(name).is_none())
}

/// Refuses to resume from a file: checkpoints of VL Hub are folders.
///
/// # Errors
/// What to do instead.
pub fn refuse_foreign_checkpoint(resume: &str) -> Outcome {
    let path = Path::new(resume);
    if !path.extension().is_some_and(|end| ["pt", "pth", "tar", "bin", "ckpt"].iter().any(|known| end == *known)) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "`--resume {resume}`: a checkpoint file of another program has no optimiser state that fits this one's; take its weights alone with \
         `--pretrained {resume}`. A run of VL Hub goes on with `--resume latest` and its `--name`"
    )))
}
