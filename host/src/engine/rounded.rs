//! Weights in bfloat16 for the passes of a step, over the float weights that steps are made on ("master weights").
//!
//! The float weights stay the parameters of the run. For the time of a step's passes the towers' tensors hold bfloat16 copies in their place, which
//! every layer sees, since they are the same tensors; then the float weights are put back, as they were, with float gradients. So optimiser, average,
//! adapters, sharpness-aware steps, checkpoints and suites know nothing of it, and a change of a weight that is less than a bfloat16's last digit is not lost.
//!
//! Gradients of one backward pass are bfloat16; those of chunks are added in float. Norms keep float weights, as in open_clip's `bf16`: they
//! normalise bfloat16 by them, and give bfloat16 again (on a GPU autocast lets layer norms give float, up to the next product). On a CPU so do tables
//! of words and of relative positions, so what flows through a text tower is float there.

use std::collections::BTreeSet;

use tch::{Device, Kind, Tensor};
use vlhub_core::Result;
use vlhub_torch_ext::{forget_gradient, give_gradient};

use super::graph_memory::bytes;
use super::towers::Towers;

/// The towers' weights while they are rounded. Dropping it puts the float weights back, without gradients.
#[derive(Debug, Default)]
pub(super) struct RoundedWeights {
    weights: Vec<RoundedWeight>,
}

#[derive(Debug)]
struct RoundedWeight {
    /// The parameter, which holds bfloat16.
    weight: Tensor,
    /// What it held before.
    float: Tensor,
    /// Gradients so far, float.
    gradient: Option<Tensor>,
}

impl RoundedWeights {
    /// Rounds the weights of the towers and their projections to the nearest bfloat16, but for those of norms and, on a CPU, tables. Buffers, and
    /// parameters of objectives, stay float.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn round(towers: &Towers) -> Result<Self> {
        let _no_grad = tch::no_grad_guard();
        let mut rounded = Self::default();
        for weight in weights(towers) {
            let float = weight.detach();
            weight.shallow_clone().f_set_data(&float.f_to_kind(Kind::BFloat16)?)?;
            rounded.weights.push(RoundedWeight { weight, float, gradient: None });
        }
        Ok(rounded)
    }

    /// Bytes of the rounded copies.
    pub fn bytes(&self) -> u64 {
        self.weights.iter().map(|rounded| bytes(&rounded.weight)).sum()
    }

    /// Takes the gradients that a backward pass has left, and adds them to those so far.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn collect(&mut self) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        for rounded in &mut self.weights {
            let gradient = rounded.weight.grad();
            if !gradient.defined() {
                continue;
            }
            if let Some(sum) = &mut rounded.gradient {
                let _ = sum.f_add_(&gradient)?;
            } else {
                rounded.gradient = Some(gradient.f_to_kind(Kind::Float)?);
            }
            forget_gradient(&rounded.weight)?;
        }
        Ok(())
    }

    /// Puts the float weights back, with the gradients that were collected.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn restore(mut self) -> Result<()> {
        for rounded in &self.weights {
            rounded.put_back()?;
            if let Some(gradient) = &rounded.gradient {
                give_gradient(&rounded.weight, gradient)?;
            }
        }
        self.weights.clear();
        Ok(())
    }
}

impl Drop for RoundedWeights {
    fn drop(&mut self) {
        for rounded in &self.weights {
            if let Err(error) = rounded.put_back() {
                tracing::error!("a weight stays in bfloat16: {error}");
            }
        }
    }
}

impl RoundedWeight {
    fn put_back(&self) -> Result<()> {
        // One that was not collected has another kind than the weight will have.
        forget_gradient(&self.weight)?;
        Ok(self.weight.shallow_clone().f_set_data(&self.float)?)
    }
}

/// The weights that are rounded.
fn weights(towers: &Towers) -> Vec<Tensor> {
    let all = towers.variables();
    // A layer whose `weight` is a vector is a norm, in every architecture.
    let norms: BTreeSet<String> =
        all.iter().filter(|(_, weight)| weight.dim() == 1).filter_map(|(name, _)| layer(name, "weight")).collect();
    let of_norm = |name: &str| ["weight", "bias"].iter().any(|last| layer(name, last).is_some_and(|layer| norms.contains(&layer)));
    let on_cpu = towers.vars.device() == Device::Cpu;
    let buffers: BTreeSet<usize> = towers.buffers.iter().map(|buffer| buffer.data_ptr() as usize).collect();
    let rounded = |(name, weight): &(String, Tensor)| {
        let stays = of_norm(name) || on_cpu && is_table(name, weight) || buffers.contains(&(weight.data_ptr() as usize));
        weight.kind() == Kind::Float && towers.owner(name).is_some() && !stays
    };
    all.into_iter().filter(rounded).map(|(_, weight)| weight).collect()
}

/// Whether a weight is a table whose rows are looked up. On a CPU libtorch adds up the gradients of equal ids one by one in the table's own kind: in
/// bfloat16 the sum stops growing at some 256 of them. Every text has a start token, and as many pairs of patches as there are patches have one distance.
fn is_table(name: &str, weight: &Tensor) -> bool {
    let layer = layer(name, "weight").unwrap_or_default();
    let last = layer.rsplit('.').next().unwrap_or_default();
    let positions = ["relative_attention_bias.weight", "relative_position_bias_table"];
    weight.dim() == 2 && (last.contains("embed") || positions.iter().any(|table| name.ends_with(table)))
}

/// The layer of a parameter that is called `last` in it.
fn layer(name: &str, last: &str) -> Option<String> {
    name.strip_suffix(last)?.strip_suffix('.').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_told_by_their_names() {
        let matrix = Tensor::zeros([2, 2], (Kind::Float, Device::Cpu));
        for (name, expected) in [
            ("token_embedding.weight", true),
            ("text.transformer.encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", true),
            ("visual.trunk.blocks.0.attn.relative_position_bias_table", true),
            ("positional_embedding", false),
            ("visual.trunk.patch_embed.proj.weight", false),
            ("visual.trunk.blocks.0.attn.qkv.weight", false),
        ] {
            assert_eq!(is_table(name, &matrix), expected, "{name}");
        }
    }
}
