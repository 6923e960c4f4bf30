//! The engine against open_clip, and against itself under gradient caching.

mod batch_norm;
mod lengths;
mod objectives;
mod optim_state;
mod precision;
mod recompute;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand_core::RngCore;
use tch::{Device, Kind, Tensor, nn};
use vlhub_core::{Batch, Features, Loss, Need, Objective, Registry, Result, Scope};

use crate::config::RunConfig;
use crate::config::document::Document;
use crate::engine::cache::{Auto, GradCacheConfig, Keep};
use crate::engine::comm::Alone;
use crate::engine::optim::{Optimizer, OptimizerConfig};
use crate::engine::precision::Precision;
use crate::engine::readonly::ReadOnly;
use crate::engine::step::Engine;
use crate::engine::terms::Term;
use crate::engine::towers::Towers;
use crate::session::Session;

const TINY: &str = r#"
embed = 8
[backbone.image]
use = "vit"
image_size = 16
patch_size = 8
width = 16
layers = 2
heads = 2
mlp_ratio = 2.0
[backbone.text]
use = "text_transformer"
context = 8
vocab = 32
width = 16
layers = 2
heads = 2
mlp_ratio = 2.0
"#;

type Tensors = BTreeMap<String, Tensor>;

fn golden() -> Tensors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/open_clip_tiny.safetensors");
    Tensor::read_safetensors(path).expect("the golden file is there").into_iter().collect()
}

fn engine(extra: &str, optimizer: OptimizerConfig, add: impl FnOnce(&mut Towers) -> Vec<Term>) -> Engine {
    let document = Document::parse(&format!("{TINY}{extra}"), "test", PathBuf::from(".")).expect("it is TOML");
    let config = RunConfig::of(&document, &Registry::linked().expect("no duplicates")).expect("it is right");
    let mut session = crate::session::build_trained(&config, Device::Cpu, None).expect("it builds");
    session.terms.extend(add(&mut session.towers));
    let optimizer = Optimizer::new(optimizer, crate::session::parameters::trained(&session.towers, &[]));
    alone(session, optimizer, GradCacheConfig::default())
}

/// An engine in one process, with nothing besides.
fn alone(session: Session, optimizer: Optimizer, cache: GradCacheConfig) -> Engine {
    Engine {
        towers: session.towers,
        readonly: ReadOnly::default(),
        terms: session.terms,
        optimizer,
        comm: Box::new(Alone),
        ema: None,
        lora: Vec::new(),
        cache,
        memory: None,
        precision: Precision::Fp32,
        scaler: None,
        graphs_that_fit: None,
        seed: 7,
    }
}

fn chunks(rows: i64) -> GradCacheConfig {
    GradCacheConfig { rows, ..GradCacheConfig::default() }
}

fn load(engine: &Engine, golden: &Tensors) {
    let _no_grad = tch::no_grad_guard();
    for (name, mut tensor) in engine.towers.variables() {
        tensor.copy_(golden.get(&name).unwrap_or_else(|| panic!("the golden file has no {name}")));
    }
}

fn batch(images: &Tensor, ids: &Tensor) -> Batch {
    let mut batch = Batch::new(images.size()[0]);
    batch.set_image("main", images.shallow_clone()).expect("rows agree");
    batch.set_text("main", ids.shallow_clone()).expect("rows agree");
    batch
}

/// |a - b| / |b|, over all elements.
fn distance(a: &Tensor, b: &Tensor) -> f64 {
    let norm = b.norm().double_value(&[]).max(1e-12);
    (a - b).norm().double_value(&[]) / norm
}

