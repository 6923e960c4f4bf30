//! The losses tile by tile, with gradients written out, against the whole matrix with libtorch's gradients.

use std::ops::Range;

use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;
use vlhub_sdk::testkit::golden::losses::near;
use vlhub_sdk::testkit::toy::randn;

use crate::positives::{Groups, Positives};
use crate::sigmoid::Sigmoid;
use crate::similarity;
use crate::softmax::{Softmax, Weights};

const ROWS: i64 = 7;
const OWN: [Range<i64>; 4] = [0..7, 2..5, 6..7, 3..3];
/// Some divide the rows, or the own ones, and some do not.
const TILES: [i64; 4] = [1, 3, 7, 1000];
/// Logarithm of the scale, and how alike the pairs are: the start of a training, its end, and an end with wrong pairs.
const SETTINGS: [(f64, f64); 4] = [(2.66, 0.0), (4.605170185988092, 3.0), (4.605170185988092, 0.0), (4.605170185988092, 30.0)];

fn groups(rows: i64) -> [Groups; 2] {
    let mut batch = Batch::new(rows);
    let labels: Vec<i64> =
        (0..rows).flat_map(|row| [[0, 2], [1, -1], [0, -1], [-1, -1], [2, 1], [3, -1], [-1, -1]][row as usize]).collect();
    batch.set_extra(Batch::LABELS, Tensor::from_slice(&labels).view([rows, 2])).expect("a row each");
    [Groups::default(), Positives::Labels.groups(&batch, "main", rows, Device::Cpu).expect("labels")]
}

/// Image, text, logarithm of the scale, bias: numbers that float32 has.
fn inputs(rows: i64, log_scale: f64, alike: f64) -> Vec<Tensor> {
    let text = normalize(&randn(&[rows, 5], 3));
    let image = normalize(&(randn(&[rows, 5], 4) + &text * alike));
    vec![image, text, Tensor::from(log_scale as f32), Tensor::from(-10f32)]
}

/// The value and every gradient in double precision, of a loss that is computed in `kind`.
fn outcome(inputs: &[Tensor], kind: Kind, loss: impl Fn(&[Tensor]) -> Tensor) -> (f64, Vec<Tensor>) {
    let leaves: Vec<Tensor> = inputs.iter().map(|input| input.to_kind(kind).copy().set_requires_grad(true)).collect();
    let loss = loss(&leaves);
    if loss.requires_grad() {
        loss.backward();
    }
    let gradient = |leaf: &Tensor| if leaf.grad().defined() { leaf.grad() } else { leaf.zeros_like() };
    (loss.double_value(&[]), leaves.iter().map(|leaf| gradient(leaf).detach().to_kind(Kind::Double)).collect())
}

fn largest(of: &Tensor) -> f64 {
    of.abs().max().double_value(&[])
}

/// `loss(inputs, own, tile)` for every tile against tile 0 in double precision. The losses are means over all rows, as in a training.
fn check(inputs: &[Tensor], what: &str, loss: impl Fn(&[Tensor], &Range<i64>, i64) -> Tensor) {
    let loss = |leaves: &[Tensor], own: &Range<i64>, tile: i64| loss(leaves, own, tile) / ROWS as f64;
    for own in &OWN {
        let whole = outcome(inputs, Kind::Double, |leaves| loss(leaves, own, 0));
        let scale = whole.1.iter().map(largest).fold(0.0, f64::max);
        for tile in TILES {
            // libtorch's softplus leaves out what is below e^-20, and its log-softmax has 1e-15 of error in a probability near 1.
            for (kind, for_values, for_gradients) in [(Kind::Double, 1e-9, 1e-8), (Kind::Float, 1e-6, 1e-5)] {
                let what = format!("{what}, rows {own:?}, tile {tile}, {kind:?}");
                let (value, gradients) = outcome(inputs, kind, |leaves| loss(leaves, own, tile));
                near(value, whole.0, for_values, &what);
                for (at, (ours, expected)) in gradients.iter().zip(&whole.1).enumerate() {
                    let off = largest(&(ours - expected));
                    assert!(
                        off <= for_gradients * scale + 1e-13,
                        "{what}: gradient {at} is off by {off:e}, where the largest is {scale:e}"
                    );
                }
            }
        }
    }
}

