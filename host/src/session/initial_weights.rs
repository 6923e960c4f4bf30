//! Weights of files into the towers: those that a run file names to start from, and those that a command names.

use std::path::Path;

use tch::Tensor;

use super::{Session, towers_of};
use crate::config::RunConfig;
use crate::engine::towers::Towers;
use crate::failure::{Failure, Outcome};
use crate::formats;
use crate::weights::fit::{self, Fitted, Part};
use crate::weights::locate;

/// Loads the weights that the run file names, and freezes what it says.
pub(super) fn load_named(config: &RunConfig, session: &mut Session) -> Outcome {
    let partial = config.top.pretrained_partial;
    let afresh = starts(config, &session.towers)?;
    if !config.top.pretrained.is_empty() {
        let file = locate::locate(&config.top.pretrained, &config.folder, &config.top.model)?;
        session.logit_scale = load_file(&session.towers, &file, Part::Whole, partial)?.scale;
    }
    for (modality, tower) in towers_of(config).filter(|(_, tower)| !tower.training.init.is_empty()) {
        let file = locate::locate(&tower.training.init, &config.folder, "")?;
        load_file(&session.towers, &file, Part::Tower(modality), partial)?;
    }
    tch::no_grad(|| afresh.into_iter().try_for_each(|(mut variable, start)| variable.f_copy_(&start))).map_err(vlhub_core::Error::from)?;
    for (modality, tower) in towers_of(config) {
        if !tower.training.freeze.is_empty() {
            session.towers.freeze(modality, &tower.training.freeze)?;
        }
        if let Some(unlocked) = tower.training.unlocked {
            session.towers.lock(modality, unlocked)?;
        }
        if tower.training.freeze_bn_stats {
            session.towers.keep_statistics(modality)?;
        }
    }
    Ok(())
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

/// Weights that were loaded.
#[derive(Debug)]
pub struct Loaded {
    /// What became of the file.
    pub fitted: Fitted,
    /// `logit_scale` of the file: models without an objective have no place for it.
    pub scale: Option<Tensor>,
}

/// Loads what `source` stands for ([`locate::locate`]); relative paths start where the program was started.
///
/// # Errors
/// As [`load_file`].
pub fn load(towers: &Towers, config: &RunConfig, source: &str, part: Part) -> Outcome<Loaded> {
    let file = locate::locate(source, Path::new("."), &config.top.model)?;
    load_file(towers, &file, part, config.top.pretrained_partial)
}

/// Loads a file or folder of weights of any kind and maker that is known.
///
/// # Errors
/// What is wrong with the file, or what is missing, unexpected or of another shape.
pub fn load_file(towers: &Towers, path: &Path, part: Part, partial: bool) -> Outcome<Loaded> {
    let refused = |error: vlhub_core::Error| Failure::new(Failure::RESUME, error.to_string());
    let file = formats::read(path, &formats::Limits::default()).map_err(refused)?;
    let tensors = file.tensors.into_iter().collect();
    let fitted = fit::fit(towers, &tensors, part, partial, &path.display().to_string())?;
    for (name, from, to) in &fitted.resized {
        tracing::info!("{}: `{name}` was resized from {from:?} to {to:?}", path.display());
    }
    for (what, names) in [("kept as initialised, the weights lack", &fitted.missing), ("left out, the model lacks", &fitted.unexpected)] {
        if !names.is_empty() {
            tracing::warn!("{}: {what} {}: {}", path.display(), names.len(), names.join(" "));
        }
    }
    let scale = tensors.get("logit_scale").map(Tensor::shallow_clone);
    Ok(Loaded { fitted, scale })
}
