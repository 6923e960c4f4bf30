//! Weights of files into the towers: those that a run file names to start from, and those that a command names.

use std::path::{Path, PathBuf};

use tch::Tensor;
use vlhub_core::Modality;

use super::{Session, towers_of, trained_parts};
use crate::config::RunConfig;
use crate::engine::towers::Towers;
use crate::failure::{Failure, Outcome};
use crate::formats::{self, PartChoice, WeightSet};
use crate::identity::{Difference, METADATA_WEIGHTS, RunCheckpoint, claims};
use crate::models::pretrained::{self, Pretrained};
use crate::weights::fit::{self, Fitted, Part};
use crate::weights::{locate, names, which};

/// Loads the weights that the run file names, and freezes what it says.
pub(super) fn load_named(config: &RunConfig, session: &mut Session) -> Outcome {
    let afresh = starts(config, &session.towers)?;
    let choice = config.top.pretrained_weights;
    if let Some(source) = config.weights() {
        let file = locate::locate(source, &config.folder, &config.top.model)?;
        let weights =
            NamedWeights { file: &file, tag: pretrained::tag(&config.top.model, source), choice, part: Part::Whole, lenient: false };
        session.loaded.push(load(config, &session.towers, &weights)?);
    }
    for (modality, tower) in towers_of(config).filter(|(_, tower)| !tower.training.init.is_empty()) {
        let file = locate::locate(&tower.training.init, &config.folder, "")?;
        let weights = NamedWeights { file: &file, tag: None, choice: None, part: Part::Tower(modality), lenient: false };
        session.loaded.push(load(config, &session.towers, &weights)?);
    }
    tch::no_grad(|| afresh.into_iter().try_for_each(|(mut variable, start)| variable.f_copy_(&start))).map_err(vlhub_core::Error::from)?;
    trained_parts::freeze(config, &mut session.towers)
}

/// Initial values of the groups of layers behind the first `load_groups`: loading must not change them.
fn starts(config: &RunConfig, towers: &Towers) -> Outcome<Vec<(Tensor, Tensor)>> {
    let mut starts = Vec::new();
    for (modality, tower) in towers_of(config).filter(|(_, tower)| tower.training.load_groups > 0) {
        let groups = towers.groups(modality)?;
        let last = groups.lockable.len();
        if tower.training.load_groups > last {
            return Err(Failure::usage(format!(
                "backbone.{modality}.load_groups: {} is more than the tower's {last} groups of layers",
                tower.training.load_groups
            )));
        }
        let loaded: Vec<&String> = groups.lockable[..tower.training.load_groups].iter().flatten().collect();
        for (name, variable) in towers.variables().into_iter().filter(|(name, _)| towers.owner(name) == Some(modality)) {
            let inside = towers.inside(modality, &name);
            let kept = |prefix: &&String| inside.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            if !loaded.iter().any(kept) {
                starts.push((variable.shallow_clone(), variable.detach().copy()));
            }
        }
    }
    Ok(starts)
}

/// Weights that somebody names.
#[derive(Clone, Copy, Debug)]
pub struct NamedWeights<'a> {
    /// The file or folder ([`locate::locate`]).
    pub file: &'a Path,
    /// What open_clip's list says of them, where they were named by a tag.
    pub tag: Option<&'static Pretrained>,
    /// The average or the raw weights; without it, what a run measured with, and of other files the raw ones.
    pub choice: Option<WeightSet>,
    /// What is loaded of them.
    pub part: Part,
    /// Take weights that describe another model, and tell of it; `pretrained_partial` does too.
    pub lenient: bool,
}

/// Weights that were loaded.
#[derive(Debug)]
pub struct LoadedWeights {
    /// What became of the file.
    pub fitted: Fitted,
    /// The file itself, where a folder was named.
    pub path: PathBuf,
    /// Which weights of the file they are.
    pub set: WeightSet,
    /// What the weights say of themselves and the model is not.
    pub differences: Vec<Difference>,
}

