//! The run file that a command line stands for: a file, flags of open_clip and VL Hub, or both, and options over them.

use std::path::Path;

use super::{lay_shared, registry_of, say_text};
use crate::cli::{EvalArgs, Shared, TrainArgs};
use crate::compat::{self, FlagTranslation, GivenFlags, Purpose, Request};
use crate::config::RunConfig;
use crate::config::base::apart;
use crate::config::document::Document;
use crate::failure::{Failure, Outcome};

/// What `vlhub train` trains.
///
/// # Errors
/// Neither file nor flags; a file that cannot be read; flags that are refused.
pub(super) fn of_training(shared: &Shared, args: &TrainArgs, overrides: &[String], resume: Option<&str>) -> Outcome<FlagTranslation> {
    if args.file.is_none() && args.given.is_empty() {
        return Err(Failure::usage(
            "name a run file, or what to train: `vlhub train run.toml`, `vlhub train --train-data PATH --model NAME`",
        ));
    }
    let request = DocumentUse { purpose: Purpose::Train, of_run: false, resume };
    translated(shared, args.file.as_deref(), overrides, &args.given, &request)
}

/// What `vlhub eval` measures, where it is a run file, or flags alone; `of_run` where the flags go over a run.
///
/// # Errors
/// Neither file nor flags; a file that cannot be read; flags that are refused.
pub(super) fn of_evaluation(shared: &Shared, args: &EvalArgs, of_run: bool) -> Outcome<FlagTranslation> {
    if args.target.is_none() && args.given.is_empty() {
        return Err(Failure::usage(
            "name a run or a run file, or what to measure: `vlhub eval logs/NAME`, `vlhub eval --imagenet-val PATH`",
        ));
    }
    let file = args.target.as_deref().filter(|_| !of_run);
    let overrides: &[String] = if of_run { &[] } else { &args.overrides };
    translated(shared, file, overrides, &args.given, &DocumentUse { purpose: Purpose::Eval, of_run, resume: None })
}

/// For what a document is asked for.
struct DocumentUse<'a> {
    purpose: Purpose,
    of_run: bool,
    resume: Option<&'a str>,
}

fn translated(
    shared: &Shared,
    file: Option<&Path>,
    overrides: &[String],
    given: &GivenFlags,
    asked: &DocumentUse<'_>,
) -> Outcome<FlagTranslation> {
    if let (Some(file), true) = (file, given.is_empty()) {
        return Ok(FlagTranslation { document: Document::read(file, overrides)?, notes: Vec::new() });
    }
    let (bases, others) = apart(overrides);
    if let (None, [base, ..]) = (file, &bases[..]) {
        return Err(Failure::usage(format!("`{base}`: bases are laid under a run file, and there is none")));
    }
    let below = file.map(|file| Document::read(file, &bases)).transpose()?;
    let registry = registry_of(shared, below.as_ref().unwrap_or(&Document::default()))?;
    let DocumentUse { purpose, of_run, resume } = *asked;
    let request = Request { given, purpose, below, of_run, resume, registry: &registry, model_configs: &shared.model_configs };
    let mut translated = compat::translate(request)?;
    translated.document.set_all(&others)?;
    Ok(translated)
}

/// Prints the run file.
///
/// # Errors
/// Never; as every command.
pub(super) fn print(shared: &Shared, mut translated: FlagTranslation) -> Outcome {
    if !shared.model_configs.is_empty() {
        translated.document.add_model_configs(&shared.model_configs);
    }
    say_text(&translated.to_toml());
    Ok(())
}

/// Says which flags have no effect, and what was chosen.
pub(super) fn tell(notes: &[String]) {
    for note in notes {
        tracing::info!("{note}");
    }
}

/// Checks a document against the plugins that are there, with what the flags of every command say.
///
/// # Errors
/// Every problem in one report.
pub(super) fn checked(shared: &Shared, mut document: Document) -> Outcome<RunConfig> {
    lay_shared(shared, &mut document)?;
    RunConfig::of(&document, &registry_of(shared, &document)?)
}
