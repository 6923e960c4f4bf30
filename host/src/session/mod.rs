//! From a checked run file to towers, objectives and views.

pub mod initial_weights;
pub mod loading;
pub mod parameters;
mod teachers;
mod tokenizer;
mod trained_parts;
mod views;
pub mod wants;

use std::sync::Arc;

use tch::{Device, Tensor};
use vlhub_core::{Modality, ObjectiveCx, Teacher, Tower, Weights};

use crate::config::{RunConfig, TowerConfig};
use crate::data::tokens::Tokenizer;
use crate::engine::lora::Adapter;
use crate::engine::readonly::{self, ReadOnly};
use crate::engine::terms::Term;
use crate::engine::towers::Towers;
use crate::failure::{Failure, Outcome};

pub use initial_weights::LoadedWeights;
pub use tokenizer::{named_tokenizer, tokenizer, tokenizer_file};
pub use trained_parts::early_warnings;
pub use views::{refused_steps, text_views, truncate, views};

/// Towers and objectives of a run, with its weights to start from.
#[derive(Debug)]
pub struct Session {
    /// Towers, projections and all parameters.
    pub towers: Towers,
    /// Objectives.
    pub terms: Vec<Term>,
    /// Turns texts into ids, when there is a text tower.
    pub tokenizer: Option<Arc<dyn Tokenizer>>,
    /// The weights that were loaded, those of the whole model first.
    pub loaded: Vec<LoadedWeights>,
}

impl Session {
    /// The logit scale of the weights that were loaded.
    pub fn logit_scale(&self) -> Option<&Tensor> {
        self.loaded.first().and_then(|loaded| loaded.fitted.scale.as_ref())
    }
}

/// Builds what a run file names, to be trained: with the towers that objectives only read. The same seed gives the same initial weights.
///
/// # Errors
/// Whatever a plugin refuses, an unreadable tokenizer, weights that do not fit, or teachers that read other batches.
pub fn build_for_training(config: &RunConfig, device: Device) -> Outcome<Trainable> {
    let teachers = config.teachers.iter().map(|teacher| teachers::load(teacher, device)).collect::<Outcome<Vec<_>>>()?;
    let about: Vec<Teacher> = teachers.iter().map(|(about, _)| about.clone()).collect();
    let mut session = build_weightless(config, device, &about)?;
    initial_weights::load_named(config, &mut session)?;
    session.tokenizer = tokenizer(config, &session.towers)?;
    for (about, towers) in &teachers {
        readonly::check_teacher(&about.name, &session.towers, towers)?;
    }
    let averaged = session.terms.iter().flat_map(|term| &term.needs).any(|need| need.forward.weights == Weights::Average);
    let mut average = averaged.then(|| teachers::average(config, &session.towers)).transpose()?;
    let lora = trained_parts::adapt(config, &mut session.towers)?;
    if let Some(average) = &mut average {
        average.normalise_like(&session.towers)?;
    }
    Ok(Trainable { session, readonly: ReadOnly { average, teachers }, lora })
}

/// What a run trains, and what it needs for that.
#[derive(Debug)]
pub struct Trainable {
    /// Towers and objectives.
    pub session: Session,
    /// Towers that objectives only read.
    pub readonly: ReadOnly,
    /// Low-rank adapters.
    pub lora: Vec<Adapter>,
}

/// The towers that a run names.
fn towers_of(config: &RunConfig) -> impl Iterator<Item = (Modality, &TowerConfig)> {
    [(Modality::Image, &config.image), (Modality::Text, &config.text)].into_iter().filter_map(|(of, tower)| Some((of, tower.as_ref()?)))
}

/// Towers and objectives without weights: for shapes.
pub(crate) fn on_shapes(config: &RunConfig) -> Outcome<Session> {
    build_weightless(config, Device::Cpu, &[])
}

/// [`on_shapes`], and objectives that are told of teachers: for tests of the engine.
#[cfg(test)]
pub(crate) fn with_teachers(config: &RunConfig, teachers: &[Teacher]) -> Outcome<Session> {
    build_weightless(config, Device::Cpu, teachers)
}

