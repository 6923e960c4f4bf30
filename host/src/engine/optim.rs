//! AdamW with open_clip's exclusions from weight decay, over libtorch's fused kernel; rates by group and by layer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use vlhub_core::{Error, Result};
use vlhub_torch_ext::{AdamW, DynamicCode, Rates, forget_gradient, fused_adamw};

use super::moment::{Moment, StateFormat};
use super::sharpness::GsamConfig;
use super::{seed_of, seed_of_name};
use crate::section::{Section, out_of_range};

/// Elements whose moments are decoded at once: 128 MiB of both. A parameter that has more is dealt with alone.
const SCRATCH: usize = 1 << 24;

/// `[optimizer]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// `adamw`.
    #[serde(rename = "use")]
    pub name: Name,
    /// Learning rate after warm-up.
    pub lr: f64,
    /// β₁: decay of the first moment.
    pub beta1: f64,
    /// β₂: decay of the second moment.
    pub beta2: f64,
    /// ε: added to the denominator.
    pub eps: f64,
    /// Decoupled weight decay, for matrices and convolutions only.
    pub wd: f64,
    /// Gradient clipping by norm: the largest norm of all gradients together; 0 does not clip.
    pub clip_norm: f64,
    /// Gradient clipping by value: the largest magnitude of each element, before the norm is clipped; 0 does not clip.
    pub clip_value: f64,
    /// Layer-wise learning-rate decay: multiplies the rate once for each group of layers between a tower's output and a parameter; 1 for
    /// equal rates.
    pub layer_decay: f64,
    /// How both moments are kept between steps: `fp32`, `bf16`, or `8bit` (in blocks). Weights and gradients stay float.
    pub state: StateFormat,
    /// Parameter groups: `[optimizer.groups.KEY]`, of which the first that fits counts, in the order of their keys.
    pub groups: BTreeMap<String, GroupConfig>,
    /// Sharpness-aware minimisation.
    pub gsam: GsamConfig,
}

/// `[optimizer.groups.KEY]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// Names of parameters, with `*` and `?`, such as `visual.*`.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Factor of the learning rate.
    #[serde(default = "one")]
    pub lr: f64,
    /// Weight decay of the group, also where there would be none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wd: Option<f64>,
}

fn one() -> f64 {
    1.0
}

/// Optimisers, by the names of `use`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
    AdamW,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            name: Name::AdamW,
            lr: 5e-4,
            beta1: 0.9,
            beta2: 0.98,
            eps: 1e-6,
            wd: 0.2,
            clip_norm: 0.0,
            clip_value: 0.0,
            layer_decay: 1.0,
            state: StateFormat::default(),
            groups: BTreeMap::new(),
            gsam: GsamConfig::default(),
        }
    }
}

impl Section for OptimizerConfig {
    const NAME: &'static str = "optimizer";

    fn check(&self) -> Vec<(&'static str, String)> {
        out_of_range(&[
            (self.gsam.rho_max < 0.0 || self.gsam.rho_min < 0.0, "gsam", "has perturbation radii of at least 0"),
            (self.clip_value < 0.0, "clip_value", "must not be negative"),
            (!(self.layer_decay > 0.0 && self.layer_decay <= 1.0), "layer_decay", "must lie above 0 and at most at 1"),
            (self.wd < 0.0, "wd", "must not be negative"),
            (self.lr < 0.0, "lr", "must not be negative"),
            (!(0.0..1.0).contains(&self.beta1), "beta1", "must lie in 0..1"),
            (!(0.0..1.0).contains(&self.beta2), "beta2", "must lie in 0..1"),
            (self.eps <= 0.0, "eps", "must be positive"),
            (self.clip_norm < 0.0, "clip_norm", "must not be negative"),
        ])
    }
}

