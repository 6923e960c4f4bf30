//! Power loss and full disks, at every operation.

use std::path::Path;
use std::sync::Arc;

use tch::Tensor;

use super::*;
use crate::checkpoint::{Progress, State, Store, find};

/// Steps saved by a run; 20 twice, as after a resume from 10.
const STEPS: [u64; 6] = [10, 20, 20, 30, 40, 50];

fn state(step: u64) -> State {
    State {
        tensors: vec![("w".into(), Tensor::from_slice(&[step as f32, 1.0])), ("optimizer.step".into(), Tensor::from(step as i64))],
        progress: Progress { step, epoch: step / 20, samples_seen: step * 8, seed: 3 },
        config: "model = \"tiny\"\n".into(),
        ..State::default()
    }
}

fn store(sim: &Sim) -> Store {
    Store::on(ROOT.into(), Arc::new(sim.clone())).keeping(2, None)
}

/// A run that saves every step, and after how many operations each save was acknowledged.
fn run(forgets: Forgets) -> (Sim, Vec<(usize, u64)>) {
    let sim = Sim { forgets, ..Sim::new() };
    let store = store(&sim);
    let acknowledged = STEPS
        .iter()
        .map(|&step| {
            store.save(&state(step)).expect("nothing fails here");
            (sim.ops(), step)
        })
        .collect();
    (sim, acknowledged)
}

/// What is wrong after a crash, if anything.
fn violation(crashed: &Sim, acknowledged: Option<u64>) -> Option<String> {
    let found = match store(crashed).latest() {
        Ok(found) => found,
        Err(error) => return Some(error.to_string()),
    };
    let step = found.as_ref().map(|found| found.manifest.progress.step);
    if step < acknowledged {
        return Some(format!("{acknowledged:?} was acknowledged, {step:?} is there"));
    }
    let found = found?;
    match find::load(crashed, &found.path) {
        Ok(state) if state.tensors[1].1.equal(&Tensor::from_slice(&[state.progress.step as f32, 1.0])) => None,
        Ok(state) => Some(format!("the tensors are not those of step {}: {:?}", state.progress.step, state.tensors)),
        Err(error) => Some(error.to_string()),
    }
}

/// Subsets of what may be lost: all of them if they are few, otherwise none, all, each alone, all but each, and a few hundred at random.
fn losses(pending: &[usize]) -> Vec<Vec<usize>> {
    // Without syncs everything is pending; the last sixty show enough.
    let pending = &pending[pending.len().saturating_sub(60)..];
    let pick = |mask: u64| pending.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, op)| *op).collect();
    let all = (1_u64 << pending.len()) - 1;
    if pending.len() <= 8 {
        return (0..=all).map(pick).collect();
    }
    let single = (0..pending.len()).map(|at| 1_u64 << at);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let randoms: Vec<u64> = (0..256)
        .map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random & all
        })
        .collect();
    [0, all].into_iter().chain(single.clone()).chain(single.map(|one| all & !one)).chain(randoms).map(pick).collect()
}

/// Every crash of a run; calls `check` with the crashed system and the last acknowledged step.
fn every_crash(sim: &Sim, acknowledged: &[(usize, u64)], mut check: impl FnMut(&Sim, Option<u64>, &str)) -> usize {
    let mut crashes = 0;
    for prefix in 0..=sim.ops() {
        let last = acknowledged.iter().filter(|(ops, _)| *ops <= prefix).map(|(_, step)| *step).next_back();
        for lost in losses(&sim.pending(prefix)) {
            crashes += 1;
            check(&sim.after_crash(prefix, &lost), last, &format!("after {prefix} operations, without {lost:?}"));
        }
    }
    crashes
}

#[test]
fn whatever_a_power_loss_takes_a_checkpoint_as_new_as_the_last_acknowledged_is_valid() {
    let (sim, acknowledged) = run(Forgets::Nothing);
    let crashes = every_crash(&sim, &acknowledged, |crashed, last, when| {
        if let Some(wrong) = violation(crashed, last) {
            panic!("{when}: {wrong}");
        }
    });
    assert!(crashes > 2_000, "only {crashes} crashes were tried");
}

#[test]
fn the_simulation_would_notice_a_forgotten_sync() {
    for forgets in [Forgets::FileSync, Forgets::DirSync] {
        let (sim, acknowledged) = run(forgets);
        let mut violations = 0;
        every_crash(&sim, &acknowledged, |crashed, last, _| violations += usize::from(violation(crashed, last).is_some()));
        assert!(violations > 0, "{forgets:?}");
    }
}

#[test]
fn a_run_goes_on_after_every_crash_and_leaves_no_rubbish() {
    let (sim, _) = run(Forgets::Nothing);
    for prefix in 0..=sim.ops() {
        let pending = sim.pending(prefix);
        for lost in [Vec::new(), pending] {
            let crashed = sim.after_crash(prefix, &lost);
            let store = store(&crashed);
            store.save(&state(60)).expect("the next save works");
            let found = store.latest().expect("it can be listed").expect("it is there");
            assert_eq!(found.manifest.progress.step, 60, "after {prefix} operations without {lost:?}");
            let names = crashed.list(Path::new(ROOT)).expect("it is there");
            assert!(!names.iter().any(|name| name.contains(".tmp-")), "after {prefix} operations: {names:?}");
            // One that was put aside may be all that there is of its step, but not stay beside what replaced it.
            let stale = |name: &String| name.split_once(".old-").is_some_and(|(plain, _)| names.iter().any(|name| name == plain));
            assert!(!names.iter().any(stale), "after {prefix} operations: {names:?}");
        }
    }
}

#[test]
fn a_full_disk_at_any_operation_costs_at_most_that_save() {
    let calls = {
        let (sim, _) = run(Forgets::Nothing);
        sim.fail(Fault::None);
        store(&sim).save(&state(60)).expect("nothing fails here");
        sim.calls()
    };
    assert!(calls > 15, "a save has more operations than {calls}");
    for nth in 1..=calls {
        for fault in [Fault::Once(nth), Fault::From(nth)] {
            // Also a save that replaces a checkpoint of the same step.
            for step in [60, 50] {
                let (sim, _) = run(Forgets::Nothing);
                let store = store(&sim);
                store.latest().expect("it can be listed");
                sim.fail(fault);
                let saved = store.save(&state(step));
                sim.fail(Fault::None);
                let at_least = if saved.is_ok() { step } else { 50 };
                if let Some(wrong) = violation(&sim, Some(at_least)) {
                    panic!("{fault:?}, step {step}: {wrong}");
                }
                if let Err(error) = saved {
                    assert!(error.to_string().contains(&format!("step-0000000{step}")), "{error}");
                }
                store.save(&state(70)).expect("the disk has room again");
                assert_eq!(violation(&sim, Some(70)), None, "{fault:?}");
                let kept = sim.list(Path::new(ROOT)).expect("it is there");
                assert!(!kept.iter().any(|name| name.contains(".tmp-")), "{fault:?}: {kept:?}");
            }
        }
    }
}
