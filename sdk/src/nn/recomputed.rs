//! Gradient checkpointing, layer by layer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tch::Tensor;

use crate::Noise;

/// A layer under gradient checkpointing (arXiv 1604.06174): where a run asks for it, the backward pass keeps the layer's inputs alone and computes
/// the layer again, for a third more time. A tower puts its blocks into it, and says so in [`Backbone::recomputes`](crate::Backbone::recomputes).
///
/// The graph shares the layer with the tower, so both hold it, behind a lock that nobody waits for. A layer with a batch norm stays out: its
/// running statistics would move twice.
///
/// ```
/// use vlhub_sdk::nn::{Init, Linear, Recomputed};
/// use vlhub_sdk::prelude::*;
/// use vlhub_sdk::tch::nn::VarStore;
///
/// let store = VarStore::new(Device::Cpu);
/// let layer = |name: &str| Linear::new(&store.root().sub(name), 8, 8, Init::Const(0.1), Init::Const(0.0)).map(Recomputed::new);
/// let layers = ["first", "second"].map(layer).into_iter().collect::<Result<Vec<_>>>()?;
/// let (x, noise) = (Tensor::ones([2, 8], (Kind::Float, Device::Cpu)), Noise::new(Tensor::from_slice(&[7i64, 8])));
/// let encode = |noise: Option<&Noise>| {
///     let run = |x: Tensor, layer: &Recomputed<Linear>| layer.forward(&[&x], noise, |layer, inputs, _| layer.forward(&inputs[0]).tanh());
///     layers.iter().fold(x.shallow_clone(), run)
/// };
/// assert!(encode(Some(&noise)).equal(&encode(None)));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Recomputed<L>(Arc<Mutex<L>>);

impl<L: Send + 'static> Recomputed<L> {
    /// A layer that may be computed again.
    pub fn new(layer: L) -> Self {
        Self(Arc::new(Mutex::new(layer)))
    }

    /// The layer itself, for what runs in evaluation alone. It is locked while the guard lives, so an expression may ask once.
    pub fn layer(&self) -> MutexGuard<'_, L> {
        locked(&self.0)
    }

    /// What `run` makes of the layer and its inputs, by [`Noise::recompute`]: each tensor with a graph is one of `inputs`, and `run` captures none.
    pub fn forward(
        &self,
        inputs: &[&Tensor],
        noise: Option<&Noise>,
        run: impl Fn(&L, &[Tensor], Option<&Noise>) -> Tensor + Send + 'static,
    ) -> Tensor {
        let Some(asked) = noise.filter(|noise| noise.recomputes()) else {
            let inputs: Vec<Tensor> = inputs.iter().map(|input| input.shallow_clone()).collect();
            return run(&self.layer(), &inputs, noise);
        };
        let layer = Arc::clone(&self.0);
        asked.recompute(inputs, move |inputs, noise| run(&locked(&layer), inputs, Some(noise)))
    }
}

/// A layer in which something panicked is as it was: running it changes nothing.
fn locked<L>(layer: &Mutex<L>) -> MutexGuard<'_, L> {
    layer.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use tch::{Device, Kind};

    use super::*;
    use crate::noise::Recompute;

    #[test]
    fn it_runs_as_it_is_unless_it_is_asked_to_run_again_and_outlives_a_panic() {
        let layer = Recomputed::new(Tensor::from_slice(&[2f32, 3.0]));
        let x = Tensor::ones([2], (Kind::Float, Device::Cpu));
        let twice: Recompute = |inputs, part| {
            let inputs: Vec<Tensor> = inputs.iter().map(|input| input.shallow_clone()).collect();
            let _first = part(&inputs)?;
            part(&inputs)
        };
        let plain = Noise::new(Tensor::from_slice(&[1i64, 2]));
        let asked = Noise::new(Tensor::from_slice(&[1i64, 2])).recomputing(Some(twice));
        for noise in [None, Some(&plain), Some(&asked)] {
            let out = layer.forward(&[&x, &x], noise, |weight, inputs, _| &inputs[0] + weight * &inputs[1]);
            assert_eq!(out, Tensor::from_slice(&[3f32, 4.0]));
        }
        let ended = catch_unwind(AssertUnwindSafe(|| layer.forward(&[&x], None, |_, _, _| panic!("within"))));
        assert!(ended.is_err());
        assert_eq!(layer.layer().size(), [2]);
    }
}
