//! Hidden commands for `cargo vlhub` and for tests.

use std::path::Path;

use tch::{Kind, Tensor};

use super::{load, print_json};
use crate::checkpoint::Store;
use crate::cli::Shared;
use crate::failure::{Failure, Outcome};
use crate::training::start::{self, StartMark, StartStage};

/// A product in bf16 or fp16. Dies of an illegal instruction where the processor advertises AMX, or fp16, that the system does not allow.
pub fn probe(kind: Kind) -> Outcome {
    let x = Tensor::ones([64, 64], (kind, tch::Device::Cpu));
    let sum = x.f_matmul(&x).and_then(|y| y.f_sum(Kind::Float)).and_then(|y| y.f_double_value(&[])).map_err(vlhub_core::Error::from)?;
    say!("{sum}");
    Ok(())
}

/// The first step of a run, and when each stage before it was reached, for `vlhub bench start`.
pub fn start(shared: &Shared, file: &Path, overrides: &[String]) -> Outcome {
    let loaded = StartMark::now(StartStage::Loaded);
    let config = load(shared, file, overrides)?;
    print_json(&start::first_step(&config, vec![loaded, StartMark::now(StartStage::Checked)])?)
}

/// Hash of everything in the newest valid checkpoint of a run: two runs with one hash are equal to the bit.
pub fn hash(run: &Path) -> Outcome {
    let store = Store::open(run.join("checkpoints"))?;
    let found = store
        .latest()
        .map_err(|error| Failure::new(Failure::RESUME, error.to_string()))?
        .ok_or_else(|| Failure::new(Failure::RESUME, format!("{} has no valid checkpoint", run.display())))?;
    let mut state = Store::load(&found.path)?;
    state.tensors.sort_by(|a, b| a.0.cmp(&b.0));
    say!("{} {}", state.progress.step, crate::session::parameters::hash(&state.tensors));
    Ok(())
}