impl OptimizerConfig {
    /// Weight decay and factor of the learning rate of a parameter, and the group that it is in. `depth` is the number of groups of layers
    /// between its tower's output and it.
    fn rates(&self, param: &Param) -> (f64, f64, Option<&str>) {
        let fits = |group: &&GroupConfig| glob::Pattern::new(&group.pattern).is_ok_and(|pattern| pattern.matches(&param.name));
        let found = self.groups.iter().find(|(_, group)| fits(group));
        let plain = if undecayed(&param.name, param.tensor.dim()) { 0.0 } else { self.wd };
        let wd = found.and_then(|(_, group)| group.wd).unwrap_or(plain);
        let factor = self.layer_decay.powi(param.depth as i32) * found.map_or(1.0, |(_, group)| group.lr);
        (wd, factor, found.map(|(key, _)| key.as_str()))
    }

    /// Groups that fit no parameter: most likely a typing error.
    pub fn idle(&self, params: &[Param]) -> Vec<&str> {
        let used: Vec<&str> = params.iter().filter_map(|param| self.rates(param).2).collect();
        self.groups.keys().map(String::as_str).filter(|key| !used.contains(key)).collect()
    }
}

/// Whether a parameter is excluded from weight decay: vectors and scalars, norms, biases and the logit scale (open_clip's rule, by part of
/// the name where open_clip looks anywhere in it, so that a layer called `kiln` decays).
pub fn undecayed(name: &str, dimensions: usize) -> bool {
    dimensions < 2
        || name.split('.').any(|part| part.starts_with("bn") || part.starts_with("ln") || part.contains("bias") || part == "logit_scale")
}

/// A trainable parameter.
#[derive(Debug)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its value, a leaf.
    pub tensor: Tensor,
    /// Groups of layers between its tower's output and it; 0 for whatever belongs to no tower.
    pub depth: usize,
}

#[derive(Debug)]
struct Slot {
    name: String,
    param: Tensor,
    exp_avg: Moment,
    exp_avg_sq: Moment,
    wd: f64,
    factor: f64,
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
    pub fn new(config: OptimizerConfig, params: Vec<Param>) -> Self {
        let slot = |param: Param| {
            let (wd, factor, _) = config.rates(&param);
            let zero = |code| Moment::new(config.state, &param.tensor, code);
            let (exp_avg, exp_avg_sq) = (zero(DynamicCode::Signed), zero(DynamicCode::Unsigned));
            Slot { exp_avg, exp_avg_sq, wd, factor, name: param.name, param: param.tensor }
        };
        Self { slots: params.into_iter().map(slot).collect(), config, steps: 0 }
    }

    /// Resets all gradients to undefined.
    pub fn forget_gradients(&self) -> Result<()> {
        Ok(self.slots.iter().try_for_each(|slot| forget_gradient(&slot.param))?)
    }

    /// The gradients that are there, with their names.
    pub fn grads(&self) -> Vec<(&str, Tensor)> {
        let grads = self.slots.iter().map(|slot| (slot.name.as_str(), slot.param.grad()));
        grads.filter(|(_, grad)| grad.defined()).collect()
    }

    /// The parameters whose gradients are there, with them.
    pub fn params_with_grads(&self) -> Vec<(&Tensor, Tensor)> {
        let pairs = self.slots.iter().map(|slot| (&slot.param, slot.param.grad()));
        pairs.filter(|(_, grad)| grad.defined()).collect()
    }

