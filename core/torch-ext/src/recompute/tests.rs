use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tch::{Device, Kind};

use super::*;
use crate::{autocast, forget_gradient, metered};

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);
const WIDTH: i64 = 32;
const INSIDE: i64 = 1024;
const ROWS: i64 = 256;
const BLOCKS: i64 = 6;

fn random(shape: &[i64], seed: i64) -> Tensor {
    // The generator of libtorch is one for all tests: waves instead.
    (Tensor::arange(shape.iter().product::<i64>(), FLOAT) * 0.7 + seed as f64).sin().view(shape) * 0.3
}

/// The two matrices of each block.
fn weights() -> Vec<[Tensor; 2]> {
    let leaf = |shape: &[i64], seed| random(shape, seed).set_requires_grad(true);
    (0..BLOCKS).map(|block| [leaf(&[WIDTH, INSIDE], 2 * block), leaf(&[INSIDE, WIDTH], 2 * block + 1)]).collect()
}

fn block(x: &Tensor, [inner, outer]: &[Tensor; 2]) -> Tensor {
    x + x.matmul(inner).gelu("none").matmul(outer) * 0.1
}

/// All blocks, one after the other.
fn chain(x: &Tensor, weights: &[[Tensor; 2]], again: bool) -> Tensor {
    weights.iter().fold(x.shallow_clone(), |x, pair| {
        if !again {
            return block(&x, pair);
        }
        let pair = pair.each_ref().map(Tensor::shallow_clone);
        recomputed(&[&x], move |inputs| Ok::<_, Infallible>(block(&inputs[0], &pair))).expect("it runs")
    })
}

/// Gradients of all weights and, if it has one, of `x`; and the most memory that they took.
fn gradients(x: &Tensor, weights: &[[Tensor; 2]], again: bool) -> (Vec<Tensor>, i64) {
    let leaves: Vec<&Tensor> = weights.iter().flatten().chain(Some(x).filter(|x| x.requires_grad())).collect();
    leaves.iter().for_each(|leaf| forget_gradient(leaf).expect("it runs"));
    let ((), usage) = metered(|| (chain(x, weights, again) * random(&[ROWS, WIDTH], 99)).sum(Kind::Float).backward()).expect("it runs");
    (leaves.iter().map(|leaf| leaf.grad().copy()).collect(), usage.peak)
}

fn assert_same(ours: &[Tensor], wanted: &[Tensor]) {
    assert_eq!(ours.len(), wanted.len());
    for (place, (ours, wanted)) in ours.iter().zip(wanted).enumerate() {
        let apart = (ours - wanted).abs().max().double_value(&[]);
        let largest = wanted.abs().max().double_value(&[]);
        assert!(largest > 0.0 && apart <= 1e-6 * largest, "gradient {place}: {apart} of {largest}");
    }
}

#[test]
fn gradients_are_those_of_the_plain_pass_with_a_fraction_of_its_memory() {
    let (weights, x) = (weights(), random(&[ROWS, WIDTH], 77).set_requires_grad(true));
    let (wanted, plain) = gradients(&x, &weights, false);
    let (ours, again) = gradients(&x, &weights, true);
    assert_same(&ours, &wanted);
    assert!(again * 2 < plain, "{again} of {plain} bytes");
}

#[test]
fn behind_an_input_without_gradients_the_first_part_keeps_its_graph() {
    let (weights, x) = (weights(), random(&[ROWS, WIDTH], 77));
    let (wanted, plain) = gradients(&x, &weights, false);
    let (ours, again) = gradients(&x, &weights, true);
    assert_same(&ours, &wanted);
    assert!(again < plain, "{again} of {plain} bytes");
}

#[test]
fn frozen_parts_are_not_computed_again() {
    let runs = Arc::new(AtomicUsize::new(0));
    let part = |runs: &Arc<AtomicUsize>| {
        let runs = Arc::clone(runs);
        move |inputs: &[Tensor]| {
            runs.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(&inputs[0] * 2.0)
        }
    };
    let frozen = recomputed(&[&Tensor::ones([3], FLOAT)], part(&runs)).expect("it runs");
    assert!(!frozen.requires_grad());
    let x = Tensor::ones([3], FLOAT).set_requires_grad(true);
    let unseen = tch::no_grad(|| recomputed(&[&x], part(&runs))).expect("it runs");
    assert!(!unseen.requires_grad() && runs.load(Ordering::Relaxed) == 2);
    recomputed(&[&x], part(&runs)).expect("it runs").sum(Kind::Float).backward();
    assert_eq!((runs.load(Ordering::Relaxed), x.grad()), (4, Tensor::from_slice(&[2f32, 2.0, 2.0])));
}