#[test]
fn loss_gradients_and_three_steps_are_those_of_open_clip() {
    let golden = golden();
    let optimizer = OptimizerConfig { lr: 1e-3, ..OptimizerConfig::default() };
    let mut engine = engine("[objective.clip]\n", optimizer, |_| Vec::new());
    load(&engine, &golden);
    let batch = || batch(&golden["images"], &golden["ids"]);
    let (outcome, _) = engine.gradients(batch(), 0).expect("it runs");
    assert!((outcome.loss - golden["loss"].double_value(&[])).abs() < 1e-5, "loss {}", outcome.loss);
    for (name, tensor) in engine.towers.trained() {
        let error = distance(&tensor.grad(), &golden[&format!("grad.{name}")]);
        assert!(error < 1e-4, "gradient of {name}: {error}");
    }
    for step in 0..3 {
        let outcome = engine.step(batch(), step, 1e-3, 1.0).expect("it runs");
        let expected = golden["losses"].double_value(&[step as i64]);
        assert!((outcome.loss - expected).abs() < 1e-4, "loss before step {step}: {} and {expected}", outcome.loss);
    }
    for (name, tensor) in engine.towers.trained() {
        let (ours, theirs) = (tensor.detach(), golden[&format!("step3.{name}")].shallow_clone());
        // A bias of the keys moves all scores of a query alike, so its gradient is rounding noise, which Adam scales up to whole steps.
        let parts = if name.ends_with("in_proj_bias") { vec![0, 2] } else { vec![] };
        let part = |tensor: &Tensor, index: i64| tensor.chunk(3, 0)[index as usize].shallow_clone();
        let pairs: Vec<_> = if parts.is_empty() {
            vec![(ours, theirs)]
        } else {
            parts.iter().map(|index| (part(&ours, *index), part(&theirs, *index))).collect()
        };
        for (ours, theirs) in pairs {
            let error = distance(&ours, &theirs);
            assert!(error < 1e-4, "{name} after three steps: {error}");
        }
    }
}

/// A per-sample objective with parameters of its own that reads tokens: what a caption loss looks like to the engine.
#[derive(Debug)]
struct Words {
    head: Tensor,
}

impl Objective for Words {
    fn scope(&self) -> Scope {
        Scope::Sample
    }
    fn needs(&self) -> Vec<Need> {
        vec![Need::text("noisy").tokens()]
    }
    fn prepare(&self, batch: &mut Batch, rng: &mut dyn RngCore) -> Result<()> {
        let shift = (rng.next_u32() % 5) as i64;
        let ids = (batch.text("main")? + shift).remainder(31);
        batch.set_text("noisy", ids)
    }
    fn weight(&self, batch: &Batch) -> f64 {
        batch.text("noisy").map_or(0.0, |ids| ids.ge(3).sum(Kind::Float).double_value(&[]))
    }
    fn loss(&self, features: &Features, batch: &Batch) -> Result<Loss> {
        let counted = batch.text("noisy")?.ge(3).to_kind(Kind::Float);
        let scores = features.text_tokens("noisy")?.values.matmul(&self.head).squeeze_dim(-1).tanh();
        Ok(Loss::from((scores * &counted).sum(Kind::Float) / counted.sum(Kind::Float)))
    }
}

fn words(towers: &Towers) -> Vec<Term> {
    let head = (towers.vars.root() / "objective" / "words").var("head", &[16, 1], nn::Init::Const(0.3));
    vec![Term::new("words", 0.7, Box::new(Words { head }))]
}

/// Dropout and patch dropout on, two views, two objectives that couple samples and share the scale, one that does not.
const EVERYTHING: &str = "dropout = 0.2\n[objective.clip]\nweight = 0.6\n[objective.siglip]\nweight = 0.4\n";