#[test]
fn softmax() {
    for (log_scale, alike) in SETTINGS {
        for (at, groups) in groups(ROWS).iter().enumerate() {
            for decoupled in [false, true] {
                for weights in [Weights { image: 0.5, text: 0.5 }, Weights { image: 0.3, text: 0.0 }, Weights { image: 0.0, text: 2.0 }] {
                    let what = format!("scale e^{log_scale}, alike {alike}, groups {at}, decoupled {decoupled}, {weights:?}");
                    check(&inputs(ROWS, log_scale, alike), &what, |leaves, own, tile| {
                        let softmax = Softmax { log_scale: &leaves[2], own: own.clone(), groups, decoupled, tile };
                        softmax.sum_over_own(&leaves[0], &leaves[1], weights)
                    });
                }
            }
        }
    }
}

#[test]
fn sigmoid() {
    for (log_scale, alike) in SETTINGS {
        for (at, groups) in groups(ROWS).iter().enumerate() {
            check(&inputs(ROWS, log_scale, alike), &format!("scale e^{log_scale}, alike {alike}, groups {at}"), |leaves, own, tile| {
                let sigmoid = Sigmoid { log_scale: &leaves[2], bias: &leaves[3], own: own.clone(), groups, tile };
                sigmoid.sum_over_own(&leaves[0], &leaves[1])
            });
        }
    }
}

#[test]
fn similarities() {
    check(&inputs(ROWS, 0.0, 1.0), "similarities", |leaves, own, tile| similarity::sum_over_own(&leaves[0], &leaves[1], own, tile));
}

/// Pairs that are told apart with a loss of 1e-9 and less: one minus a probability has no digit left, the probabilities of the others have
/// all.
#[test]
fn what_a_trained_model_still_learns_is_exact() {
    let inputs = inputs(ROWS, 100f64.ln(), 3.0);
    let groups = Groups::default();
    let loss = |leaves: &[Tensor], tile: i64| {
        let softmax = Softmax { log_scale: &leaves[2], own: 6..7, groups: &groups, decoupled: false, tile };
        softmax.sum_over_own(&leaves[0], &leaves[1], Weights { image: 0.0, text: 1.0 })
    };
    let exact = outcome(&inputs, Kind::Double, |leaves| loss(leaves, 2));
    let single = outcome(&inputs, Kind::Float, |leaves| loss(leaves, 3));
    assert!(exact.0 > 0.0 && exact.0 < 1e-9, "{}", exact.0);
    assert!((single.0 / exact.0 - 1.0).abs() < 1e-4, "{} for {}", single.0, exact.0);
    for (ours, expected) in single.1.iter().zip(&exact.1) {
        assert!(largest(&(ours - expected)) <= 1e-4 * largest(expected), "{ours:?} for {expected:?}");
    }
}

#[test]
fn one_row_alone_has_nothing_to_learn() {
    let inputs: Vec<Tensor> = inputs(1, 2.0, 0.0);
    for groups in groups(1) {
        for tile in [0, 1, 4] {
            for decoupled in [false, true] {
                let (value, gradients) = outcome(&inputs, Kind::Float, |leaves| {
                    let softmax = Softmax { log_scale: &leaves[2], own: 0..1, groups: &groups, decoupled, tile };
                    softmax.sum_over_own(&leaves[0], &leaves[1], Weights { image: 0.5, text: 0.5 })
                        + similarity::sum_over_own(&leaves[0], &leaves[1], &(0..1), tile)
                });
                assert_eq!(value, 0.0, "tile {tile}, decoupled {decoupled}");
                assert!(gradients.iter().all(|gradient| largest(gradient) == 0.0), "tile {tile}, decoupled {decoupled}: {gradients:?}");
            }
        }
    }
}

/// Rows that are all positives of each other: the decoupled loss has no denominator.
#[test]
fn one_class_alone_has_nothing_to_decouple() {
    let mut batch = Batch::new(ROWS);
    batch.set_extra(Batch::LABELS, Tensor::zeros([ROWS, 1], (Kind::Int64, Device::Cpu))).expect("a row each");
    let groups = Positives::Labels.groups(&batch, "main", ROWS, Device::Cpu).expect("labels");
    for tile in [0, 3] {
        let (value, gradients) = outcome(&inputs(ROWS, 2.0, 0.0), Kind::Float, |leaves| {
            let softmax = Softmax { log_scale: &leaves[2], own: 0..ROWS, groups: &groups, decoupled: true, tile };
            softmax.sum_over_own(&leaves[0], &leaves[1], Weights { image: 0.5, text: 0.5 })
        });
        assert_eq!(value, 0.0);
        assert!(gradients.iter().all(|gradient| largest(gradient) == 0.0), "tile {tile}: {gradients:?}");
    }
}