/// Loads weights of any kind and maker that is known, and holds what they say of themselves against the model.
///
/// # Errors
/// What is wrong with the file; what is missing, unexpected or of another shape; weights that describe towers which compute something else,
/// unless `pretrained_partial` allows it.
pub fn load(config: &RunConfig, towers: &Towers, weights: &NamedWeights<'_>) -> Outcome<LoadedWeights> {
    let refused = |error: String| Failure::new(Failure::RESUME, error);
    let wanted = weights.choice.map_or(PartChoice::Any, PartChoice::Set);
    let mut file = formats::read_part(weights.file, wanted, &formats::Limits::default()).map_err(|error| refused(error.to_string()))?;
    let run = RunCheckpoint::of(&file.path)?;
    let mut claims = claims::of_weights(&file, run.as_ref(), weights.tag, &config.registry);
    let converted = file.extras.metadata.get(METADATA_WEIGHTS).and_then(|name| WeightSet::parse(name));
    let selected = which::take(&mut file, weights.choice, run.map(|run| run.measured), converted)
        .map_err(|why| refused(format!("the weights `{}`: {why}", weights.file.display())))?;
    tell_which(&file, &selected);
    let set = selected.set;
    let tensors = names::of_file(selected.tensors);
    let partial = config.top.pretrained_partial;
    let size = claims::picture_size(&claims);
    let fitted = fit::fit(towers, &tensors, weights.part, partial, &weights.file.display().to_string(), size)?;
    tell_fitted(weights.file, &fitted, towers);
    if weights.part != Part::Tower(Modality::Text) && !claims::tells_pixels(&claims) {
        tell_pixels(weights.file, towers);
        claims.extend(claims::of_siglip(&file.path, fitted.names, &tensors));
    }
    let differences = claims::differences(&claims, config, towers, weights.part);
    claims::check(&differences, weights.file, partial || weights.lenient)?;
    Ok(LoadedWeights { fitted, path: file.path, set, differences })
}

/// Says which weights of a file are taken, where that is a choice.
fn tell_which(file: &formats::WeightFile, selected: &which::SelectedWeights) {
    let (taken_is, other) = match selected.set {
        WeightSet::Average => ("the moving average of the weights", "`raw` takes the weights as they were trained"),
        WeightSet::Raw => ("the weights as they were trained", "`average` takes their moving average"),
    };
    if selected.both {
        tracing::info!("{}: taken: {taken_is}; {other} (`--weights`, `pretrained_weights`)", file.path.display());
    } else if selected.set == WeightSet::Average {
        tracing::info!("{}: it holds {taken_is}", file.path.display());
    }
}

/// Says what became of a file.
fn tell_fitted(file: &Path, fitted: &Fitted, towers: &Towers) {
    for (name, how) in &fitted.resized {
        tracing::info!("{}: `{name}` was resized from {how}", file.display());
    }
    for (what, names) in [("kept as initialised, the weights lack", &fitted.missing), ("left out, the model lacks", &fitted.unexpected)] {
        if !names.is_empty() {
            tracing::warn!("{}: {what} {}: {}", file.display(), names.len(), names.join(" "));
        }
    }
    let all = towers.vars.variables();
    for (name, scalar) in fitted.unfilled.iter().filter_map(|name| Some((name, all.get(name).filter(|tensor| tensor.numel() == 1)?))) {
        tracing::info!("{}: the weights lack `{name}`; it starts at {}", file.display(), scalar.reshape([1i64]).double_value(&[0]));
    }
}

/// Says how pictures are prepared for weights that do not tell.
fn tell_pixels(file: &Path, towers: &Towers) {
    let Some(input) = towers.pictures else { return };
    tracing::info!(
        "{}: the weights do not tell how their pictures were prepared; taken: mean {:?}, std {:?}, {:?}, {:?} (`[preprocess]`)",
        file.display(),
        input.mean,
        input.std,
        input.sampling.filter,
        input.fit
    );
}
