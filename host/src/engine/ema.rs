//! An exponential moving average of all weights, for evaluation.

use serde::{Deserialize, Serialize};
use tch::Tensor;
use vlhub_core::Result;

use super::towers::Towers;
use crate::section::{Section, out_of_range};

/// `[ema]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmaConfig {
    /// Decay: after each step the average is `decay · average + (1 - decay) · weights`; 0 keeps none.
    pub decay: f64,
    /// Let the decay rise from 0.1 as `(1 + step) / (10 + step)` until it reaches `decay`: the first weights are no good.
    pub warmup: bool,
    /// Evaluate with the average while training.
    pub eval: bool,
}

impl Default for EmaConfig {
    fn default() -> Self {
        Self { decay: 0.0, warmup: true, eval: true }
    }
}

impl Section for EmaConfig {
    const NAME: &'static str = "ema";

    fn check(&self) -> Vec<(&'static str, String)> {
        out_of_range(&[(!(0.0..1.0).contains(&self.decay), "decay", "must lie in 0..1; 0 keeps no average")])
    }
}

impl EmaConfig {
    /// The decay after `steps` steps.
    fn at(&self, steps: u64) -> f64 {
        let steps = steps as f64;
        if self.warmup { self.decay.min((1.0 + steps) / (10.0 + steps)) } else { self.decay }
    }
}

/// An exponential moving average of all weights.
#[derive(Debug)]
pub struct Ema {
    config: EmaConfig,
    /// Name, average, weight: towers and objectives; what no gradient trains is taken over as it is.
    pairs: Vec<(String, Tensor, Tensor)>,
}

impl Ema {
    /// An average that begins at the weights; `None` unless one is asked for.
    pub fn new(config: &EmaConfig, towers: &Towers) -> Option<Self> {
        let pairs = || towers.variables().into_iter().map(|(name, weight)| (name, weight.detach().copy(), weight)).collect();
        (config.decay > 0.0).then(|| Self { config: config.clone(), pairs: pairs() })
    }

    /// Moves the average towards the weights after `steps` steps.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn follow(&mut self, steps: u64) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let decay = self.config.at(steps);
        for (_, average, weight) in &mut self.pairs {
            if weight.requires_grad() && weight.is_floating_point() {
                let _ = average.f_lerp_(&weight.detach(), 1.0 - decay)?;
            } else {
                average.f_copy_(weight)?;
            }
        }
        Ok(())
    }

    /// Resets the average to the weights as they are: at the start of a run, when something other than a step has changed them.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn restart(&mut self) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        Ok(self.pairs.iter_mut().try_for_each(|(_, average, weight)| average.f_copy_(weight))?)
    }

    /// Whether the run is evaluated with the average.
    pub fn measures(&self) -> bool {
        self.config.eval
    }

    /// Runs `work` while the weights are the average.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn instead<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        self.swap()?;
        let done = work();
        self.swap()?;
        Ok(done)
    }

    fn swap(&self) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        for (_, average, weight) in &self.pairs {
            let kept = weight.detach().copy();
            weight.shallow_clone().f_copy_(average)?;
            average.shallow_clone().f_copy_(&kept)?;
        }
        Ok(())
    }

    /// By name under `ema.`: what a checkpoint must hold.
    pub fn variables(&self) -> impl Iterator<Item = (String, Tensor)> {
        self.pairs.iter().map(|(name, average, _)| (format!("{PREFIX}{name}"), average.shallow_clone()))
    }
}

/// What averaged weights are called in a checkpoint: this and their name.
pub const PREFIX: &str = "ema.";

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn it_follows_and_lends_itself() {
        let mut weight = Tensor::from_slice(&[1.0f32]).set_requires_grad(true);
        let pairs = vec![("w".to_owned(), weight.detach().copy(), weight.shallow_clone())];
        let mut ema = Ema { config: EmaConfig { decay: 0.75, warmup: false, eval: true }, pairs };
        tch::no_grad(|| weight.copy_(&Tensor::from_slice(&[3.0f32])));
        ema.follow(1).expect("it follows");
        assert_eq!(ema.instead(|| weight.double_value(&[0])).expect("it is lent"), 1.5);
        assert_eq!(weight.double_value(&[0]), 3.0, "to the bit");
        assert_eq!(weight.device(), Device::Cpu);
    }

    #[test]
    fn the_decay_warms_up() {
        let config = EmaConfig { decay: 0.9, ..EmaConfig::default() };
        for (steps, want) in [(0, 0.1), (10, 0.55), (1000, 0.9)] {
            assert!((config.at(steps) - want).abs() < 1e-12);
        }
    }
}
