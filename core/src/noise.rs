//! The random numbers of a forward pass: a counter-based generator with a seed for each row of a batch.
//!
//! Gradient caching runs a chunk of rows twice, and chunks may have any size. Dropout drawn from one stream of numbers would then depend on
//! how the batch was cut. Here the numbers of a row are a pure function of the row's seed, so the chunks of a batch, of any size and in any
//! order, see what the whole batch would have seen, on every device.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tch::{Kind, Tensor};

use crate::{Result, guard};

/// A part of a tower, as the host runs it: tensors in, a tensor out.
pub type RecomputedPart = Box<dyn Fn(&[Tensor]) -> Result<Tensor> + Send>;

/// How the host runs a part of which the backward pass keeps the inputs alone, and computes the rest again.
pub type Recompute = fn(&[&Tensor], RecomputedPart) -> Result<Tensor>;

/// A random number generator for a forward pass in training, with a seed for each row; which running statistics of batch norms are frozen; and
/// whether activations are kept for the backward pass, or computed again.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use vlhub_core::Noise;
///
/// let x = Tensor::ones([3, 4], (Kind::Float, Device::Cpu));
/// let whole = Noise::new(Tensor::from_slice(&[7i64, 8, 9])).dropout(&x, 0.5);
/// let last = Noise::new(Tensor::from_slice(&[9i64])).dropout(&x.narrow(0, 2, 1), 0.5);
/// assert!(whole.narrow(0, 2, 1).equal(&last), "a row depends on its seed, and not on the batch around it");
/// ```
#[derive(Debug)]
pub struct Noise {
    rows: Tensor,
    draws: Cell<i64>,
    /// Frozen running statistics, by the addresses of their numbers.
    kept: Option<Arc<BTreeSet<usize>>>,
    /// Gradient checkpointing, where a run asks for it.
    recompute: Option<Recompute>,
}

impl Noise {
    /// A generator of the seeds `[B]`, int64, on the device of the input.
    pub fn new(rows: Tensor) -> Self {
        Self { rows, draws: Cell::new(0), kept: None, recompute: None }
    }

    /// Freezes running statistics, by the addresses of their numbers (`Tensor::data_ptr`): the batch norms that have them normalise by
    /// them, as in evaluation.
    pub fn keeping(self, statistics: Option<Arc<BTreeSet<usize>>>) -> Self {
        Self { kept: statistics, ..self }
    }

    /// Whether these running statistics are frozen.
    pub fn keeps(&self, statistics: &Tensor) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.contains(&(statistics.data_ptr() as usize)))
    }

    /// Gradient checkpointing (arXiv 1604.06174): asks towers to run their parts by [`Noise::recompute`], which then is done by `how`. `None`
    /// asks for nothing.
    pub fn recomputing(self, how: Option<Recompute>) -> Self {
        Self { recompute: how, ..self }
    }

    /// Whether the run asks for gradient checkpointing.
    pub fn recomputes(&self) -> bool {
        self.recompute.is_some()
    }

    /// Runs a part of a tower, such as a block. Where the run asks for gradient checkpointing, the backward pass keeps `inputs` alone and runs
    /// `part` again, with the same draws; everywhere else `part` runs once, as it is.
    ///
    /// `part` changes nothing: no batch norm that moves running statistics. Each tensor with a graph is one of `inputs`; what else it
    /// uses are parameters, and tensors without gradients. A layer that it shares with the tower is behind an `Arc<Mutex<_>>`: see
    /// `vlhub_sdk::nn::Recomputed`. What it is given as noise draws for this run, and takes the place of this generator.
    ///
    /// # Panics
    /// Where the part does, or libtorch refuses: the plugin's guard makes an error of it.
    ///
    /// ```
    /// use tch::{Device, Kind, Tensor};
    /// use vlhub_core::Noise;
    ///
    /// let weight = Tensor::ones([4, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    /// let noise = Noise::new(Tensor::from_slice(&[7i64, 8]));
    /// let x = Tensor::ones([2, 4], (Kind::Float, Device::Cpu));
    /// let shared = weight.shallow_clone();
    /// let y = noise.recompute(&[&x], move |inputs, noise| noise.dropout(&inputs[0].matmul(&shared), 0.5));
    /// assert!(y.requires_grad());
    /// ```
    pub fn recompute(&self, inputs: &[&Tensor], part: impl Fn(&[Tensor], &Self) -> Tensor + Send + 'static) -> Tensor {
        let Some(how) = self.recompute else {
            let inputs: Vec<Tensor> = inputs.iter().map(|input| input.shallow_clone()).collect();
            return part(&inputs, self);
        };
        let (begin, end) = (self.copied(), Arc::new(AtomicI64::new(self.draws.get())));
        let drawn = Arc::clone(&end);
        // A panic must not leave this library: the host runs the part.
        let guarded = move |inputs: &[Tensor]| {
            guard::catch("part", || {
                let noise = begin.copied();
                let output = part(inputs, &noise);
                drawn.store(noise.draws.get(), Ordering::Relaxed);
                Ok(output)
            })
        };
        let output = how(inputs, Box::new(guarded)).unwrap_or_else(|error| panic!("{error}"));
        self.draws.set(end.load(Ordering::Relaxed));
        output
    }

    /// A generator that draws what this one draws next. What a part consists of is computed again with it.
    fn copied(&self) -> Self {
        Self { rows: self.rows.shallow_clone(), draws: self.draws.clone(), kept: self.kept.clone(), recompute: None }
    }

    /// Uniform in `[0, 1)`, float32, `[B, shape…]`. It depends on a row's seed and on the number of draws before it, and on no other row.
    pub fn uniform(&self, shape: &[i64]) -> Tensor {
        let draw = self.draws.replace(self.draws.get() + 1);
        let each: i64 = shape.iter().product();
        let start = mix(&(&self.rows + (draw + 1).wrapping_mul(0x1656_67b1_9e37_79f9)));
        let index = Tensor::arange(each, (Kind::Int64, self.rows.device())) * 0x9e37_79b9_7f4a_7c15_u64 as i64;
        let bits = mix(&(start.unsqueeze(1) + index.unsqueeze(0)));
        let unit = logical_shift(&bits, 40).to_kind(Kind::Float) / f64::from(1 << 24);
        let full: Vec<i64> = std::iter::once(-1).chain(shape.iter().copied()).collect();
        unit.view(full.as_slice())
    }

    /// Dropout: zeroes each element of `[B, …]` with probability `p` and scales the rest by `1 / (1 - p)`.
    pub fn dropout(&self, x: &Tensor, p: f64) -> Tensor {
        if p <= 0.0 {
            return x.shallow_clone();
        }
        let keep = self.uniform(&x.size()[1..]).ge(p).to_kind(x.kind());
        x * keep / (1.0 - p)
    }
}

