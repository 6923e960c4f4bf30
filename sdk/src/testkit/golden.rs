//! Towers against what their reference implementation computes, from files that `tests/golden/known.py` writes.
//!
//! Weights and pictures are a function of their names, so a golden file holds outputs alone, and a parameter under a wrong name is found.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use vlhub_core::{Backbone, BackboneCx, Config, Noise, PluginEntry, registered_here};

use super::{all, failed};

pub mod losses;

/// A golden file.
#[derive(Debug, Deserialize)]
struct File {
    cases: BTreeMap<String, Case>,
}

/// One tower of a golden file.
#[derive(Debug, Deserialize)]
struct Case {
    /// Options of the plugin.
    options: serde_json::Value,
    shape: Vec<i64>,
    #[serde(default)]
    training: bool,
    #[serde(default)]
    ids: Vec<i64>,
    parameters: BTreeMap<String, Vec<i64>>,
    pooled_shape: Vec<i64>,
    pooled: Vec<f32>,
    #[serde(default)]
    tokens_shape: Vec<i64>,
    /// The first three tokens of each row.
    #[serde(default)]
    tokens: Vec<f32>,
    #[serde(default)]
    gradients: BTreeMap<String, f64>,
}

/// `count` numbers in (-1, 1) that the name determines.
pub fn numbers(name: &str, count: usize) -> Vec<f32> {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let each = |index: usize| {
        let x = hash.wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    (0..count).map(|index| each(index) as f32).collect()
}

/// What a parameter of this name and shape holds.
pub fn value(name: &str, shape: &[i64]) -> Tensor {
    let count: i64 = shape.iter().product();
    let u = Tensor::from_slice(&numbers(name, count as usize)).to_kind(Kind::Double).view(shape);
    let u = match shape {
        _ if name.ends_with("running_var") => u * 0.5 + 1.0,
        [] | [_] if name.rsplit('.').next() == Some("weight") => u * 0.2 + 1.0,
        [] | [_] => u * 0.2,
        _ => u * (3.0 * shape[0] as f64 / count.max(1) as f64).sqrt(),
    };
    u.to_kind(Kind::Float)
}

/// Gives every variable its known value.
pub fn fill(store: &VarStore) {
    let _no_grad = tch::no_grad_guard();
    for (name, mut variable) in store.variables() {
        variable.copy_(&value(&name, &variable.size()));
    }
}

/// Checks every case of a golden file. A case is named after a plugin of this crate, with anything behind a `/`: `resnet18/gap`. `embed` is
/// the width of the joint space. The tower's parameters must have the reference's names and shapes, apart from those of the host's
/// projection; outputs must agree within 1e-4 of the largest, and gradients of each parameter within 1e-4 of the largest of all.
///
/// # Errors
/// Everything that differs, case by case.
pub fn check(file: impl AsRef<Path>, embed: i64) -> Result<(), String> {
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.as_ref().display()))?;
    let file: File = serde_json::from_str(&text).map_err(|error| format!("the golden file: {error}"))?;
    let entries = registered_here().backbone;
    let mut wrong = Vec::new();
    for (name, case) in &file.cases {
        let plugin = name.split('/').next().unwrap_or_default();
        let outcome = match entries.iter().find(|entry| entry.name == plugin) {
            Some(entry) => case.check(entry, embed),
            None => Err(format!("no backbone is called `{plugin}`")),
        };
        wrong.extend(outcome.err().map(|why| format!("{name}: {why}")));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

impl Case {
    fn check(&self, entry: &PluginEntry<dyn Backbone>, embed: i64) -> Result<(), String> {
        let mut options = all::defaults(entry)?;
        for (key, value) in self.options.as_object().into_iter().flatten() {
            options[key.as_str()] = value.clone();
        }
        let config: Box<dyn Config<dyn Backbone>> = all::parse(entry, &options)?;
        let store = VarStore::new(Device::Cpu);
        let tower = config.build(&BackboneCx { path: store.root(), embed }).map_err(failed("building"))?;
        self.names(&store, &tower.projection().names())?;
        fill(&store);
        let input = if self.ids.is_empty() {
            Tensor::from_slice(&numbers("pictures", self.shape.iter().product::<i64>() as usize))
        } else {
            Tensor::from_slice(&self.ids)
        };
        let input = input.view(self.shape.as_slice());
        let noise = self.training.then(|| Noise::new(Tensor::arange(self.shape[0], (Kind::Int64, Device::Cpu))));
        let hidden = tower.encode(&input, !self.tokens.is_empty(), noise.as_ref()).map_err(failed("encode"))?;
        same("pooled", &hidden.pooled, &self.pooled_shape, &self.pooled)?;
        if let (Some(tokens), false) = (&hidden.tokens, self.tokens.is_empty()) {
            let size = tokens.values.size();
            if size != self.tokens_shape {
                return Err(format!("tokens are {size:?}, the reference's {:?}", self.tokens_shape));
            }
            let first = tokens.values.narrow(1, 0, size[1].min(3));
            same("tokens", &first, &first.size(), &self.tokens)?;
        }
        if !self.gradients.is_empty() {
            let weights = Tensor::from_slice(&numbers("cotangent", hidden.pooled.numel())).view_as(&hidden.pooled);
            (&hidden.pooled * weights).sum(Kind::Float).f_backward().map_err(|error| format!("backward: {error}"))?;
            self.gradients(&store)?;
        }
        Ok(())
    }

    fn names(&self, store: &VarStore, projection: &[&str]) -> Result<(), String> {
        let ours: BTreeMap<String, Vec<i64>> = store.variables().into_iter().map(|(name, value)| (name, value.size())).collect();
        let hosts = |name: &str| {
            projection.iter().any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
        };
        let lacking = self.parameters.iter().filter(|(name, shape)| !hosts(name) && ours.get(*name) != Some(shape));
        let mut wrong: Vec<String> =
            lacking.map(|(name, shape)| format!("`{name}` is {:?}, the reference's {shape:?}", ours.get(name))).collect();
        wrong.extend(ours.keys().filter(|name| !self.parameters.contains_key(*name)).map(|name| format!("the reference has no `{name}`")));
        wrong.truncate(12);
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    fn gradients(&self, store: &VarStore) -> Result<(), String> {
        let largest = self.gradients.values().copied().fold(0.0, f64::max);
        let variables = store.variables();
        for (name, wanted) in &self.gradients {
            let Some(variable) = variables.get(name) else { continue };
            let grad = variable.grad();
            let found = if grad.defined() { grad.to_kind(Kind::Double).norm().double_value(&[]) } else { 0.0 };
            if (found - wanted).abs() > 1e-4 * largest.max(1e-12) {
                return Err(format!("the gradient of `{name}` has norm {found}, the reference's {wanted}"));
            }
        }
        Ok(())
    }
}

fn same(what: &str, ours: &Tensor, shape: &[i64], wanted: &[f32]) -> Result<(), String> {
    if ours.size() != shape {
        return Err(format!("{what} is {:?}, the reference's {shape:?}", ours.size()));
    }
    let wanted = Tensor::from_slice(wanted).view(shape);
    let largest = wanted.abs().max().double_value(&[]);
    let apart = (ours.detach() - wanted).abs().max().double_value(&[]);
    if apart <= 1e-4 * largest { Ok(()) } else { Err(format!("{what} is {apart} off, where the largest element is {largest}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers that `known.py` makes for this name.
    #[test]
    fn numbers_are_those_of_the_script() {
        let wanted = [-0.508_387_1, -0.602_035_5, -0.956_651_f32];
        assert_eq!(numbers("pictures", 3), wanted);
    }
}
