//! Checkpoints that are written while training goes on.
//!
//! Training waits while the state is copied; a thread writes the copy. So a kill costs the steps since the newest checkpoint that was complete, as
//! before: what is being written counts as not there. One is written at a time, and the next waits for it.

use std::path::PathBuf;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Instant;

use tch::{Device, Tensor};
use vlhub_core::Result;
use vlhub_torch_ext::tensor_bytes;

use crate::checkpoint::{State, Store};
use crate::failure::{Failure, Outcome};

/// Bytes of a state from which a copy pays; a smaller one is written as fast as a thread is started.
const WORTH_A_COPY: usize = 64 << 20;

type NamedTensors = Vec<(String, Tensor)>;

/// Writes the checkpoints of a run.
pub(super) struct Saver<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    store: &'env Store,
    /// Whether training may go on meanwhile.
    beside: bool,
    writing: Option<Writing<'scope>>,
    /// The memory of the last copy, for the next.
    spare: NamedTensors,
    /// Step of the newest complete checkpoint.
    saved: u64,
}

struct Writing<'scope> {
    step: u64,
    thread: ScopedJoinHandle<'scope, (NamedTensors, Result<PathBuf>)>,
}

impl<'scope, 'env> Saver<'scope, 'env> {
    /// A run that begins, or was resumed, at step `saved`.
    pub fn new(scope: &'scope Scope<'scope, 'env>, store: &'env Store, beside: bool, saved: u64) -> Self {
        Self { scope, store, beside, writing: None, spare: Vec::new(), saved }
    }

    /// Writes a checkpoint from which training goes on: what fails costs no run. What was saved stays, and the next interval tries again.
    pub fn save(&mut self, state: State) {
        self.finish();
        let (begin, step) = (Instant::now(), state.progress.step);
        let large = state.tensors.iter().map(|(_, tensor)| tensor_bytes(tensor)).sum::<usize>() >= WORTH_A_COPY;
        let copied = if self.beside && large { copied(&state.tensors, std::mem::take(&mut self.spare)).ok() } else { None };
        let Some(tensors) = copied else {
            let written = self.store.save(&state);
            return self.acknowledge(step, written);
        };
        let (state, store) = (State { tensors, ..state }, self.store);
        let waited = begin.elapsed();
        let thread = self.scope.spawn(move || {
            let written = store.save(&state);
            if written.is_ok() {
                tracing::info!(
                    "checkpoint of step {step}: training waited {:.2} s, it was complete after {:.2} s",
                    waited.as_secs_f64(),
                    begin.elapsed().as_secs_f64()
                );
            }
            (state.tensors, written)
        });
        self.writing = Some(Writing { step, thread });
    }

    /// Writes the last checkpoint of a process.
    ///
    /// # Errors
    /// Why it could not be written: nothing comes after it that could try again.
    pub fn save_last(&mut self, state: &State) -> Outcome {
        self.finish();
        self.store.save(state)?;
        self.saved = state.progress.step;
        Ok(())
    }

    /// Waits for what is being written.
    fn finish(&mut self) {
        let Some(Writing { step, thread }) = self.writing.take() else { return };
        match thread.join() {
            Ok((tensors, written)) => {
                self.spare = tensors;
                self.acknowledge(step, written);
            }
            Err(_) => tracing::warn!(
                "the checkpoint of step {step} was not written (its thread panicked); the newest one is of step {}",
                self.saved
            ),
        }
    }

    fn acknowledge(&mut self, step: u64, written: Result<PathBuf>) {
        match written {
            Ok(_) => self.saved = step,
            // A full disk must not cost the run.
            Err(error) => {
                let failure = Failure::from(error);
                tracing::warn!("the checkpoint of step {step} was not written ({failure}); the newest one is of step {}", self.saved);
            }
        }
    }
}

/// A copy on the CPU, in memory of an earlier one where that fits.
fn copied(tensors: &[(String, Tensor)], spare: NamedTensors) -> Result<NamedTensors> {
    let _no_grad = tch::no_grad_guard();
    let mut spare = spare.into_iter().map(|(_, tensor)| tensor);
    let copy = |(name, tensor): &(String, Tensor)| {
        let fits = |old: &Tensor| old.kind() == tensor.kind() && old.size() == tensor.size();
        let mut copy = match spare.next().filter(fits) {
            Some(old) => old,
            None => Tensor::f_empty(tensor.size(), (tensor.kind(), Device::Cpu))?,
        };
        copy.f_copy_(tensor)?;
        Ok((name.clone(), copy))
    };
    tensors.iter().map(copy).collect()
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::checkpoint::Progress;

    fn state(step: u64, value: f64, elements: i64) -> State {
        let tensor = Tensor::full([elements], value, (Kind::Float, Device::Cpu));
        State { tensors: vec![("weight".into(), tensor)], progress: Progress { step, ..Progress::default() }, ..State::default() }
    }

    #[test]
    fn what_is_written_is_the_state_when_it_was_asked_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path()).expect("a folder").keeping(9, None);
        std::thread::scope(|scope| {
            let mut saver = Saver::new(scope, &store, true, 0);
            let live = state(1, 1.0, (WORTH_A_COPY / 4) as i64);
            let mut weight = live.tensors[0].1.shallow_clone();
            saver.save(live);
            assert!(saver.writing.is_some(), "it is large enough to be written by a thread");
            // Training goes on at once.
            let _ = weight.fill_(2.0);
            saver.save(State {
                progress: Progress { step: 2, ..Progress::default() },
                tensors: vec![("weight".into(), weight)],
                ..State::default()
            });
            saver.save_last(&state(3, 3.0, 1)).expect("it is written");
            assert_eq!(saver.saved, 3);
        });
        for (step, value) in [(1, 1.0), (2, 2.0), (3, 3.0)] {
            let loaded = Store::load(&folder.path().join(format!("step-{step:09}"))).expect("it is complete");
            assert_eq!(loaded.tensors[0].1.min().double_value(&[]), value, "step {step}");
            assert_eq!(loaded.tensors[0].1.max().double_value(&[]), value, "step {step}");
        }
    }

    #[test]
    fn a_checkpoint_that_cannot_be_written_costs_no_run_unless_it_is_the_last() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path().join("checkpoints")).expect("a folder");
        std::fs::remove_dir(store.dir()).expect("it is empty");
        std::thread::scope(|scope| {
            let mut saver = Saver::new(scope, &store, true, 7);
            for elements in [1, (WORTH_A_COPY / 4) as i64] {
                saver.save(state(8, 1.0, elements));
                saver.finish();
                assert_eq!(saver.saved, 7);
            }
            assert!(saver.save_last(&state(9, 1.0, 1)).is_err());
        });
    }
}
