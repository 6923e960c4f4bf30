//! Every objective, alone and in every recipe, under gradient caching; and what else changes a step.

use super::*;
use crate::engine::ema::{Ema, EmaConfig};
use crate::engine::lora::{Adapter, LoraConfig};
use crate::engine::lsuv;
use crate::engine::readonly::ReadOnly;
use crate::engine::sharpness::GsamConfig;
use vlhub_core::Modality;

const ROWS: i64 = 7;

/// Objectives as a run file has them, each with the options that change its shape.
const OBJECTIVES: [(&str, &str); 18] = [
    ("clip", "[objective.clip]"),
    ("clip, all options", "[objective.clip]\ndcl = true\nextra_projections = true\nsim_reg_weight = 0.1\ntile = 3\npositives = \"labels\""),
    ("siglip", "[objective.siglip]\ntile = 2\npositives = \"texts\""),
    ("filip", "[objective.filip]\ndim = 8\ntile = 2"),
    ("filip, decoupled", "[objective.filip]\ndim = 8\ndcl = true"),
    ("mlm", "[objective.mlm]\nmask = 0.5"),
    ("simsiam", "[objective.simsiam]\nhidden = 16\nout = 12\nbottleneck = 8"),
    ("nearest", "[objective.nearest]\nqueue = 20"),
    ("simclr", "[objective.simclr]\nhidden = [16, 16]\nout = 8"),
    ("byol", "[objective.byol]\nhidden = 16\nout = 8"),
    ("caption", "[objective.caption]\nwidth = 16\nlayers = 1\nheads = 2\nvocab = 32\ncontext = 8"),
    ("iqe", "[objective.iqe]"),
    ("align_uniform", "[objective.align_uniform]"),
    ("classify", "[objective.classify]\nclasses = 3\nlabel_smoothing = 0.1"),
    ("classify, mixed", "[objective.classify]\nclasses = 3\nloss = \"bce\"\nmixup = 0.8\ncutmix = 1.0"),
    ("distill", "[objective.distill]"),
    ("SLIP", "[objective.clip]\n[objective.simclr]\nhidden = [16, 16]\nout = 8"),
    (
        "DeCLIP and CoCa together",
        "[objective.clip]\nweight = 0.4\npairs = [[\"main\", \"main\"], [\"a\", \"main\"]]\n[objective.nearest]\nweight = 0.2\nqueue = 20\n[objective.simsiam]\nweight = 0.2\nhidden = 16\nout = 12\nbottleneck = 8\n[objective.mlm]\nweight = 0.2\nmask = 0.5\n[objective.caption]\nwidth = 16\nlayers = 1\nheads = 2\nvocab = 32\ncontext = 8",
    ),
];

/// Numbers that depend on the seed alone: libtorch's generator belongs to all tests at once.
pub(super) fn random(shape: &[i64], seed: i64) -> Tensor {
    vlhub_core::Noise::new(Tensor::from_slice(&[seed])).uniform(shape).squeeze_dim(0) * 2.0 - 1.0
}

fn config(objectives: &str) -> RunConfig {
    let towers = TINY.replace("embed = 8", "embed = 8\ncustom_text = true").replace("vocab = 32", "vocab = 32\nembed_cls = true");
    let towers = towers.replace("mlp_ratio = 2.0\n[backbone.text]", "mlp_ratio = 2.0\ndropout = 0.2\npatch_dropout = 0.5\n[backbone.text]");
    let document = Document::parse(&format!("{towers}{objectives}\n"), "test", PathBuf::from(".")).expect("it is TOML");
    RunConfig::of(&document, &Registry::linked().expect("no duplicates")).unwrap_or_else(|failure| panic!("{objectives}: {failure}"))
}

fn fill(towers: &Towers, first: i64) {
    let _no_grad = tch::no_grad_guard();
    for (place, (name, mut tensor)) in towers.variables().into_iter().enumerate() {
        if !tensor.is_floating_point() {
            continue;
        }
        let drawn = random(&tensor.size(), first + place as i64);
        if name.ends_with(".queue") {
            // Directions as the objective has them, but not those that it drew from libtorch's generator.
            tensor.copy_(&(&drawn / drawn.norm_scalaropt_dim(2.0, [1], true)));
            continue;
        }
        let gain = name.ends_with("weight") && (name.contains("ln_") || name.contains("norms."));
        let base = if gain { 1.0 } else { 0.0 };
        tensor.copy_(&(drawn * 0.25 + base));
    }
}

