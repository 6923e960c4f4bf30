//! AdamW with open_clip's exclusions from weight decay, over libtorch's fused kernel.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use vlhub_core::{Error, Result};
use vlhub_torch_ext::{AdamW, Rates, forget_gradient, fused_adamw};

/// `[optimizer]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// `adamw`.
    #[serde(rename = "use")]
    pub name: Name,
    /// Learning rate after warm-up.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Decoupled weight decay, for matrices and convolutions only.
    pub wd: f64,
    /// Largest norm of all gradients together; 0 does not clip.
    pub clip_norm: f64,
}

/// Optimisers by name.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
    AdamW,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self { name: Name::AdamW, lr: 5e-4, beta1: 0.9, beta2: 0.98, eps: 1e-6, wd: 0.2, clip_norm: 0.0 }
    }
}

/// Whether weight decay leaves a parameter alone: vectors and scalars, norms, biases and the logit scale (open_clip's rule, by part of the name
/// where open_clip looks anywhere in it, so that a layer called `kiln` decays).
pub fn undecayed(name: &str, dimensions: usize) -> bool {
    dimensions < 2
        || name.split('.').any(|part| part.starts_with("bn") || part.starts_with("ln") || part.contains("bias") || part == "logit_scale")
}

#[derive(Debug)]
struct Slot {
    name: String,
    param: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    decays: bool,
}

/// The optimiser and its state.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    slots: Vec<Slot>,
    steps: i64,
}

impl Optimizer {
    /// Zero state for every parameter that is trained.
    pub fn new(config: OptimizerConfig, params: Vec<(String, Tensor)>) -> Self {
        let slot = |(name, param): (String, Tensor)| {
            let zeros = || param.detach().zeros_like();
            Slot { exp_avg: zeros(), exp_avg_sq: zeros(), decays: !undecayed(&name, param.dim()), name, param }
        };
        Self { config, slots: params.into_iter().map(slot).collect(), steps: 0 }
    }

    /// Forgets all gradients.
    pub fn forget_gradients(&self) -> Result<()> {
        Ok(self.slots.iter().try_for_each(|slot| forget_gradient(&slot.param))?)
    }

    /// The gradients that are there, with their names.
    pub fn grads(&self) -> Vec<(&str, Tensor)> {
        let grads = self.slots.iter().map(|slot| (slot.name.as_str(), slot.param.grad()));
        grads.filter(|(_, grad)| grad.defined()).collect()
    }

    /// L2 norm of all gradients together.
    pub fn grad_norm(&self) -> Result<f64> {
        let norms: Vec<Tensor> = self.grads().iter().map(|(_, grad)| grad.f_norm()).collect::<Result<_, _>>()?;
        if norms.is_empty() {
            return Ok(0.0);
        }
        Ok(Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[])?)
    }

    /// One step at learning rate `lr`; clips first if the options say so. `norm` is the gradients' norm.
    pub fn step(&mut self, lr: f64, norm: f64) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let clip = self.config.clip_norm;
        // As torch's clip_grad_norm_: the small number keeps a zero norm finite.
        let scale = if clip > 0.0 { (clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
        self.steps += 1;
        let step = Tensor::from(self.steps as f32).to_device(self.slots.first().map_or(tch::Device::Cpu, |slot| slot.param.device()));
        for decays in [true, false] {
            let slots: Vec<&Slot> = self.slots.iter().filter(|slot| slot.decays == decays && slot.param.grad().defined()).collect();
            let list = |pick: fn(&Slot) -> Tensor| slots.iter().map(|slot| pick(slot)).collect::<Vec<_>>();
            let mut grads = list(|slot| slot.param.grad());
            if scale < 1.0 {
                for grad in &mut grads {
                    *grad = grad.f_mul_scalar(scale)?;
                }
            }
            let state = AdamW {
                params: &list(|slot| slot.param.detach()),
                grads: &grads,
                exp_avg: &list(|slot| slot.exp_avg.shallow_clone()),
                exp_avg_sq: &list(|slot| slot.exp_avg_sq.shallow_clone()),
                step: &step,
            };
            let OptimizerConfig { beta1, beta2, eps, wd, .. } = self.config;
            fused_adamw(&state, Rates { lr, beta1, beta2, eps, weight_decay: if decays { wd } else { 0.0 } })?;
        }
        Ok(())
    }

    /// Learning rate after warm-up.
    pub fn lr(&self) -> f64 {
        self.config.lr
    }

    /// What a checkpoint must hold.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = vec![("optimizer.step".to_owned(), Tensor::from_slice(&[self.steps]))];
        for slot in &self.slots {
            state.push((format!("optimizer.exp_avg.{}", slot.name), slot.exp_avg.shallow_clone()));
            state.push((format!("optimizer.exp_avg_sq.{}", slot.name), slot.exp_avg_sq.shallow_clone()));
        }
        state
    }

    /// Takes over what [`Optimizer::state`] gave.
    pub fn load(&mut self, find: impl Fn(&str) -> Option<Tensor>) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let need = |name: String| find(&name).ok_or_else(|| Error::invalid(format!("the checkpoint has no `{name}`")));
        self.steps = need("optimizer.step".into())?.to_kind(Kind::Int64).f_int64_value(&[0])?;
        for slot in &mut self.slots {
            slot.exp_avg.f_copy_(&need(format!("optimizer.exp_avg.{}", slot.name))?)?;
            slot.exp_avg_sq.f_copy_(&need(format!("optimizer.exp_avg_sq.{}", slot.name))?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_decay_leaves_alone_what_open_clip_leaves_alone() {
        for (name, dimensions, expected, why) in [
            ("visual.conv1.weight", 4, false, "a convolution decays"),
            ("visual.class_embedding", 1, true, "a vector does not"),
            ("visual.ln_pre.weight", 1, true, "a norm does not"),
            ("transformer.resblocks.0.ln_1.weight", 2, true, "by its name, whatever its shape"),
            ("transformer.resblocks.0.attn.in_proj_bias", 1, true, "a bias does not"),
            ("logit_scale", 0, true, "the temperature does not"),
            ("text_projection", 2, false, "a projection decays"),
            ("objective.kiln.weight", 2, false, "`ln` inside a word is no layer norm"),
        ] {
            assert_eq!(undecayed(name, dimensions), expected, "{name}: {why}");
        }
    }
}
