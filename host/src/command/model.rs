//! Which model a command builds, and with which weights. What a run's checkpoint says of itself goes before what is named beside it.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tch::Device;
use vlhub_core::Teacher;

use super::registry_of;
use crate::cli::{Shared, WeightArgs};
use crate::config::document::{Document, OF_MODEL};
use crate::config::{NO_WEIGHTS, RunConfig};
use crate::failure::{Failure, Outcome};
use crate::formats::{self, WeightSet};
use crate::hub;
use crate::identity::description::{Description, as_written};
use crate::identity::difference::Sides;
use crate::identity::{Difference, RunCheckpoint, claims};
use crate::models::pretrained::{self, Pretrained};
use crate::session::initial_weights::{self, NamedWeights};
use crate::session::{self, Session};
use crate::weights::fit::Part;
use crate::weights::locate::locate;

/// What a command was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct ModelRequest<'a> {
    /// A model's name, a model config, a run file, or a run's folder.
    pub model: Option<&'a str>,
    /// The options of the model, where they come from no file: complete, and `model` is what messages call them.
    pub document: Option<&'a Document>,
    /// Options laid over it.
    pub overrides: &'a [String],
    /// Weights.
    pub checkpoint: Option<&'a str>,
    /// Which of the weights, and whose model.
    pub weights: &'a WeightArgs,
    /// What to do where nothing names weights.
    pub without: WithoutWeights,
}

/// What to do where nothing names weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WithoutWeights {
    /// Random ones: they were asked for.
    Random,
    /// A run file's towers may be looked at before they are trained: a warning. Anything else is refused.
    WarnOfRunFiles,
    /// Refused.
    Refuse,
}

/// The model that a command builds.
#[derive(Debug)]
pub(super) struct ChosenModel {
    /// Its options.
    pub config: RunConfig,
    /// The run's checkpoint that describes it, if one does.
    pub run: Option<RunCheckpoint>,
    /// Where the run or the weights differ from what was named.
    pub differences: Vec<Difference>,
    /// Weights that are named beside the model; else those of `config` are taken.
    checkpoint: Option<PathBuf>,
    tag: Option<&'static Pretrained>,
    choice: Option<WeightSet>,
    lenient: bool,
}

/// Finds out which model is meant.
///
/// # Errors
/// What cannot be read; options that would build another model than the run's; a model without weights.
pub(super) fn choose(shared: &Shared, asked: ModelRequest<'_>) -> Outcome<ChosenModel> {
    let mut asked = asked;
    // A run's folder is a model with its weights.
    if let (Some(model), None) = (asked.model, asked.checkpoint)
        && is_run(Path::new(model))
    {
        (asked.checkpoint, asked.model) = (Some(model), None);
    }
    let tag = tag_of(shared, &asked)?;
    let located = asked.checkpoint.filter(|_| tag.is_none()).map(|source| locate(source, Path::new("."), "")).transpose()?;
    let run = located.as_deref().map(RunCheckpoint::of).transpose()?.flatten();
    match run {
        Some(run) if asked.model.is_none() || !asked.weights.model_as_named => of_run(shared, &asked, run),
        _ => as_named(shared, &asked, located, tag),
    }
}

/// Whether a folder is that of a run, or one of its checkpoints.
pub(super) fn is_run(folder: &Path) -> bool {
    folder.join("checkpoints").is_dir() || folder.join("manifest.json").is_file()
}

