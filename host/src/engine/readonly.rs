//! Frozen towers that objectives read: the moving average of the run's own, and teachers.

use tch::{Kind, Tensor};
use vlhub_core::{Batch, Encoded, Error, InputSpec, Modality, Need, Result, Teacher, Weights};

use super::towers::{Seeds, Towers};

/// The frozen towers of a run.
#[derive(Debug, Default)]
pub struct ReadOnly {
    /// The moving average, where an objective reads it.
    pub average: Option<Towers>,
    /// Teachers, with what objectives are told of them.
    pub teachers: Vec<(Teacher, Towers)>,
}

impl ReadOnly {
    /// Runs the forward that `need` names over `chunk`, without a graph. The average runs as in training, with draws of its own; a teacher
    /// evaluates.
    ///
    /// # Errors
    /// Weights that the run does not have, or whatever the tower refuses.
    pub fn encode(&self, need: &Need, chunk: &Batch, trained: &Towers, seeds: Option<Seeds>, first: i64) -> Result<Encoded> {
        let _no_grad = tch::no_grad_guard();
        let Need { forward, tokens } = need;
        let no_towers = || Error::invalid(format!("the run has no towers for {forward}"));
        match &forward.weights {
            Weights::Trained => Err(no_towers()),
            Weights::Average => self.average.as_ref().ok_or_else(no_towers)?.encode_need(need, chunk, seeds, first),
            Weights::Teacher(name) => {
                let (_, teacher) = self.teachers.iter().find(|(about, _)| about.name == *name).ok_or_else(no_towers)?;
                match forward.modality {
                    Modality::Text => teacher.encode(Modality::Text, chunk.text(&forward.view)?, *tokens, None),
                    Modality::Image => {
                        let pictures = renormalised(chunk.image(&forward.view)?, trained, teacher)?;
                        teacher.encode(Modality::Image, &pictures, *tokens, None)
                    }
                }
            }
        }
    }

    /// The moving average, by name under `average.`, sorted: what a checkpoint must hold.
    pub fn variables(&self) -> Vec<(String, Tensor)> {
        let all = self.average.iter().flat_map(Towers::variables);
        all.map(|(name, tensor)| (format!("average.{name}"), tensor)).collect()
    }

    /// Moves the average towards the trained towers: `m · average + (1 - m) · trained`. What no gradient trains (running statistics) is taken
    /// over as it is.
    ///
    /// # Errors
    /// A momentum outside 0..=1.
    pub fn follow(&self, trained: &Towers, momentum: f64) -> Result<()> {
        let Some(average) = &self.average else { return Ok(()) };
        if !(0.0..=1.0).contains(&momentum) {
            return Err(Error::invalid(format!("the momentum of the moving average is {momentum}; it lies between 0 and 1")));
        }
        let _no_grad = tch::no_grad_guard();
        let now = trained.vars.variables();
        // A momentum of 0 is a copy, to the bit.
        for (name, mut tensor) in average.vars.variables() {
            let Some(target) = now.get(&name) else { continue };
            if target.requires_grad() && momentum > 0.0 {
                // a + (1 - m)(b - a), in one kernel.
                let _ = tensor.f_lerp_(&target.detach(), 1.0 - momentum)?;
            } else {
                tensor.f_copy_(target)?;
            }
        }
        Ok(())
    }
}

/// Pictures that were normalised for the trained tower, as the teacher wants them.
fn renormalised(pictures: &Tensor, trained: &Towers, teacher: &Towers) -> Result<Tensor> {
    let (Some(ours), Some(theirs)) = (&trained.pictures, &teacher.pictures) else { return Ok(pictures.shallow_clone()) };
    if (ours.mean, ours.std) == (theirs.mean, theirs.std) {
        return Ok(pictures.shallow_clone());
    }
    let channels = |of: &dyn Fn(usize) -> f32| Tensor::from_slice(&[of(0), of(1), of(2)]).view([3, 1, 1]).to_device(pictures.device());
    let scale = channels(&|at| ours.std[at] / theirs.std[at]);
    let shift = channels(&|at| (ours.mean[at] - theirs.mean[at]) / theirs.std[at]);
    Ok((pictures.f_mul(&scale)? + shift).to_kind(Kind::Float))
}

/// Whether a teacher can read the batches that are made for the trained towers.
///
/// # Errors
/// What differs: the size of pictures, the context, the ids.
pub fn check_teacher(name: &str, trained: &Towers, teacher: &Towers) -> Result<()> {
    for modality in [Modality::Image, Modality::Text] {
        let (Ok(ours), Ok(theirs)) = (trained.net(modality), teacher.net(modality)) else { continue };
        let differs = match (&ours.input, &theirs.input) {
            (InputSpec::Image { size: a, .. }, InputSpec::Image { size: b, .. }) => {
                (a != b).then(|| format!("pictures of {}x{} pixels, the run of {}x{}", b.0, b.1, a.0, a.1))
            }
            (InputSpec::Text { context: a, vocab: v, pad: p, .. }, InputSpec::Text { context: b, vocab: w, pad: q, .. }) => ((a, v, p)
                != (b, w, q))
                .then(|| format!("texts of {b} tokens out of {w} ids with padding {q}, the run of {a} out of {v} with {p}")),
            _ => None,
        };
        if let Some(differs) = differs {
            return Err(Error::Options(format!("teacher.{name}: it reads {differs}; both must read the same batch")));
        }
    }
    Ok(())
}
