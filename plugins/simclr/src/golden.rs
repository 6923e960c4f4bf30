//! Against SLIP, lightly, x-clip and byol-pytorch, by `tests/golden/simclr.json`; and what tiles must not change.

use std::collections::BTreeMap;

use vlhub_sdk::Tower;
use vlhub_sdk::nn::Projector;
use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::nn::VarStore;
use vlhub_sdk::testkit::golden::losses::{self, near};
use vlhub_sdk::testkit::golden::{fill, numbers};

use crate::nt_xent::NtXent;
use crate::{ByolConfig, SimclrConfig};

const ROWS: i64 = 6;
const WIDTH: i64 = 12;

type Gradients = BTreeMap<String, Vec<f32>>;

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct File {
    nt_xent: Vec<Vectors>,
    simclr: Vec<Case<SimclrConfig>>,
    byol: Vec<Case<ByolConfig>>,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Vectors {
    name: String,
    rows: i64,
    width: i64,
    temperature: f64,
    alike: f64,
    slip_a: f64,
    slip_b: f64,
    slip: f64,
    lightly: f64,
    x_clip: f64,
    gradients: Gradients,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Case<T> {
    name: String,
    options: T,
    loss: f64,
    gradients: Gradients,
    joined: Option<Joined>,
    #[serde(default)]
    moved: Gradients,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Joined {
    loss: f64,
    gradients: Gradients,
}

fn file() -> File {
    losses::read(env!("CARGO_MANIFEST_DIR"), "simclr")
}

fn table(name: &str, shape: &[i64]) -> Tensor {
    Tensor::from_slice(&numbers(name, shape.iter().product::<i64>() as usize)).view(shape) * 2.0
}

/// Off by at most `tolerance` of the largest entry.
#[track_caller]
fn close(actual: &Tensor, expected: &[f32], largest: f64, tolerance: f64, what: &str) {
    let off = (actual.detach().flatten(0, -1) - Tensor::from_slice(expected)).abs().max().double_value(&[]) / largest;
    assert!(off <= tolerance, "{what} is off by {off:e} of the largest entry");
}

fn largest(of: &[f32]) -> f64 {
    of.iter().fold(0.0, |largest, value| f64::from(value.abs()).max(largest))
}

/// An image tower of known width, and no other.
fn tower(store: &VarStore) -> ObjectiveCx<'_> {
    let input = InputSpec::Image { size: (2, 2), mean: [0.0; 3], std: [1.0; 3] };
    ObjectiveCx {
        path: store.root() / "objective",
        shared: store.root(),
        embed: 8,
        image: Some(Tower { input, width: WIDTH }),
        text: None,
        teachers: Vec::new(),
    }
}

/// Known features for every need, of which those of trained towers collect gradients.
fn features(needs: &[Need]) -> Features {
    let mut features = Features::new(0..ROWS, ROWS);
    for Need { forward, .. } in needs {
        let name = if forward.is_trained() { "features" } else { "average" };
        let pooled = table(&format!("{name}.{}", forward.view), &[ROWS, WIDTH]).set_requires_grad(forward.is_trained());
        features.insert_for(forward.clone(), Encoded { embed: Tensor::zeros([ROWS, 8], (Kind::Float, Device::Cpu)), pooled, tokens: None });
    }
    features
}

fn leaves(store: &VarStore, features: &Features) -> BTreeMap<String, Tensor> {
    let views = ["a", "b"].map(|view| (format!("features.{view}"), features.image(view).expect("it is declared").pooled.shallow_clone()));
    store.variables().into_iter().filter(|(_, value)| value.requires_grad()).chain(views).collect()
}

/// Loss to 1e-5, gradients of features and parameters to 1e-4 of the largest entry. A gradient that is zero (of a bias in front of a batch
/// norm) is held against the largest of all.
fn check<T: Config<dyn Objective>>(case: &Case<T>) {
    let store = VarStore::new(Device::Cpu);
    let objective = case.options.build(&tower(&store)).expect("builds");
    fill(&store);
    let features = features(&objective.needs());
    let loss = objective.loss(&features, &Batch::new(ROWS)).expect("a loss");
    near(loss.value(), case.loss, 1e-5, &case.name);
    loss.total.backward();
    let leaves = leaves(&store, &features);
    assert!(leaves.keys().eq(case.gradients.keys()), "{}: {:?} and {:?}", case.name, leaves.keys(), case.gradients.keys());
    let of_all = case.gradients.values().map(|values| largest(values)).fold(0.0, f64::max);
    for (name, leaf) in leaves {
        let expected = &case.gradients[&name];
        let scale = if largest(expected) < 1e-12 { of_all } else { largest(expected) };
        close(&leaf.grad(), expected, scale, 1e-4, &format!("{}: the gradient of {name}", case.name));
    }
}

#[test]
fn simclr_and_its_head_equal_slip() {
    file().simclr.iter().for_each(check);
}

#[test]
fn byol_and_its_heads_equal_byol_pytorch() {
    file().byol.iter().for_each(check);
}

#[test]
fn nt_xent_equals_slip_lightly_and_x_clip() {
    for case in file().nt_xent {
        let a = table(&format!("{}.a", case.name), &[case.rows, case.width]);
        let b = table(&format!("{}.b", case.name), &[case.rows, case.width]) + &a * case.alike;
        let (a, b) = (a.set_requires_grad(true), b.set_requires_grad(true));
        let units = normalize(&Tensor::cat(&[&a, &b], 0));
        let nt_xent = NtXent { temperature: case.temperature, tile: 0 };
        let rows = case.rows as f64;
        let half = |anchors| nt_xent.over(&units, &[anchors]).loss / rows;
        let (of_a, of_b) = (half(0..case.rows), half(case.rows..2 * case.rows));
        near(of_a.double_value(&[]), case.slip_a, 1e-5, &format!("{}: anchors of a", case.name));
        near(of_b.double_value(&[]), case.slip_b, 1e-5, &format!("{}: anchors of b", case.name));
        let loss = (of_a + of_b) / 2.0;
        for expected in [case.slip, case.lightly, case.x_clip] {
            near(loss.double_value(&[]), expected, 1e-5, &case.name);
            // A loss of 5e-8 too is known to some digits.
            assert!((loss.double_value(&[]) / expected - 1.0).abs() < 1e-4, "{}: {} for {expected}", case.name, loss.double_value(&[]));
        }
        loss.backward();
        for (leaf, name) in [(&a, "a"), (&b, "b")] {
            let expected = &case.gradients[name];
            close(&leaf.grad(), expected, largest(expected), 1e-4, &format!("{}: the gradient of {name}", case.name));
        }
    }
}

#[test]
fn nt_xent_equals_the_worked_example() {
    let (a, b) = losses::float_waves();
    let units = normalize(&Tensor::cat(&[a, b], 0));
    let nt_xent = NtXent { temperature: 0.1, tile: 0 };
    let sum = |anchors: std::ops::Range<i64>| nt_xent.over(&units, &[anchors]).loss.double_value(&[]);
    near(sum(0..4) / 4.0, 7.492294378145289, 1e-5, "anchors of a");
    near(sum(4..8) / 4.0, 9.357917567157166, 1e-5, "anchors of b");
    near(nt_xent.over(&units, &[0..4, 4..8]).loss.double_value(&[]) / 8.0, 8.425105972651227, 1e-5, "the mean of both");
}

/// The same by libtorch's own gradients, with the whole matrix.
fn plain(units: &Tensor, anchors: &[i64], temperature: f64) -> (Tensor, i64) {
    let count = units.size()[0];
    let logits = units.matmul(&units.tr()) / temperature;
    let logits = logits.masked_fill(&Tensor::eye(count, (Kind::Bool, Device::Cpu)), f64::NEG_INFINITY);
    let right = (Tensor::arange(count, (Kind::Int64, Device::Cpu)) + count / 2).remainder(count);
    let anchors = Tensor::from_slice(anchors);
    let losses = logits.cross_entropy_loss(&right, None::<&Tensor>, vlhub_sdk::tch::Reduction::None, -100, 0.0);
    let found = logits.argmax(1, false).eq_tensor(&right).index_select(0, &anchors).sum(Kind::Int64).int64_value(&[]);
    (losses.index_select(0, &anchors).sum(losses.kind()), found)
}

#[test]
fn neither_tiles_nor_the_written_gradient_change_anything() {
    for (own, why) in [(0..7, "all rows"), (0..3, "the first"), (2..5, "some"), (6..7, "one"), (3..3, "none")] {
        let anchors = [own.clone(), own.start + 7..own.end + 7];
        let listed: Vec<i64> = anchors.iter().cloned().flatten().collect();
        let draw = || {
            let a = table("tiles.a", &[7, 5]);
            normalize(&Tensor::cat(&[&a, &(table("tiles.b", &[7, 5]) + &a)], 0)).to_kind(Kind::Double).set_requires_grad(true)
        };
        let expected = draw();
        let (loss, right) = plain(&expected, &listed, 0.2);
        loss.backward();
        for tile in [0, 1, 2, 3, 7, 1000, i64::MAX] {
            let units = draw();
            let found = NtXent { temperature: 0.2, tile }.over(&units, &anchors);
            // A factor, so that a gradient that ignores what comes in is found.
            (&found.loss * 3.0).backward();
            let what = format!("{why}, tile {tile}");
            near(found.loss.double_value(&[]), loss.double_value(&[]), 1e-12, &what);
            assert!((units.grad() / 3.0 - expected.grad()).abs().max().double_value(&[]) < 1e-12, "{what}");
            assert_eq!(found.right, right, "{what}");
        }
    }
}

#[test]
fn accuracy_is_of_the_own_rows_of_both_views() {
    // The rows 0 to 2 find each other; of row 3, view b is row 4's, and row 4's is its own.
    let (a, b) = (vec![0i64, 1, 2, 3, 4], vec![0i64, 1, 2, 4, 4]);
    let eye = Tensor::eye(5, (Kind::Float, Device::Cpu));
    let units = Tensor::cat(&[eye.index_select(0, &Tensor::from_slice(&a)), eye.index_select(0, &Tensor::from_slice(&b))], 0);
    let right =
        |own: std::ops::Range<i64>| NtXent { temperature: 0.1, tile: 0 }.over(&units, &[own.clone(), own.start + 5..own.end + 5]).right;
    assert_eq!([right(0..3), right(3..4), right(4..5), right(2..2)], [6, 0, 0, 0], "an answer that is as near is not the nearest");
}

#[test]
fn numbers_at_the_ends_of_the_range_stay_finite() {
    for temperature in [1e-4, 1e4] {
        for sign in [1.0, -1.0] {
            let a = normalize(&table("ends", &[4, 6]));
            let units = Tensor::cat(&[&a, &(&a * sign)], 0).set_requires_grad(true);
            let loss = NtXent { temperature, tile: 0 }.over(&units, &[0..4, 4..8]).loss;
            loss.backward();
            assert!(loss.double_value(&[]).is_finite() && units.grad().isfinite().all().int64_value(&[]) == 1, "{temperature} {sign}");
        }
    }
}

/// byol-pytorch puts both views through the heads at once, so its batch norms see 2N rows; the paper's own code and ours see N twice.
#[test]
fn byol_differs_from_the_class_of_byol_pytorch_by_the_rows_of_batch_norm_alone() {
    for case in file().byol {
        let joined = case.joined.as_ref().expect("byol has it");
        assert!((joined.loss - case.loss).abs() > 0.1, "{}: the difference is seen", case.name);
        let store = VarStore::new(Device::Cpu);
        let ByolConfig { hidden, out, .. } = case.options;
        let head = |name: &str, input| Projector::new(&(store.root() / "objective" / name), &[input, hidden, out], false).expect("builds");
        let (projector, predictor, target) = (head("projector", WIDTH), head("predictor", out), head("target", WIDTH));
        fill(&store);
        let views = ["a", "b"].map(|view| table(&format!("features.{view}"), &[ROWS, WIDTH]).set_requires_grad(true));
        let both = Tensor::cat(&views, 0);
        let targets = normalize(&target.forward(&both).expect("rows").detach());
        let predictions = normalize(&predictor.forward(&projector.forward(&both).expect("rows")).expect("rows"));
        let loss = (predictions - targets.roll([ROWS], [0])).square().sum(Kind::Float) / ROWS as f64;
        near(loss.double_value(&[]), joined.loss, 1e-5, &case.name);
        loss.backward();
        for (view, leaf) in ["features.a", "features.b"].iter().zip(&views) {
            let expected = &joined.gradients[*view];
            close(&leaf.grad(), expected, largest(expected), 1e-4, &format!("{}: joined, the gradient of {view}", case.name));
        }
    }
}

#[test]
fn the_target_moves_as_that_of_byol_pytorch() {
    for case in file().byol {
        let store = VarStore::new(Device::Cpu);
        let mut objective = case.options.build(&tower(&store)).expect("builds");
        fill(&store);
        objective.after_step(&Features::new(0..0, 0), 0.3).expect("it follows");
        let variables = store.variables();
        assert_eq!(case.moved.len(), 6, "two maps and a norm");
        for (name, expected) in &case.moved {
            close(&variables[name], expected, largest(expected), 1e-6, &format!("{}: {name}", case.name));
        }
    }
}