/// The tag of the model that `--checkpoint` names, unless there is a file of that name.
fn tag_of(shared: &Shared, asked: &ModelRequest<'_>) -> Outcome<Option<&'static Pretrained>> {
    let (Some(model), Some(source)) = (asked.model, asked.checkpoint) else { return Ok(None) };
    if Path::new(source).exists() || hub::PublishedSource::parse(source).is_some() {
        return Ok(None);
    }
    let document = named(shared, asked, model, asked.overrides)?;
    Ok(document.tree.get("model").and_then(Value::as_str).and_then(|model| pretrained::tag(model, source)))
}

/// The model that a run's checkpoint describes.
fn of_run(shared: &Shared, asked: &ModelRequest<'_>, run: RunCheckpoint) -> Outcome<ChosenModel> {
    let key =
        |argument: &String| argument.split_once('=').map_or("", |(key, _)| key.trim()).split('.').next().unwrap_or_default().to_owned();
    if let Some(other) = asked.overrides.iter().find(|argument| ["model", "pretrained", "teacher"].contains(&key(argument).as_str())) {
        return Err(other_model(&run, other));
    }
    let of_model = |argument: &&String| {
        let key = key(argument);
        OF_MODEL.contains(&key.as_str()) || ["device", "seed", "pretrained_partial", "pretrained_weights", "folder"].contains(&key.as_str())
    };
    let (overrides, others): (Vec<String>, Vec<String>) = asked.overrides.iter().cloned().partition(|argument| of_model(&argument));
    let document = run.model();
    let described = RunConfig::of(&document, &registry_of(shared, &document)?)?;
    let mut asked_for = document;
    asked_for.set_all(&overrides)?;
    let config = RunConfig::of(&asked_for, &registry_of(shared, &asked_for)?)?;
    let sides = Sides { used: "the run", other: "the command line" };
    if let [first, ..] = &sides.all(&as_written(&described), &as_written(&config))[..] {
        return Err(other_model(&run, &format!("{}: {} in the run, {} in the command line", first.key, first.used, first.other)));
    }
    let mut differences = Vec::new();
    if let Some(name) = asked.model {
        differences = against_named(&described, &load_named(shared, asked, name, &others)?, name);
        for difference in &differences {
            tracing::warn!("{difference}");
        }
        if !differences.is_empty() {
            tracing::warn!("`--model-as-named` builds the model of {name} instead");
        }
    }
    let choice = asked.weights.weights.or(config.top.pretrained_weights);
    let checkpoint = Some(run.weights.clone());
    Ok(ChosenModel { config, run: Some(run), differences, checkpoint, tag: None, choice, lenient: asked.weights.model_as_named })
}

fn other_model(run: &RunCheckpoint, what: &str) -> Failure {
    Failure::usage(format!(
        "the checkpoint `{}` describes its model, and this would build another: {what}; leave it out, or name a model or run file and add \
         `--model-as-named`",
        run.folder.display()
    ))
}

/// Where a run differs from the model or run file that was named beside it. Of tables that the named one does not have at all, such as the
/// objectives of a bare model, nothing is said.
fn against_named(run: &RunConfig, named: &RunConfig, name: &str) -> Vec<Difference> {
    let (run, named) = (as_written(run), as_written(named));
    let table = |key: &str| key.split('.').next().unwrap_or_default().to_owned();
    let has = |description: &Description, key: &str| description.keys().any(|known| table(known) == table(key));
    if !has(&named, "backbone") {
        return Vec::new();
    }
    let mut found = Sides { used: "the run", other: name }.all(&run, &named);
    found.retain(|difference| has(&named, &difference.key));
    found
}

/// The model that is named, or that weights of other programs describe.
fn as_named(shared: &Shared, asked: &ModelRequest<'_>, located: Option<PathBuf>, tag: Option<&'static Pretrained>) -> Outcome<ChosenModel> {
    let mut document = match (asked.model, asked.checkpoint, &located) {
        (Some(model), ..) => named(shared, asked, model, asked.overrides)?,
        (None, Some(source), Some(file)) => {
            let mut document = described_by(shared, source, file)?.ok_or_else(|| undescribed(source))?;
            document.set_all(asked.overrides)?;
            document
        }
        _ => return Err(Failure::usage("name a model with `--model`, or a run with `--checkpoint`")),
    };
    if let (Some(_), Some(name)) = (tag, asked.checkpoint) {
        document.tree.insert("pretrained".into(), name.into());
    }
    let mut config = RunConfig::of(&document, &registry_of(shared, &document)?)?;
    let choice = asked.weights.weights.or(config.top.pretrained_weights);
    if located.is_some() {
        // What the weights were begun with does not matter any more.
        config.top.pretrained = NO_WEIGHTS.into();
        for tower in [&mut config.image, &mut config.text].into_iter().flatten() {
            tower.training.init.clear();
        }
    } else if config.weights().is_none() {
        refuse_random(asked, &config)?;
    }
    config.top.pretrained_weights = choice;
    Ok(ChosenModel { config, run: None, differences: Vec::new(), checkpoint: located, tag, choice, lenient: asked.weights.model_as_named })
}

/// What to do with a model of which nothing names weights for every tower.
fn refuse_random(asked: &ModelRequest<'_>, config: &RunConfig) -> Outcome {
    let towers = [("image", &config.image), ("text", &config.text)];
    let random =
        towers.iter().filter_map(|(name, tower)| Some((name, tower.as_ref()?))).filter(|(_, tower)| tower.training.init.is_empty());
    let random: Vec<&str> = random.map(|(name, _)| *name).collect();
    if random.is_empty() {
        return Ok(());
    }
    let name = asked.model.unwrap_or("the model");
    let (tower, has) = if random.len() > 1 { ("towers", "have") } else { ("tower", "has") };
    let what = format!("the {} {tower} of `{name}` {has} random weights", random.join(" and the "));
    match asked.without {
        WithoutWeights::Random => tracing::warn!("{what}, as asked for"),
        WithoutWeights::WarnOfRunFiles if name.ends_with(".toml") => {
            tracing::warn!("{what}: what comes out means nothing. Name a trained model with `--checkpoint RUN`");
        }
        _ => {
            let near = Path::new(&config.top.logs).join(&config.top.name);
            let there = !config.top.name.is_empty() && near.join("checkpoints").is_dir();
            let hint = if there { format!(", such as `--checkpoint {}`", near.display()) } else { String::new() };
            return Err(Failure::usage(format!(
                "{what}: nothing names any; name them with `--checkpoint`{hint}, or ask for random ones with `--random-weights`"
            )));
        }
    }
    Ok(())
}

/// The document of a model's name, a model config or a run file.
fn document(shared: &Shared, name: &str, overrides: &[String]) -> Outcome<Document> {
    let mut document = if name.ends_with(".toml") {
        Document::read(Path::new(name), overrides)?
    } else {
        let mut document = Document::of_model(name);
        document.set_all(overrides)?;
        document
    };
    super::lay_shared(shared, &mut document)?;
    Ok(document)
}

/// The document of the model that is asked for.
fn named(shared: &Shared, asked: &ModelRequest<'_>, name: &str, overrides: &[String]) -> Outcome<Document> {
    asked.document.map_or_else(|| document(shared, name, overrides), |document| Ok(document.clone()))
}

/// The options of a model's name, a model config or a run file.
fn load_named(shared: &Shared, asked: &ModelRequest<'_>, name: &str, overrides: &[String]) -> Outcome<RunConfig> {
    let document = named(shared, asked, name, overrides)?;
    RunConfig::of(&document, &registry_of(shared, &document)?)
}

/// The model that weights of other programs describe completely: published ones with open_clip's config, and files that this program converted.
pub(super) fn described_by(shared: &Shared, source: &str, file: &Path) -> Outcome<Option<Document>> {
    if hub::PublishedSource::parse(source).is_some() {
        return document(shared, source, &[]).map(Some);
    }
    if file.join("open_clip_config.json").is_file() {
        return document(shared, &format!("local-dir:{}", file.display()), &[]).map(Some);
    }
    if file.is_dir() {
        return Ok(None);
    }
    let metadata = formats::metadata(file, &formats::Limits::default());
    let metadata = metadata.map_err(|error| Failure::new(Failure::RESUME, error.to_string()))?;
    Ok(claims::of_metadata(&metadata, file))
}

fn undescribed(source: &str) -> Failure {
    Failure::usage(format!("the weights `{source}` do not describe their model; name it with `--model`"))
}

impl ChosenModel {
    /// Builds it and loads its weights. Without a `tokenizer`, its text tower takes token ids.
    ///
    /// # Errors
    /// Whatever a plugin refuses, an unreadable tokenizer, or weights that do not fit.
    pub fn build(&self, device: Device, tokenizer: bool) -> Outcome<Session> {
        let teachers: Option<&[Teacher]> = self.run.as_ref().and_then(|run| run.teachers.as_deref());
        let mut session = session::build_trained(&self.config, device, teachers)?;
        if let Some(file) = &self.checkpoint {
            let weights = NamedWeights { file, tag: self.tag, choice: self.choice, part: Part::Whole, lenient: self.lenient };
            session.loaded.push(initial_weights::load(&self.config, &session.towers, &weights)?);
        }
        if tokenizer {
            session.tokenizer = session::tokenizer(&self.config, &session.towers)?;
        }
        Ok(session)
    }

    /// Where the run or the weights that were loaded differ from what was named.
    pub fn all_differences(&self, session: &Session) -> Vec<Difference> {
        self.differences.iter().chain(session.loaded.iter().flat_map(|loaded| &loaded.differences)).cloned().collect()
    }
}

/// Which weights a model has, for results: `average`, `raw` or `random`.
pub(super) fn weights_name(session: &Session) -> &'static str {
    session.loaded.first().map_or("random", |loaded| loaded.set.name())
}