    /// Multiplies all gradients by `factor`.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn scale_gradients(&self, factor: f64) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        for (_, mut grad) in self.grads() {
            let _ = grad.f_mul_scalar_(factor)?;
        }
        Ok(())
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
        let norm = if self.clip_values()? { self.grad_norm()? } else { norm };
        let clip = self.config.clip_norm;
        // As torch's clip_grad_norm_: the small number keeps a zero norm finite.
        let scale = if clip > 0.0 { (clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
        self.steps += 1;
        let step = Tensor::from(self.steps as f32).to_device(self.slots.first().map_or(tch::Device::Cpu, |slot| slot.param.device()));
        // One call of the fused kernel for each pair of rates.
        let mut calls: BTreeMap<(u64, u64), Vec<&Slot>> = BTreeMap::new();
        for slot in self.slots.iter().filter(|slot| slot.param.grad().defined()) {
            calls.entry((slot.wd.to_bits(), slot.factor.to_bits())).or_default().push(slot);
        }
        for slots in calls.values().flat_map(|slots| parts(slots)) {
            let list = |pick: fn(&Slot) -> Result<Tensor>| slots.iter().map(|slot| pick(slot)).collect::<Result<Vec<_>>>();
            let grad = |slot: &&Slot| if scale < 1.0 { slot.param.grad().f_mul_scalar(scale) } else { Ok(slot.param.grad()) };
            let (exp_avg, exp_avg_sq) = (list(|slot| slot.exp_avg.decoded())?, list(|slot| slot.exp_avg_sq.decoded())?);
            let state = AdamW {
                params: &list(|slot| Ok(slot.param.detach()))?,
                grads: &slots.iter().map(grad).collect::<Result<Vec<_>, _>>()?,
                exp_avg: &exp_avg,
                exp_avg_sq: &exp_avg_sq,
                step: &step,
            };
            let OptimizerConfig { beta1, beta2, eps, .. } = self.config;
            let (weight_decay, factor) = (slots[0].wd, slots[0].factor);
            fused_adamw(&state, Rates { lr: lr * factor, beta1, beta2, eps, weight_decay })?;
            for (slot, (first, second)) in slots.iter().zip(exp_avg.iter().zip(&exp_avg_sq)).filter(|(slot, _)| slot.exp_avg.scratch() > 0)
            {
                let key = |moment| seed_of(&[self.steps as u64, seed_of_name(&slot.name), moment]);
                slot.exp_avg.keep(first, key(1))?;
                slot.exp_avg_sq.keep(second, key(2))?;
            }
        }
        Ok(())
    }

    /// Clips each element, as torch's clip_grad_value_. Whether it did.
    fn clip_values(&self) -> Result<bool> {
        let most = self.config.clip_value;
        if most <= 0.0 {
            return Ok(false);
        }
        for (_, mut grad) in self.grads() {
            let _ = grad.f_clamp_(-most, most)?;
        }
        Ok(true)
    }

    /// Learning rate after warm-up.
    pub fn lr(&self) -> f64 {
        self.config.lr
    }

    /// Whether a step may copy all gradients, scaled to a norm.
    pub fn clips_norm(&self) -> bool {
        self.config.clip_norm > 0.0
    }

    /// Sharpness-aware minimisation, if it is asked for.
    pub fn gsam(&self) -> Option<&GsamConfig> {
        Some(&self.config.gsam).filter(|gsam| gsam.rho_max > 0.0)
    }

    /// Name, weight decay and factor of the learning rate of everything that is trained.
    pub fn rates(&self) -> impl Iterator<Item = (&str, f64, f64)> {
        self.slots.iter().map(|slot| (slot.name.as_str(), slot.wd, slot.factor))
    }

    /// What a checkpoint must hold.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = vec![("optimizer.step".to_owned(), Tensor::from_slice(&[self.steps]))];
        for slot in &self.slots {
            state.extend(slot.exp_avg.state(format!("optimizer.exp_avg.{}", slot.name)));
            state.extend(slot.exp_avg_sq.state(format!("optimizer.exp_avg_sq.{}", slot.name)));
        }
        state
    }

    /// Takes over what [`Optimizer::state`] gave.
    pub fn load(&mut self, find: impl Fn(&str) -> Option<Tensor>) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let steps = find("optimizer.step").ok_or_else(|| Error::invalid("the checkpoint has no `optimizer.step`"))?;
        self.steps = steps.to_kind(Kind::Int64).f_int64_value(&[0])?;
        for slot in &self.slots {
            slot.exp_avg.load(&format!("optimizer.exp_avg.{}", slot.name), &find)?;
            slot.exp_avg_sq.load(&format!("optimizer.exp_avg_sq.{}", slot.name), &find)?;
        }
        Ok(())
    }
}