#[test]
fn inputs_may_be_shared_have_no_gradient_or_be_given_back() {
    let leaf = || random(&[4, 4], 3).set_requires_grad(true);
    let (x, bias, plain_x, plain_bias) = (leaf(), leaf(), leaf(), leaf());
    let mask = Tensor::ones([4, 4], FLOAT).tril(0).gt(0.5);
    let attend = |x: &Tensor, bias: &Tensor, mask: &Tensor| x + (x + bias).where_self(mask, &x.zeros_like()).tanh();
    // What all parts share is not a leaf: its graph must be walked once, not once for each part.
    let shared = &bias * 3.0;
    let mut ours = x.shallow_clone();
    for _ in 0..3 {
        ours = recomputed(&[&ours, &shared, &mask], move |inputs| Ok::<_, Infallible>(attend(&inputs[0], &inputs[1], &inputs[2])))
            .expect("it runs");
    }
    let same = recomputed(&[&ours], |inputs| Ok::<_, Infallible>(inputs[0].shallow_clone())).expect("it runs");
    same.sum(Kind::Float).backward();
    let shared = &plain_bias * 3.0;
    let wanted = (0..3).fold(plain_x.shallow_clone(), |x, _| attend(&x, &shared, &mask));
    wanted.sum(Kind::Float).backward();
    assert_same(&[x.grad(), bias.grad()], &[plain_x.grad(), plain_bias.grad()]);
}

#[test]
fn what_goes_wrong_is_an_error_of_the_pass_in_which_it_does() {
    let x = Tensor::ones([2], FLOAT).set_requires_grad(true);
    let first = recomputed(&[&x], |_| Err("no such layer")).expect_err("it fails at once");
    assert!(first.to_string().contains("no such layer"), "{first}");
    let failing = |panics: bool| {
        let runs = AtomicUsize::new(0);
        recomputed(&[&x], move |inputs| match (runs.fetch_add(1, Ordering::Relaxed), panics) {
            (0, _) => Ok(&inputs[0] * 2.0),
            (_, true) => panic!("the second time"),
            (_, false) => Err("the second time"),
        })
        .expect("it runs once")
    };
    for panics in [true, false] {
        let error = failing(panics).sum(Kind::Float).f_backward().expect_err("it fails in the backward pass").to_string();
        assert!(error.contains("the second time"), "{error}");
        assert!(!x.grad().defined());
    }
    (&x * 2.0).sum(Kind::Float).backward();
    assert!(x.grad().defined(), "the engine goes on");
}

#[test]
fn a_part_is_freed_with_its_graph_and_by_its_backward_pass() {
    let x = Tensor::ones([2], FLOAT).set_requires_grad(true);
    let held = Arc::new(());
    let part = || {
        let held = Arc::clone(&held);
        recomputed(&[&x], move |inputs| {
            let _ = &held;
            Ok::<_, Infallible>(&inputs[0] * 2.0)
        })
        .expect("it runs")
    };
    let dropped = part();
    assert_eq!(Arc::strong_count(&held), 2);
    drop(dropped);
    assert_eq!(Arc::strong_count(&held), 1);
    let used = part();
    let sum = used.sum(Kind::Float);
    sum.backward();
    assert_eq!(Arc::strong_count(&held), 1, "although the tensors are still there");
    let twice = used.sum(Kind::Float).f_backward().expect_err("its inputs are freed").to_string();
    assert!(twice.contains("second backward pass"), "{twice}");
}

#[test]
fn the_second_run_is_under_the_autocast_of_the_first() {
    // A product of nothing has a kind and no work: bfloat16 may be advertised and not allowed.
    let kind = || Tensor::zeros([0, 4], FLOAT).matmul(&Tensor::zeros([4, 0], FLOAT)).kind();
    let x = Tensor::ones([2], FLOAT).set_requires_grad(true);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let part = move |inputs: &[Tensor]| {
        noted.lock().expect("it is not poisoned").push(kind());
        Ok::<_, Infallible>(&inputs[0] * 2.0)
    };
    let y = autocast(Device::Cpu, Kind::BFloat16, || recomputed(&[&x], part)).expect("it runs").expect("it runs");
    y.sum(Kind::Float).backward();
    assert_eq!(*seen.lock().expect("it is not poisoned"), [Kind::BFloat16; 2]);
    assert_eq!(kind(), Kind::Float);
}

#[test]
fn derivatives_that_would_be_wrong_are_refused() {
    let x = Tensor::ones([2], FLOAT).set_requires_grad(true);
    let part = || recomputed(&[&x], |inputs| Ok::<_, Infallible>(inputs[0].square())).expect("it runs").sum(Kind::Float);
    let given = Tensor::f_run_backward(&[&part()], &[&x], false, false).expect_err("parameters would get gradients too").to_string();
    assert!(given.contains("gradients of given tensors"), "{given}");
    let second = Tensor::f_run_backward(&[&part()], &[&x], true, true).expect_err("there is no graph of the second run").to_string();
    assert!(second.contains("second derivatives"), "{second}");
}
