//! Collective communication between processes: of detached tensors, never of a graph.

use std::fmt::Debug;
use std::ops::Range;

use tch::Tensor;
use vlhub_core::{Batch, Features, Result};

/// Collectives over the processes of a run. With one process each is the identity.
pub trait Comm: Debug + Send {
    /// World size: the number of processes.
    fn world(&self) -> usize;
    /// The range of this process's rows in the global batch of `local · world` rows.
    fn own(&self, local: i64) -> Range<i64>;
    /// All-gather of features, in the order of ranks; [`Features::own`] says where ours are.
    fn gather(&self, local: &Features) -> Result<Features>;
    /// All-gather of labels, token ids and derived inputs; never of images.
    fn gather_batch(&self, local: &Batch) -> Result<Batch>;
    /// All-reduce: element-wise sum over the processes.
    fn sum(&self, tensors: Vec<Tensor>) -> Result<Vec<Tensor>>;
    /// All-reduce of a number: its sum over the processes.
    fn sum_number(&self, number: f64) -> Result<f64>;
}

/// The communicator of a single process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Comm for Alone {
    fn world(&self) -> usize {
        1
    }
    fn own(&self, local: i64) -> Range<i64> {
        0..local
    }
    fn gather(&self, local: &Features) -> Result<Features> {
        Ok(local.map(Tensor::shallow_clone))
    }
    fn gather_batch(&self, local: &Batch) -> Result<Batch> {
        Ok(local.slice(0..local.rows()))
    }
    fn sum(&self, tensors: Vec<Tensor>) -> Result<Vec<Tensor>> {
        Ok(tensors)
    }
    fn sum_number(&self, number: f64) -> Result<f64> {
        Ok(number)
    }
}