/// Cuts a list of parameters where their decoded moments would take more than [`SCRATCH`] elements.
fn parts<'slots, 'a>(slots: &'slots [&'a Slot]) -> Vec<&'slots [&'a Slot]> {
    let (mut parts, mut begin, mut taken) = (Vec::new(), 0, 0);
    for (at, slot) in slots.iter().enumerate() {
        let scratch = slot.exp_avg.scratch();
        if at > begin && taken + scratch > SCRATCH {
            parts.push(&slots[begin..at]);
            (begin, taken) = (at, 0);
        }
        taken += scratch;
    }
    parts.push(&slots[begin..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(name: &str, values: &[f32], depth: usize) -> Param {
        let tensor = Tensor::from_slice(values).view([1, -1]).set_requires_grad(true);
        Param { name: name.into(), tensor, depth }
    }

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

    #[test]
    fn rates_follow_groups_and_layers() {
        let group = |pattern: &str, lr, wd| GroupConfig { pattern: pattern.into(), lr, wd };
        let groups = [("a".to_owned(), group("visual.*", 0.1, None)), ("b".to_owned(), group("*head*", 3.0, Some(0.0)))].into();
        let config = OptimizerConfig { wd: 0.2, layer_decay: 0.5, groups, ..OptimizerConfig::default() };
        for (name, depth, wd, factor, why) in [
            ("visual.proj", 0, 0.2, 0.1, "the first group that fits"),
            ("visual.conv1.weight", 3, 0.2, 0.1 * 0.125, "three groups below the output"),
            ("objective.x.head", 0, 0.0, 3.0, "a group's own weight decay"),
            ("text_projection", 1, 0.2, 0.5, "no group"),
        ] {
            let (found_wd, found_factor, _) = config.rates(&param(name, &[1.0], depth));
            assert!((found_wd - wd).abs() < 1e-12 && (found_factor - factor).abs() < 1e-12, "{name}: {why}: {found_wd} {found_factor}");
        }
        assert_eq!(config.idle(&[param("visual.proj", &[1.0], 0)]), ["b"]);
    }

    #[test]
    fn a_factor_multiplies_the_step_and_values_are_clipped_before_the_norm() {
        let step = |config: OptimizerConfig, grad: &[f32]| {
            let params = [param("a", &[1.0, 1.0], 0), param("b", &[1.0, 1.0], 1)];
            let leaves: Vec<Tensor> = params.iter().map(|param| param.tensor.shallow_clone()).collect();
            let mut optimizer = Optimizer::new(config, params.into());
            let sum = leaves.iter().map(|leaf| (leaf * Tensor::from_slice(grad)).sum(Kind::Float)).reduce(|a, b| a + b).expect("two");
            sum.backward();
            let norm = optimizer.grad_norm().expect("a norm");
            optimizer.step(0.1, norm).expect("a step");
            (leaves, optimizer)
        };
        let plain = OptimizerConfig { wd: 0.0, layer_decay: 0.5, ..OptimizerConfig::default() };
        let (leaves, _) = step(plain.clone(), &[2.0, -3.0]);
        let moved = |leaf: &Tensor, at: i64| leaf.double_value(&[0, at]) - 1.0;
        assert!((moved(&leaves[0], 0) + 0.1).abs() < 1e-4 && (moved(&leaves[1], 0) + 0.05).abs() < 1e-4, "half the rate one layer down");
        let (_, optimizer) = step(OptimizerConfig { clip_value: 0.5, clip_norm: 0.1, ..plain }, &[2.0, -0.25]);
        let state: BTreeMap<String, Tensor> = optimizer.state().into_iter().collect();
        let first = &state["optimizer.exp_avg.a"];
        // Clipped to 0.5 and -0.25; then all four gradients to a norm of 0.1.
        let norm = (2.0f64 * (0.25 + 0.0625)).sqrt();
        assert!((first.double_value(&[0, 0]) - 0.1 * 0.5 * 0.1 / norm).abs() < 1e-7, "{first:?}");
    }
}