/// Builds a model to be used, with its weights and without its tokenizer. Its objectives are told of these teachers; without them, of those that
/// `config` names.
///
/// # Errors
/// Whatever a plugin refuses, or weights that do not fit.
pub fn build_trained(config: &RunConfig, device: Device, teachers: Option<&[Teacher]>) -> Outcome<Session> {
    let teachers = teachers.map_or_else(|| sketched_teachers(config), |teachers| Ok(teachers.to_vec()))?;
    let mut session = build_weightless(config, device, &teachers)?;
    initial_weights::load_named(config, &mut session)?;
    Ok(session)
}

/// Teachers as objectives are told of them, without their weights: a trained model needs no more.
fn sketched_teachers(config: &RunConfig) -> Outcome<Vec<Teacher>> {
    config.teachers.iter().map(|teacher| Ok(teachers::describe(teacher, &on_paper(&teacher.config)?))).collect()
}

/// Towers and objectives of a run without memory: to ask them what they are.
fn on_paper(config: &RunConfig) -> Outcome<Session> {
    let teachers = sketched_teachers(config)?;
    let built = vlhub_torch_ext::on_paper(|| build_weightless(config, Device::Cpu, &teachers));
    built.map_err(|error| Failure::from(vlhub_core::Error::from(error)))?.0
}

/// What objectives are told of the towers that they read.
#[derive(Clone, Debug)]
pub struct TowerFacts {
    /// Width of the joint space.
    pub embed: i64,
    /// The image tower, if there is one.
    pub image: Option<Tower>,
    /// The text tower, if there is one.
    pub text: Option<Tower>,
    /// Teachers. Of their weights nothing is known.
    pub teachers: Vec<Teacher>,
}

/// The towers of a run of which nothing is built.
///
/// # Errors
/// Whatever a plugin refuses.
pub fn tower_facts(config: &RunConfig) -> Outcome<TowerFacts> {
    let towers = on_paper(config)?.towers;
    let [image, text] = [Modality::Image, Modality::Text].map(|modality| towers.about(modality));
    Ok(TowerFacts { embed: towers.embed, image, text, teachers: sketched_teachers(config)? })
}

/// The tokenizer of a run of which nothing is built; none without a text tower.
///
/// # Errors
/// Whatever a plugin refuses, or a tokenizer that does not fit.
pub fn tokenizer_on_paper(config: &RunConfig) -> Outcome<Option<Arc<dyn Tokenizer>>> {
    tokenizer(config, &on_paper(config)?.towers)
}

fn build_weightless(config: &RunConfig, device: Device, teachers: &[Teacher]) -> Outcome<Session> {
    tch::manual_seed(config.top.seed as i64);
    let [image, text] = config.backbones();
    let mut towers = Towers::build(device, config.top.embed, config.top.custom_text, image, text)?;
    towers.pictures = views::image_input(config, &towers);
    towers.recompute = config.train.grad_checkpointing;
    for (net, tower) in [(&mut towers.image, &config.image), (&mut towers.text, &config.text)] {
        if let (Some(net), Some(tower)) = (net, tower) {
            net.drop = tower.training.drop;
        }
    }
    let mut terms = Vec::new();
    for term in &config.objectives {
        let cx = ObjectiveCx {
            path: towers.vars.root() / "objective" / term.key.as_str(),
            shared: towers.vars.root(),
            embed: config.top.embed,
            image: towers.about(Modality::Image),
            text: towers.about(Modality::Text),
            teachers: teachers.to_vec(),
        };
        let place = format!("objective.{}", term.key);
        let objective = term.chosen.config.build(&cx).map_err(|error| error.within(&place))?;
        towers.refuse_renamed(&place)?;
        for need in objective.needs() {
            towers.net(need.forward.modality).map_err(|error| error.within(&place))?;
        }
        terms.push(Term::new(&term.key, term.weight, objective));
    }
    Ok(Session { towers, terms, tokenizer: None, loaded: Vec::new() })
}
