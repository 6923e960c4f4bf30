//! Low-rank adapters (LoRA, arXiv 2106.09685) on any weight of any tower.
//!
//! A tower computes with its weight W as always, and W is kept at W₀ + s·B·A. The gradient of W, which the backward pass leaves there,
//! gives those of the adapters exactly: s·∇W·Aᵀ for B and s·Bᵀ·∇W for A. So no tower knows of it, every architecture has it, and what is
//! saved under W's own name is the merged weight that other programs read. The price: ∇W is made in full; what is saved is the state of the
//! optimiser, and what is trained is small. Dropout in front of the adapters, which needs them apart from W, is not offered.

use serde::{Deserialize, Serialize};
use tch::nn::Init;
use tch::{Kind, Tensor};
use vlhub_core::{Error, Modality, Result};
use vlhub_torch_ext::forget_gradient;

use super::towers::Towers;

/// `lora = { … }` of a tower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// LoRA rank: the inner width of each adapter; 0 for no adapters.
    pub rank: i64,
    /// LoRA alpha: the product B·A is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// Target weights of the tower: patterns over their names inside the tower, such as `*attn*`. Matrices, and convolutions as matrices.
    #[serde(rename = "match")]
    pub patterns: Vec<String>,
    /// Other parameters that are trained as they are, by patterns over their names; everything else of the tower is frozen.
    pub train: Vec<String>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { rank: 0, alpha: 16.0, patterns: vec!["*attn*weight".into(), "*attn.in_proj_weight".into()], train: Vec::new() }
    }
}

/// A low-rank adapter of one weight.
#[derive(Debug)]
pub struct Adapter {
    /// Its name.
    pub name: String,
    weight: Tensor,
    base: Tensor,
    a: Tensor,
    b: Tensor,
    scale: f64,
}

impl Adapter {
    /// Adapts the weights of a tower that the patterns name, and freezes the rest of it. A starts as in LoRA's own code (uniform, Kaiming
    /// with a = √5), B at zero, so the model is unchanged at first. `A`, `B` and W₀ become variables under `lora.`.
    ///
    /// # Errors
    /// No weight fits, or a rank that no weight allows.
    pub fn attach(towers: &Towers, modality: Modality, config: &LoraConfig) -> Result<Vec<Self>> {
        let place = format!("backbone.{modality}.lora");
        let fits = |patterns: &[String], name: &str| {
            patterns.iter().any(|pattern| glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(name)))
        };
        let mut adapters = Vec::new();
        for (name, weight) in towers.variables() {
            if towers.owner(&name) != Some(modality) || !weight.requires_grad() {
                continue;
            }
            let inside = towers.inside(modality, &name);
            if weight.dim() < 2 || !fits(&config.patterns, inside) {
                if !fits(&config.train, inside) {
                    let _ = weight.set_requires_grad(false);
                }
                continue;
            }
            let output = weight.size()[0];
            let input = weight.numel() as i64 / output;
            if config.rank > output.min(input) {
                return Err(Error::Options(format!("{place}.rank: {} is more than `{name}` {:?} has", config.rank, weight.size())));
            }
            let path = name.split('.').fold(towers.vars.root() / "lora", |path, part| path / part);
            let bound = (input as f64).sqrt().recip();
            let a = path.f_var("a", &[config.rank, input], Init::Uniform { lo: -bound, up: bound })?;
            let b = path.f_var("b", &[output, config.rank], Init::Const(0.0))?;
            let mut base = path.f_zeros_no_train("base", &weight.size())?;
            tch::no_grad(|| base.f_copy_(&weight))?;
            adapters.push(Self { name, weight, base, a, b, scale: config.alpha / config.rank as f64 });
        }
        if adapters.is_empty() {
            return Err(Error::Options(format!("{place}.match: no weight of the tower fits {:?}", config.patterns)));
        }
        Ok(adapters)
    }

    /// Backward pass: turns the weight's gradient into those of A and B.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn pull(&self) -> Result<()> {
        let grad = self.weight.grad();
        if !grad.defined() {
            return Ok(());
        }
        // ⟨B·A, s·∇W⟩ has the adapters' gradients.
        let slope = grad.f_reshape([self.b.size()[0], -1])?.f_mul_scalar(self.scale)?;
        self.b.f_matmul(&self.a)?.f_mul(&slope)?.f_sum(Kind::Float)?.f_backward()?;
        Ok(forget_gradient(&self.weight)?)
    }

    /// Merges the adapter: the weight becomes W₀ + s·B·A.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn push(&self) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let change = self.b.f_matmul(&self.a)?.f_mul_scalar(self.scale)?.f_reshape(self.weight.size())?;
        Ok(self.weight.shallow_clone().f_copy_(&self.base.f_add(&change)?.to_kind(self.weight.kind()))?)
    }

    /// Takes the weight as the base W₀: after weights have been loaded.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn rebase(&self) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        Ok(self.base.shallow_clone().f_copy_(&self.weight)?)
    }

    /// Whether a variable is the weight itself, whose gradient is only passed on.
    pub fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// Number of trained elements, of A and B together.
    pub fn numel(&self) -> usize {
        self.a.numel() + self.b.numel()
    }

    /// Forgets a gradient that was left.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn forget(&self) -> Result<()> {
        Ok(forget_gradient(&self.weight)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn gradients_are_those_of_the_product_and_the_weight_follows() {
        let float = (Kind::Float, Device::Cpu);
        let base = Tensor::randn([4, 3, 2, 2], float);
        let (a, b) = (Tensor::randn([2, 12], float).set_requires_grad(true), Tensor::randn([4, 2], float).set_requires_grad(true));
        let x = Tensor::randn([5, 3, 6, 6], float);
        let loss = |weight: &Tensor| x.conv2d(weight, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1).square().mean(Kind::Float);
        loss(&(&base + (b.matmul(&a) * 0.5).view([4, 3, 2, 2]))).backward();
        let (wanted_a, wanted_b) = (a.grad().copy(), b.grad().copy());
        for leaf in [&a, &b] {
            forget_gradient(leaf).expect("it runs");
        }
        let weight = base.copy().set_requires_grad(true);
        let adapter =
            Adapter { name: "w".into(), weight: weight.shallow_clone(), base, a: a.shallow_clone(), b: b.shallow_clone(), scale: 0.5 };
        adapter.push().expect("it runs");
        loss(&weight).backward();
        adapter.pull().expect("it runs");
        for (leaf, wanted) in [(&a, wanted_a), (&b, wanted_b)] {
            let off = (leaf.grad() - &wanted).abs().max().double_value(&[]) / wanted.abs().max().double_value(&[]);
            assert!(off < 1e-5, "{off}");
        }
        assert!(!weight.grad().defined());
    }
}
