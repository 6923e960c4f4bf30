//! Sharpness-aware minimisation with a surrogate gap (GSAM, arXiv 2203.08065): a step whose gradient is taken uphill, where the loss around
//! the weights is largest, and which leans against the part of the plain gradient that the uphill one does not share.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use vlhub_core::Result;

/// `[optimizer.gsam]`. Each step computes its gradients twice; with `rho_max` = 0 steps are plain ones.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GsamConfig {
    /// Perturbation radius ρ at the largest learning rate; 0 turns sharpness-aware minimisation off.
    pub rho_max: f64,
    /// Perturbation radius ρ where the learning rate is 0.
    pub rho_min: f64,
    /// Weight α of the surrogate gap: of the part of the plain gradient that is at right angles to the perturbed one; 0 is SAM (arXiv
    /// 2010.01412).
    pub alpha: f64,
    /// Adaptive perturbation: scale it by the magnitude of each weight (ASAM, arXiv 2102.11600).
    pub adaptive: bool,
}

impl Default for GsamConfig {
    fn default() -> Self {
        Self { rho_max: 0.0, rho_min: 0.0, alpha: 0.0, adaptive: false }
    }
}

impl GsamConfig {
    /// The perturbation radius ρ at learning rate `lr` of at most `most`.
    pub fn rho(&self, lr: f64, most: f64) -> f64 {
        self.rho_min + (self.rho_max - self.rho_min) * if most > 0.0 { lr / most } else { 0.0 }
    }
}

/// A perturbation of the weights, towards where the loss is larger, and what undoes it.
#[derive(Debug)]
pub struct Perturbation {
    /// Parameter, its value before, and the gradient there.
    moved: Vec<(Tensor, Tensor, Tensor)>,
}

impl Perturbation {
    /// Perturbs every parameter along its gradient; the perturbation of all together has the norm `rho`.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn apply(params_with_grads: Vec<(&Tensor, Tensor)>, rho: f64, adaptive: bool) -> Result<Self> {
        let _no_grad = tch::no_grad_guard();
        let mut moved = Vec::new();
        let mut squares = Vec::new();
        for (param, grad) in params_with_grads {
            let way = if adaptive { grad.f_mul(&param.f_abs()?)? } else { grad.shallow_clone() };
            squares.push(way.f_square()?.f_sum(Kind::Float)?);
            moved.push((param.shallow_clone(), param.detach().copy(), grad.copy()));
        }
        if squares.is_empty() {
            return Ok(Self { moved });
        }
        let length = Tensor::f_stack(&squares, 0)?.f_sum(Kind::Float)?.f_sqrt()?.f_double_value(&[])?;
        let scale = rho / (length + 1e-12);
        for (param, before, grad) in &mut moved {
            let way = if adaptive { grad.f_mul(&before.f_square()?)? } else { grad.shallow_clone() };
            let _ = param.f_add_(&way.f_mul_scalar(scale)?)?;
        }
        Ok(Self { moved })
    }

    /// Undoes the perturbation, and turns the gradients, which were taken at the perturbed weights, into those that GSAM steps with: g' − α
    /// g⊥, where g⊥ is the part of the plain gradient g that is at right angles to g'.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn undo(self, alpha: f64) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        for (param, before, _) in &self.moved {
            param.shallow_clone().f_copy_(before)?;
        }
        if alpha == 0.0 {
            return Ok(());
        }
        let pairs: Vec<(Tensor, &Tensor)> = self.moved.iter().map(|(param, _, plain)| (param.grad(), plain)).collect();
        let pairs: Vec<&(Tensor, &Tensor)> = pairs.iter().filter(|(uphill, _)| uphill.defined()).collect();
        let sum = |pick: &dyn Fn(&(Tensor, &Tensor)) -> Result<Tensor>| -> Result<f64> {
            let all = pairs.iter().map(|pair| pick(pair)).collect::<Result<Vec<_>>>()?;
            Ok(if all.is_empty() { 0.0 } else { Tensor::f_stack(&all, 0)?.f_sum(Kind::Float)?.f_double_value(&[])? })
        };
        let shared = sum(&|(uphill, plain)| Ok(uphill.f_mul(plain)?.f_sum(Kind::Float)?))?;
        let square = sum(&|(uphill, _)| Ok(uphill.f_square()?.f_sum(Kind::Float)?))?;
        let along = shared / (square + 1e-12);
        for (uphill, plain) in pairs {
            // g' - α (g - along · g')
            let aside = plain.f_sub(&uphill.f_mul_scalar(along)?)?;
            let _ = uphill.shallow_clone().f_sub_(&aside.f_mul_scalar(alpha)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loss ½ (a x² + b y²) at (x, y), and its gradient.
    fn bowl(at: &Tensor) {
        let curve = Tensor::from_slice(&[1.0f32, 10.0]);
        let mut grad = at.grad();
        if grad.defined() {
            let _ = grad.zero_();
        }
        ((at * at * curve).sum(Kind::Float) * 0.5).backward();
    }

    #[test]
    fn the_step_is_the_papers() {
        // At (2, 1): g = (2, 10), |g| = √104. With ρ = 0.5 uphill: (2 + 1/√104, 1 + 5/√104); g' = (x', 10 y').
        let at = Tensor::from_slice(&[2.0f32, 1.0]).set_requires_grad(true);
        bowl(&at);
        let length = 104f64.sqrt();
        let up = [2.0 + 1.0 / length, 1.0 + 5.0 / length];
        let perturbation = Perturbation::apply(vec![(&at, at.grad())], 0.5, false).expect("it moves");
        for (index, want) in up.iter().enumerate() {
            assert!((at.double_value(&[index as i64]) - want).abs() < 1e-5);
        }
        bowl(&at);
        let (g, h) = ([2.0, 10.0], [up[0], 10.0 * up[1]]);
        let along = (g[0] * h[0] + g[1] * h[1]) / (h[0] * h[0] + h[1] * h[1]);
        perturbation.undo(0.3).expect("it comes back");
        for index in 0..2 {
            let want = h[index] - 0.3 * (g[index] - along * h[index]);
            assert!((at.grad().double_value(&[index as i64]) - want).abs() < 1e-4, "{index}");
        }
        assert_eq!((at.double_value(&[0]), at.double_value(&[1])), (2.0, 1.0), "to the bit");
    }

    #[test]
    fn an_adaptive_way_scales_with_the_weights() {
        let at = Tensor::from_slice(&[2.0f32, 0.0]).set_requires_grad(true);
        bowl(&at);
        let perturbation = Perturbation::apply(vec![(&at, at.grad())], 0.5, true).expect("it moves");
        // |w g| = 4, so the way is ρ w² g / 4 = 0.5 · 4 · 2 / 4.
        assert!((at.double_value(&[0]) - 3.0).abs() < 1e-5 && at.double_value(&[1]) == 0.0);
        perturbation.undo(0.0).expect("it comes back");
        assert_eq!(at.double_value(&[0]), 2.0);
    }

    #[test]
    fn the_way_follows_the_learning_rate() {
        let config = GsamConfig { rho_max: 0.6, rho_min: 0.1, ..GsamConfig::default() };
        for (lr, want) in [(1e-3, 0.6), (0.0, 0.1), (5e-4, 0.35)] {
            assert!((config.rho(lr, 1e-3) - want).abs() < 1e-12);
        }
    }
}
