//! Gradient checkpointing (`train.grad_checkpointing`): towers keep the inputs of their blocks alone, and the backward pass computes the blocks
//! again. Gradients stay what they are; memory for a third more time.

use tch::Tensor;
use vlhub_core::noise::RecomputedPart;
use vlhub_core::{Modality, Result};

use super::towers::Towers;

/// Runs a part of a tower, which the backward pass computes again.
pub(super) fn again(inputs: &[&Tensor], part: RecomputedPart) -> Result<Tensor> {
    Ok(vlhub_torch_ext::recomputed(inputs, part)?)
}

impl Towers {
    /// Whether a tower is trained and computes its blocks again where it is asked to.
    pub(super) fn can_recompute(&self, modality: Modality) -> bool {
        self.net(modality).is_ok_and(|net| !net.locked && net.recomputes())
    }
}

/// Warnings where gradient checkpointing is asked for, and a tower that is trained keeps its activations all the same.
pub fn without_effect(towers: &Towers) -> Vec<String> {
    let warning = |modality: Modality| {
        towers.net(modality).ok().filter(|net| towers.recompute && !net.locked && !net.recomputes())?;
        let norms = towers.batch_norms(modality).len();
        let why = if norms > 0 {
            format!("it has {norms} batch norms, whose running statistics would move twice")
        } else {
            "it does not compute its blocks again".to_owned()
        };
        Some(format!(
            "backbone.{modality}: train.grad_checkpointing has no effect on this tower: {why}. Its activations are kept; `train.grad_cache` bounds them"
        ))
    };
    [Modality::Image, Modality::Text].into_iter().filter_map(warning).collect()
}