/// An engine whose average and teacher are other towers than the trained ones.
fn engine_of(objectives: &str, cache: GradCacheConfig, optimizer: OptimizerConfig) -> Engine {
    let config = config(objectives);
    let teacher = crate::session::on_shapes(&self::config("")).expect("it builds");
    let about = vlhub_core::Teacher {
        name: "teacher".into(),
        embed: 8,
        image: teacher.towers.about(Modality::Image),
        text: teacher.towers.about(Modality::Text),
        log_scale: Some(2.0),
    };
    let session = crate::session::with_teachers(&config, std::slice::from_ref(&about)).expect("it builds");
    let average = crate::session::on_shapes(&self::config("")).expect("it builds");
    for (towers, first) in [(&session.towers, 0), (&teacher.towers, 1000), (&average.towers, 2000)] {
        fill(towers, first);
    }
    let optimizer = Optimizer::new(optimizer, crate::session::parameters::trained(&session.towers, &[]));
    let readonly = ReadOnly { average: Some(average.towers), teachers: vec![(about, teacher.towers)] };
    Engine { readonly, ..alone(session, optimizer, cache) }
}

fn whole_batch() -> Batch {
    let ids = ((random(&[ROWS, 8], -2) + 1.0) * 14.4 + 3.0).to_kind(Kind::Int64);
    let mut batch = super::batch(&(random(&[ROWS, 3, 16, 16], -1) * 1.7), &ids);
    for (seed, view) in [(-3, "a"), (-4, "b")] {
        batch.set_image(view, random(&[ROWS, 3, 16, 16], seed) * 1.7).expect("rows agree");
    }
    let labels = Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2, 0]).view([ROWS, 1]);
    batch.set_extra(Batch::LABELS, labels).expect("rows agree");
    batch
}

/// Loss and gradients of one step's batch.
fn gradients(objectives: &str, cache: GradCacheConfig) -> (f64, Tensors) {
    let mut engine = engine_of(objectives, cache, OptimizerConfig::default());
    let (outcome, _) = engine.gradients(whole_batch(), 5).unwrap_or_else(|error| panic!("{objectives}: {error}"));
    let zero_or = |tensor: &Tensor| if tensor.grad().defined() { tensor.grad() } else { tensor.zeros_like() };
    (outcome.loss, engine.towers.trained().into_iter().map(|(name, tensor)| (name, zero_or(&tensor).detach())).collect())
}

#[test]
fn every_objective_and_recipe_has_the_gradients_of_the_plain_step_in_chunks_of_any_size() {
    let all = |grads: &Tensors| Tensor::cat(&grads.values().map(|grad| grad.reshape([-1]).to_kind(Kind::Double)).collect::<Vec<_>>(), 0);
    for (name, objectives) in OBJECTIVES {
        let (loss, expected) = gradients(objectives, chunks(0));
        assert!(loss.is_finite() && all(&expected).norm().double_value(&[]) > 0.0, "{name}: {loss}");
        for cache in [chunks(1), chunks(3), chunks(7), GradCacheConfig { keep: Keep::Chunks(1), ..chunks(3) }] {
            let shown = format!("{name}, chunks of {}, {:?} kept", cache.rows, cache.keep);
            let (cached, grads) = gradients(objectives, cache);
            assert!((cached - loss).abs() <= 1e-5 * loss.abs().max(1.0), "{shown}: loss {cached} and {loss}");
            let error = distance(&all(&grads), &all(&expected));
            // Rounding in fp32, which batch norms over seven rows (SimCLR's head) enlarge: 1.9e-5 with libtorch's kernels for AVX-512.
            assert!(error < 5e-5, "{shown}: all gradients are off by {error}");
        }
    }
}

#[test]
fn vl_hubs_scaled_cache_replaces_a_gradient_by_a_value() {
    // With a loss scaler VL Hub passes on exp(log scale) itself as the scale's gradient: always positive, so the temperature only falls.
    let (_, grads) = gradients("[objective.clip]", chunks(2));
    let engine = engine_of("[objective.clip]", chunks(2), OptimizerConfig::default());
    let scale = engine.towers.vars.variables()["logit_scale"].exp().double_value(&[]);
    let ours = grads["logit_scale"].double_value(&[]);
    let (_, plain) = gradients("[objective.clip]", chunks(0));
    assert!((ours - plain["logit_scale"].double_value(&[])).abs() < 1e-5 * ours.abs(), "ours is the plain step's");
    assert!((scale - ours).abs() > 0.1 * scale, "VL Hub's would be {scale}, the gradient is {ours}");
}

#[test]
fn the_moving_average_follows_byols_momentum_and_nothing_flows_into_it() {
    let mut engine = engine_of(
        "[objective.byol]\nhidden = 16\nout = 8\nmomentum = 0.9\nmomentum_end = 0.9",
        chunks(3),
        OptimizerConfig { lr: 1e-2, ..OptimizerConfig::default() },
    );
    let value = |engine: &Engine| engine.readonly.average.as_ref().expect("it is there").vars.variables()["visual.proj"].copy();
    let before = value(&engine);
    engine.step(whole_batch(), 0, 1e-2, 0.5).expect("it runs");
    let now = engine.towers.vars.variables()["visual.proj"].detach();
    assert!(distance(&value(&engine), &(&before * 0.9 + &now * 0.1)) < 1e-6);
    assert!(engine.readonly.variables().iter().all(|(name, tensor)| name.starts_with("average.") && !tensor.grad().defined()));
}

