//! Towers that objectives read and nothing trains: teachers, and the moving average.

use tch::Device;
use vlhub_core::{Modality, Teacher};

use super::{Session, build_weightless, initial_weights};
use crate::config::{RunConfig, TeacherConfig};
use crate::engine::towers::Towers;
use crate::failure::{Failure, Outcome};

/// A teacher with its weights.
pub(super) fn load(teacher: &TeacherConfig, device: Device) -> Outcome<(Teacher, Towers)> {
    let place = |failure: Failure| Failure::new(failure.code, format!("teacher.{}: {}", teacher.name, failure.message));
    let mut session = build_weightless(&teacher.config, device, &[]).map_err(place)?;
    initial_weights::load_named(&teacher.config, &mut session).map_err(place)?;
    let about = describe(teacher, &session);
    session.towers.vars.freeze();
    Ok((about, session.towers))
}

/// What objectives are told of a teacher.
pub(super) fn describe(teacher: &TeacherConfig, session: &Session) -> Teacher {
    Teacher {
        name: teacher.name.clone(),
        embed: teacher.config.top.embed,
        image: session.towers.about(Modality::Image),
        text: session.towers.about(Modality::Text),
        log_scale: session.logit_scale().map(|scale| scale.reshape([1i64]).double_value(&[0])),
    }
}

/// A copy of the towers that begins where they begin.
pub(super) fn average(config: &RunConfig, towers: &Towers) -> Outcome<Towers> {
    let [image, text] = config.backbones();
    let mut copy = Towers::build(towers.vars.device(), towers.embed, towers.custom_text, image, text)?;
    for (net, tower) in [(&mut copy.image, &config.image), (&mut copy.text, &config.text)] {
        if let (Some(net), Some(tower)) = (net, tower) {
            net.drop = tower.training.drop;
        }
    }
    copy.vars.freeze();
    let _no_grad = tch::no_grad_guard();
    let now = towers.vars.variables();
    for (name, mut tensor) in copy.vars.variables() {
        let start = now.get(&name).ok_or_else(|| vlhub_core::Error::invalid(format!("the towers have no `{name}` to average")))?;
        tensor.f_copy_(start).map_err(vlhub_core::Error::from)?;
    }
    Ok(copy)
}
