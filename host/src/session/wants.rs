//! What a run reads of a sample: the one place that tells it, to every source, for training and for `check`.

use vlhub_core::{Modality, Want, Wants};

use super::{Session, towers_of};
use crate::config::RunConfig;
use crate::data::views::Views;
use crate::engine::terms::Term;
use crate::failure::Outcome;

/// What objectives read: a part whose tower's output they need, whoever's weights it has, and what they say beside that. A tower that begins by
/// looking at a batch needs its part too.
pub fn of_objectives(config: &RunConfig, terms: &[Term]) -> Wants {
    let part = |modality| match modality {
        Modality::Image => Wants::NOTHING.picture(Want::Required),
        Modality::Text => Wants::NOTHING.text(Want::Required),
    };
    let needs = terms.iter().flat_map(|term| &term.needs).map(|need| part(need.forward.modality));
    let said = terms.iter().map(|term| term.objective.reads());
    let begun = towers_of(config).filter(|(_, tower)| tower.training.lsuv).map(|(modality, _)| part(modality));
    needs.chain(said).chain(begun).fold(Wants::NOTHING, Wants::and)
}

/// What objectives read, and what the caption transforms of the views read on the way. Labels that a transform makes are not the data's.
pub fn of_run(objectives: Wants, views: &Views) -> Wants {
    let objectives =
        if views.classes().is_some() { objectives.label(Want::Unread).and(Wants::NOTHING.text(Want::Required)) } else { objectives };
    let transforms = views.texts.iter().chain(&views.labeller).flat_map(|view| &view.transform);
    transforms.map(|(_, transform)| transform.reads()).fold(objectives, Wants::and)
}

/// [`of_run`] for a run of which nothing is built: its towers are made without memory.
///
/// # Errors
/// Whatever a plugin refuses.
pub fn on_paper(config: &RunConfig) -> Outcome<Wants> {
    let Session { towers, terms, .. } = super::on_paper(config)?;
    let objectives = of_objectives(config, &terms);
    Ok(of_run(objectives, &super::views(config, &towers, None, objectives)?))
}