/// The last steps of splitmix64: every bit of the input changes half of the output.
fn mix(x: &Tensor) -> Tensor {
    let x = x.bitwise_xor_tensor(&logical_shift(x, 30)) * 0xbf58_476d_1ce4_e5b9_u64 as i64;
    let x = x.bitwise_xor_tensor(&logical_shift(&x, 27)) * 0x94d0_49bb_1331_11eb_u64 as i64;
    x.bitwise_xor_tensor(&logical_shift(&x, 31))
}

/// libtorch shifts signed numbers arithmetically; the mask clears the copies of the sign.
fn logical_shift(x: &Tensor, bits: i64) -> Tensor {
    x.bitwise_right_shift_tensor_scalar(bits).bitwise_and((1i64 << (64 - bits)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_sees_the_same_numbers_in_any_chunk() {
        let rows = Tensor::from_slice(&[11i64, -5, 1 << 62, 11]);
        let (whole, part) = (Noise::new(rows.shallow_clone()), Noise::new(rows.narrow(0, 1, 2)));
        for _ in 0..2 {
            let (all, some) = (whole.uniform(&[3, 5]), part.uniform(&[3, 5]));
            assert!(all.narrow(0, 1, 2).equal(&some));
            assert!(all.get(0).equal(&all.get(3)), "equal seeds, equal numbers");
            assert!(!all.get(0).equal(&all.get(1)));
        }
    }

    #[test]
    fn a_part_that_runs_twice_draws_twice_the_same_and_what_follows_goes_on_behind_it() {
        // What the host does, without a backward pass: the second run's output.
        let twice: Recompute = |inputs, part| {
            let inputs: Vec<Tensor> = inputs.iter().map(|input| input.shallow_clone()).collect();
            let first = part(&inputs)?;
            let second = part(&inputs)?;
            assert!(first.equal(&second));
            Ok(second)
        };
        let x = Tensor::ones([2, 50], (Kind::Float, tch::Device::Cpu));
        let pass = |how: Option<Recompute>| {
            let noise = Noise::new(Tensor::from_slice(&[3i64, 4])).recomputing(how);
            assert_eq!(noise.recomputes(), how.is_some());
            let before = noise.dropout(&x, 0.5);
            let within = noise.recompute(&[&before], |inputs, noise| {
                assert!(!noise.recomputes(), "what is within is computed again with it");
                noise.dropout(&noise.dropout(&(&inputs[0] + 1.0), 0.5), 0.5)
            });
            [within, noise.dropout(&x, 0.5)]
        };
        for (plain, again) in pass(None).iter().zip(pass(Some(twice))) {
            assert!(plain.equal(&again));
        }
        let refused = std::panic::catch_unwind(|| {
            let once: Recompute = |_, part| part(&[]);
            Noise::new(Tensor::from_slice(&[3i64])).recomputing(Some(once)).recompute(&[], |_, _| panic!("within the part"))
        });
        let said = refused.expect_err("the part panics").downcast::<String>().expect("a text");
        assert!(said.contains("within the part"), "{said}");
    }

    #[test]
    fn numbers_are_uniform_and_draws_differ() {
        let noise = Noise::new(Tensor::arange(64, (Kind::Int64, tch::Device::Cpu)));
        let (first, second) = (noise.uniform(&[1000]), noise.uniform(&[1000]));
        assert!((first.mean(Kind::Float).double_value(&[]) - 0.5).abs() < 0.01);
        assert!((first.std(true).double_value(&[]) - (1.0f64 / 12.0).sqrt()).abs() < 0.01);
        assert!(first.min().double_value(&[]) >= 0.0 && first.max().double_value(&[]) < 1.0);
        let together = Tensor::stack(&[first.view([-1]), second.view([-1])], 0).corrcoef();
        assert!(together.double_value(&[0, 1]).abs() < 0.02, "two draws are independent");
        let neighbours = Tensor::stack(&[first.narrow(1, 0, 999).reshape([-1]), first.narrow(1, 1, 999).reshape([-1])], 0).corrcoef();
        assert!(neighbours.double_value(&[0, 1]).abs() < 0.02, "neighbours are independent");
    }
}