#[test]
fn chunks_of_any_size_give_the_gradients_of_the_plain_step_with_dropout_on() {
    // libtorch's generator is one for all threads, and other tests draw from it: so nothing here comes from it.
    let random = |shape: &[i64], seed: i64| vlhub_core::Noise::new(Tensor::from_slice(&[seed])).uniform(shape).squeeze_dim(0) * 2.0 - 1.0;
    let images = random(&[7, 3, 16, 16], -1) * 1.7;
    let ids = ((random(&[7, 8], -2) + 1.0) * 15.4).to_kind(Kind::Int64);
    let document = TINY.replace("mlp_ratio = 2.0\n[backbone.text]", "mlp_ratio = 2.0\ndropout = 0.2\npatch_dropout = 0.5\n[backbone.text]");
    assert_ne!(document, TINY);
    let run = |cache: GradCacheConfig| {
        let parsed = Document::parse(&format!("{document}{EVERYTHING}"), "test", PathBuf::from(".")).expect("it is TOML");
        let config = RunConfig::of(&parsed, &Registry::linked().expect("no duplicates")).expect("it is right");
        let mut session = crate::session::build_trained(&config, Device::Cpu, None).expect("it builds");
        session.terms.extend(words(&session.towers));
        let optimizer = Optimizer::new(OptimizerConfig::default(), crate::session::parameters::trained(&session.towers, &[]));
        let mut engine = alone(session, optimizer, cache);
        let no_grad = tch::no_grad_guard();
        for (place, (name, mut tensor)) in engine.towers.variables().into_iter().enumerate() {
            let base = if name.contains("ln_") && name.ends_with("weight") { 1.0 } else { 0.0 };
            tensor.copy_(&(random(&tensor.size(), place as i64) * 0.25 + base));
        }
        drop(no_grad);
        let (outcome, _) = engine.gradients(batch(&images, &ids), 5).expect("it runs");
        let grads: Tensors = engine.towers.trained().into_iter().map(|(name, tensor)| (name, tensor.grad())).collect();
        (outcome, grads)
    };
    let (plain, expected) = run(chunks(0));
    assert!(expected.values().all(Tensor::defined), "every parameter gets a gradient");
    let auto = GradCacheConfig { keep: Keep::Word(Auto::Auto), budget: "1 GiB".into(), ..chunks(2) };
    let none = GradCacheConfig { budget: "0".into(), ..auto.clone() };
    let kept = [1, 2, 4, 9].map(|count| GradCacheConfig { keep: Keep::Chunks(count), ..chunks(2) });
    for cache in [1, 2, 3, 6, 7, 100].map(chunks).into_iter().chain(kept).chain([auto, none]) {
        let chunk_rows = format!("{} rows, {:?} kept", cache.rows, cache.keep);
        let (outcome, grads) = run(cache);
        assert!(
            (outcome.loss - plain.loss).abs() < 1e-6 * plain.loss.abs(),
            "loss {} and {} with chunks of {chunk_rows}",
            outcome.loss,
            plain.loss
        );
        for (name, grad) in &grads {
            let error = distance(grad, &expected[name]);
            // Every bit of randomness is the same; what is left is the order of sums.
            assert!(error < 2e-6, "gradient of {name} with chunks of {chunk_rows}: {error}");
        }
        let all = |grads: &Tensors| Tensor::cat(&grads.values().map(|grad| grad.reshape([-1])).collect::<Vec<_>>(), 0);
        let error = distance(&all(&grads), &all(&expected));
        assert!(error < 1e-6, "all gradients with chunks of {chunk_rows}: {error}");
    }
}

#[test]
fn the_scale_gets_its_gradient_once_and_not_once_a_chunk() {
    // VL Hub's gradient cache adds it once for every chunk: with two chunks, twice the gradient.
    let golden = golden();
    let mut engine = engine("[objective.clip]\n", OptimizerConfig::default(), |_| Vec::new());
    load(&engine, &golden);
    engine.cache = chunks(2);
    engine.gradients(batch(&golden["images"], &golden["ids"]), 0).expect("it runs");
    let scale = engine.towers.vars.variables()["logit_scale"].grad().double_value(&[]);
    let expected = golden["grad.logit_scale"].double_value(&[]);
    assert!((scale - expected).abs() < 1e-4 * expected.abs(), "{scale} and {expected}");
}

#[test]
fn a_step_that_is_not_finite_changes_nothing() {
    let golden = golden();
    let mut engine = engine("[objective.clip]\n", OptimizerConfig::default(), |_| Vec::new());
    load(&engine, &golden);
    let before = crate::session::parameters::hash(&engine.towers.variables());
    let images = golden["images"].copy();
    let _ = images.get(0).fill_(f64::NAN);
    let outcome = engine.step(batch(&images, &golden["ids"]), 0, 1e-3, 1.0).expect("it runs");
    assert!(!outcome.is_finite());
    assert_eq!(crate::session::parameters::hash(&engine.towers.variables()), before);
}

#[test]
fn frozen_stages_stay_as_they_are() {
    let golden = golden();
    let extra = "[objective.clip]\n";
    let mut engine = engine(extra, OptimizerConfig { lr: 0.1, ..OptimizerConfig::default() }, |towers| {
        towers.freeze(vlhub_core::Modality::Image, &["all".into()]).expect("it freezes");
        Vec::new()
    });
    load(&engine, &golden);
    engine.step(batch(&golden["images"], &golden["ids"]), 0, 0.1, 1.0).expect("it runs");
    for (name, tensor) in engine.towers.variables() {
        let same = tensor.detach().equal(&golden[&name]);
        assert_eq!(same, name.starts_with("visual."), "{name}");
    }
    let unknown =
        engine.towers.freeze(vlhub_core::Modality::Image, &["transformer.resblock.1".into()]).expect_err("there is no such stage");
    assert!(unknown.to_string().contains("did you mean `transformer.resblocks.1`"), "{unknown}");
}