#[test]
fn sharpness_aware_steps_are_the_same_in_chunks_and_lean_uphill() {
    let gsam = |rho| OptimizerConfig {
        gsam: GsamConfig { rho_max: rho, rho_min: rho, alpha: 0.2, adaptive: false },
        ..OptimizerConfig::default()
    };
    let after = |optimizer: OptimizerConfig, cache| {
        let mut engine = engine_of("[objective.clip]", cache, optimizer);
        let outcome = engine.step(whole_batch(), 0, 1e-3, 0.1).expect("it runs");
        (outcome, engine.towers.vars.variables()["visual.proj"].grad().copy())
    };
    let (plain, uphill) = after(gsam(0.5), chunks(0));
    let (_, chunked) = after(gsam(0.5), chunks(2));
    assert!(distance(&chunked, &uphill) < 1e-4, "{}", distance(&chunked, &uphill));
    let (none, flat) = after(OptimizerConfig::default(), chunks(0));
    assert_eq!(plain.loss, none.loss, "the loss that is told is that of the weights");
    assert!(distance(&uphill, &flat) > 1e-3);
}

#[test]
fn adapters_alone_are_trained_and_the_weight_is_their_sum() {
    let mut engine = engine_of("[objective.clip]", chunks(3), OptimizerConfig::default());
    let lora = LoraConfig { rank: 2, patterns: vec!["*mlp*weight".into()], train: vec!["proj".into()], ..LoraConfig::default() };
    engine.lora = Adapter::attach(&engine.towers, Modality::Image, &lora).expect("it fits");
    let params = crate::session::parameters::trained(&engine.towers, &engine.lora);
    let trained: Vec<String> = params.iter().map(|param| param.name.clone()).filter(|name| !name.starts_with("text.")).collect();
    assert!(trained.iter().all(|name| name.starts_with("lora.visual.") || name == "visual.proj" || name == "logit_scale"), "{trained:?}");
    engine.optimizer = Optimizer::new(OptimizerConfig::default(), params);
    let value = |engine: &Engine, name: &str| engine.towers.vars.variables()[name].detach().copy();
    let weight = "visual.transformer.resblocks.0.mlp.c_fc.weight";
    let (before, frozen) = (value(&engine, weight), value(&engine, "visual.conv1.weight"));
    for step in 0..3 {
        engine.step(whole_batch(), step, 1e-2, 0.1).expect("it runs");
    }
    let product = value(&engine, &format!("lora.{weight}.b")).matmul(&value(&engine, &format!("lora.{weight}.a"))) * 8.0;
    assert!(distance(&value(&engine, weight), &(&before + product)) < 1e-6);
    assert!(distance(&value(&engine, weight), &before) > 1e-4 && value(&engine, "visual.conv1.weight").equal(&frozen));
    let odd = LoraConfig { patterns: vec!["*nothing*".into()], rank: 2, ..LoraConfig::default() };
    assert!(Adapter::attach(&engine.towers, Modality::Image, &odd).expect_err("no weight").to_string().contains("lora.match"));
}

#[test]
fn lsuv_gives_every_layer_unit_variance() {
    let engine = engine_of("[objective.clip]", chunks(0), OptimizerConfig::default());
    let layers = lsuv::initialise(&engine.towers, Modality::Image, &whole_batch()).expect("it runs");
    assert_eq!(layers, 1 + 2 * 4 + 1, "the patches, four maps in each of two blocks, the projection");
    let (names, weights): (Vec<String>, Vec<Tensor>) =
        engine.towers.variables().into_iter().filter(|(name, tensor)| name.starts_with("visual.") && tensor.dim() >= 2).unzip();
    let need = Need::image("main");
    let (_, seen) = vlhub_torch_ext::watched(&weights, || engine.towers.encode_need(&need, &whole_batch(), None, 0)).expect("it runs");
    for (name, seen) in names.iter().zip(seen).filter_map(|(name, seen)| Some((name, seen?))) {
        assert!((seen.deviation - 1.0).abs() <= 0.11, "{name}: {seen:?}");
    }
}

#[test]
fn a_weight_average_is_kept_and_lent_to_measurements() {
    let mut engine = engine_of("[objective.clip]", chunks(0), OptimizerConfig::default());
    engine.ema = Ema::new(&EmaConfig { decay: 0.5, warmup: false, eval: true }, &engine.towers);
    let value = |engine: &Engine| engine.towers.vars.variables()["visual.proj"].detach().copy();
    let before = value(&engine);
    engine.step(whole_batch(), 0, 1e-2, 0.1).expect("it runs");
    let after = value(&engine);
    let lent = engine.ema.as_ref().expect("it is kept").instead(|| value(&engine)).expect("it is lent");
    assert!(distance(&lent, &((&before + &after) * 0.5)) < 1e-6);
    assert!(value(&engine).equal(&after), "to the bit");
}
