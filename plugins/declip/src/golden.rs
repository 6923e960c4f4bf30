//! The objectives against DeCLIP's own code and x-clip's, by `tests/golden/declip.json`.

use std::collections::BTreeMap;

use vlhub_sdk::nn::Path;
use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch;
use vlhub_sdk::tch::nn::VarStore;
use vlhub_sdk::testkit::golden::losses::{encoded, read};
use vlhub_sdk::testkit::golden::{fill, numbers};
use vlhub_sdk::testkit::toy::{self, WIDTH};

use crate::{MlmConfig, NearestConfig, SimsiamConfig};

const ROWS: i64 = 5;
const QUEUE: i64 = 16;

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct File {
    origin: String,
    simsiam: SimsiamCase,
    mlm: Vec<MlmCase>,
    nearest: NearestCase,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct SimsiamCase {
    options: SimsiamConfig,
    loss: f64,
    gradients: BTreeMap<String, Vec<f32>>,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct MlmCase {
    name: String,
    labels: Vec<Vec<i64>>,
    loss: f64,
    gradients: BTreeMap<String, Vec<f32>>,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct NearestCase {
    declip: Vec<Step>,
    keeps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Step {
    texts: Vec<Vec<f32>>,
    loss: f64,
    gradients: BTreeMap<String, Vec<f32>>,
    queue: Vec<f32>,
    position: i64,
}

fn file() -> File {
    read(env!("CARGO_MANIFEST_DIR"), "declip")
}

fn cx(store: &VarStore) -> ObjectiveCx<'_> {
    let root: Path<'_> = store.root();
    toy::objective_cx(root)
}

fn table(name: &str, shape: &[i64]) -> Tensor {
    Tensor::from_slice(&numbers(name, shape.iter().product::<i64>() as usize)).view(shape).set_requires_grad(true)
}

#[track_caller]
fn same_number(ours: f64, theirs: f64, what: &str) {
    let off = (ours - theirs).abs() / theirs.abs();
    assert!(off <= 1e-5, "{what}: {ours} for {theirs}");
}

/// Within 1e-4 of the largest of a gradient's own entries. A bias before batch norm changes nothing: its gradient is zero but for rounding,
/// in the reference's double precision and in ours, and is only compared with the largest of all.
#[track_caller]
fn same_gradients(ours: &[(String, Tensor)], theirs: &BTreeMap<String, Vec<f32>>, origin: &str) {
    assert_eq!(ours.len(), theirs.len(), "as many gradients");
    let largest = |values: &Tensor| values.abs().max().double_value(&[]);
    let all = theirs.values().map(|values| largest(&Tensor::from_slice(values))).fold(0.0, f64::max);
    for (name, leaf) in ours {
        let wanted = Tensor::from_slice(&theirs[name]);
        let (apart, own) = (largest(&(leaf.grad().flatten(0, -1) - &wanted)), largest(&wanted));
        if own < 1e-12 * all {
            assert!(
                name.ends_with("bias") && apart <= 1e-6 * all,
                "{origin}: {name} gets a gradient of {apart:e} where the reference has none"
            );
            continue;
        }
        assert!(apart <= 1e-4 * own, "{origin}: the gradient of {name} is off by {:e} of its largest entry", apart / own);
    }
}

fn trained(store: &VarStore) -> Vec<(String, Tensor)> {
    store.variables().into_iter().filter(|(_, value)| value.requires_grad()).collect()
}

#[test]
fn simsiam_equals_declip() {
    let (case, origin) = (file().simsiam, file().origin);
    let store = VarStore::new(Device::Cpu);
    let objective = case.options.build(&cx(&store)).expect("builds");
    fill(&store);
    let mut features = Features::new(0..ROWS, ROWS);
    let mut leaves = trained(&store);
    for view in ["a", "b"] {
        let leaf = table(&format!("image {view} 0"), &[ROWS, WIDTH]);
        features.insert(Modality::Image, view, encoded(&leaf));
        leaves.push((view.into(), leaf));
    }
    let loss = objective.loss(&features, &Batch::new(ROWS)).expect("a loss");
    same_number(loss.value(), case.loss, &format!("simsiam, {origin}"));
    loss.total.backward();
    same_gradients(&leaves, &case.gradients, "simsiam");
}

#[test]
fn mlm_equals_declip_and_x_clip() {
    for case in file().mlm {
        let store = VarStore::new(Device::Cpu);
        let objective = MlmConfig::default().build(&cx(&store)).expect("builds");
        fill(&store);
        let labels = Tensor::stack(&case.labels.iter().map(|row| Tensor::from_slice(row)).collect::<Vec<_>>(), 0);
        let length = labels.size()[1];
        let tokens = table("tokens", &[ROWS, length, WIDTH]);
        let mask = Tensor::ones([ROWS, length], (Kind::Bool, Device::Cpu));
        let mut features = Features::new(0..ROWS, ROWS);
        let pooled = Tensor::zeros([ROWS, WIDTH], (Kind::Float, Device::Cpu));
        let tokens_too = Some(Tokens { values: tokens.shallow_clone(), mask });
        features.insert(Modality::Text, "mlm", Encoded { tokens: tokens_too, ..encoded(&pooled) });
        let mut batch = Batch::new(ROWS);
        batch.set_text("mlm", labels.zeros_like()).expect("it has the rows");
        batch.set_extra("mlm_labels", labels).expect("it has the rows");
        let loss = objective.loss(&features, &batch).expect("a loss");
        same_number(loss.value(), case.loss, &case.name);
        loss.total.backward();
        let mut leaves = trained(&store);
        leaves.push(("tokens".into(), tokens));
        same_gradients(&leaves, &case.gradients, &case.name);
    }
}

/// Each step of `wanted` against ours, which goes on with its own queue; the worst distance of the queues.
fn steps(wanted: &[Step], origin: &str) -> f64 {
    let store = VarStore::new(Device::Cpu);
    let views = |names: [&str; 2]| names.map(String::from).to_vec();
    let config = NearestConfig { images: views(["main", "alt"]), texts: views(["main", "eda"]), queue: QUEUE, ..Default::default() };
    let mut objective = config.build(&cx(&store)).expect("builds");
    tch::no_grad(|| store.variables()["objective.queue"].shallow_clone().copy_(&normalize(&table("queue", &[QUEUE, WIDTH]))));
    let mut apart = 0.0;
    for (number, step) in wanted.iter().enumerate() {
        let mut features = Features::new(0..ROWS, ROWS);
        let mut leaves = trained(&store);
        for (view, name) in [("main", "a"), ("alt", "b")] {
            let leaf = table(&format!("image {name} {number}"), &[ROWS, WIDTH]);
            features.insert(Modality::Image, view, encoded(&leaf));
            leaves.push((view.into(), leaf));
        }
        for (view, values) in ["main", "eda"].into_iter().zip(&step.texts) {
            features.insert(Modality::Text, view, encoded(&Tensor::from_slice(values).view([ROWS, WIDTH])));
        }
        let what = format!("{origin}, step {number}");
        let loss = objective.loss(&features, &Batch::new(ROWS)).expect("a loss");
        same_number(loss.value(), step.loss, &what);
        loss.total.backward();
        same_gradients(&leaves, &step.gradients, &what);
        let _ = store.variables()["logit_scale"].grad().zero_();
        objective.after_step(&features.map(Tensor::detach), 0.5).expect("pushes");
        let queue = store.variables()["objective.queue"].flatten(0, -1);
        apart = (queue - Tensor::from_slice(&step.queue)).abs().max().double_value(&[]);
        if apart < 1e-5 {
            assert_eq!(store.variables()["objective.position"].int64_value(&[]), step.position, "{what}");
        }
    }
    apart
}

#[test]
fn nearest_equals_declip_with_a_queue_that_loses_nothing() {
    assert!(steps(&file().nearest.keeps, "nearest") < 1e-5, "the queues");
}

/// DeCLIP drops the texts of a batch that do not fit behind the queue's last place, and starts again at the first place with the next
/// batch. Ours go on at the first place. Until then both are equal.
#[test]
fn nearest_differs_from_declip_where_it_loses_texts() {
    let NearestCase { declip, keeps } = file().nearest;
    assert!(steps(&declip[..1], "nearest before the end of the queue") < 1e-5, "the queues are equal until one is full");
    assert!(steps(&declip[..2], "nearest at the end of the queue") > 0.1, "ours holds four texts that DeCLIP's lost");
    assert_eq!((declip[1].position, keeps[1].position), (0, 4));
    let (theirs, ours) = (declip[2].loss, keeps[2].loss);
    assert!((theirs - ours).abs() > 0.01, "other neighbours in the step after: {theirs} and {ours}");
}
