//! Gradient checkpointing against the plain step, the plan that chooses it, and the memory of a step against what was told of it.

use super::objectives::random;
use super::*;
use crate::engine::sharpness::GsamConfig;
use crate::engine::{recompute, terms};

const CLIP: &str = "[objective.clip]\n";

/// Towers of so many layers whose parameters depend on their place alone, with dropout or without.
fn deep(layers: usize, dropout: bool, objectives: &str, cache: GradCacheConfig) -> Engine {
    let mut document = TINY.replace("layers = 2", &format!("layers = {layers}"));
    if dropout {
        document =
            document.replace("mlp_ratio = 2.0\n[backbone.text]", "mlp_ratio = 2.0\ndropout = 0.2\npatch_dropout = 0.5\n[backbone.text]");
        document += "dropout = 0.2\n";
    }
    let parsed = Document::parse(&format!("{document}{objectives}"), "test", PathBuf::from(".")).expect("it is TOML");
    let config = RunConfig::of(&parsed, &Registry::linked().expect("no duplicates")).expect("it is right");
    let mut session = crate::session::build_trained(&config, Device::Cpu, None).expect("it builds");
    session.terms.extend(words(&session.towers));
    let optimizer = Optimizer::new(OptimizerConfig::default(), crate::session::parameters::trained(&session.towers, &[]));
    let engine = alone(session, optimizer, cache);
    let _no_grad = tch::no_grad_guard();
    for (place, (name, mut tensor)) in engine.towers.variables().into_iter().enumerate() {
        let base = if name.contains("ln_") && name.ends_with("weight") { 1.0 } else { 0.0 };
        tensor.copy_(&(random(&tensor.size(), place as i64) * 0.25 + base));
    }
    engine
}

fn rows(count: i64) -> Batch {
    batch(&(random(&[count, 3, 16, 16], -1) * 1.7), &((random(&[count, 8], -2) + 1.0) * 15.4).to_kind(Kind::Int64))
}

/// The loss of one batch, every gradient that there is, and the most memory that they took.
fn pass(engine: &mut Engine, count: i64) -> (f64, Tensors, i64) {
    let batch = rows(count);
    let (ran, usage) = vlhub_torch_ext::metered(|| engine.gradients(batch, 5)).expect("it runs");
    let loss = ran.expect("it runs").0.loss;
    let trained = engine.towers.trained().into_iter().filter(|(_, tensor)| tensor.grad().defined());
    (loss, trained.map(|(name, tensor)| (name, tensor.grad().copy())).collect(), usage.peak)
}

#[test]
fn blocks_that_are_computed_again_give_the_gradients_of_the_plain_step_with_dropout_on() {
    let kept = GradCacheConfig { keep: Keep::Chunks(1), ..chunks(3) };
    let auto = GradCacheConfig { keep: Keep::Word(Auto::Auto), budget: "1 GiB".into(), ..chunks(2) };
    for cache in [chunks(0), chunks(3), kept, auto] {
        let shown = format!("chunks of {}, {:?} kept", cache.rows, cache.keep);
        let [plain, again] = [false, true].map(|again| {
            let mut engine = deep(3, true, CLIP, cache.clone());
            engine.towers.recompute = again;
            pass(&mut engine, 7)
        });
        assert!((plain.0 - again.0).abs() <= 1e-6 * plain.0.abs(), "{shown}: {} and {}", plain.0, again.0);
        assert!(plain.1.keys().eq(again.1.keys()) && !plain.1.is_empty(), "{shown}");
        for (name, gradient) in &again.1 {
            let error = distance(gradient, &plain.1[name]);
            assert!(error < 1e-6, "{shown}: gradient of {name}: {error}");
        }
    }
}

#[test]
fn behind_frozen_layers_gradients_are_the_same_and_frozen_layers_get_none() {
    let [plain, again] = [false, true].map(|again| {
        let mut engine = deep(4, true, CLIP, chunks(0));
        engine.towers.recompute = again;
        for modality in [vlhub_core::Modality::Image, vlhub_core::Modality::Text] {
            // The last block, what is behind it, and the projection stay open.
            engine.towers.lock(modality, 2).expect("it locks");
        }
        pass(&mut engine, 7)
    });
    assert!(plain.1.keys().eq(again.1.keys()));
    assert!(plain.1.contains_key("visual.transformer.resblocks.3.attn.in_proj_weight"));
    assert!(!plain.1.contains_key("visual.transformer.resblocks.2.attn.in_proj_weight"));
    for (name, gradient) in &again.1 {
        let error = distance(gradient, &plain.1[name]);
        assert!(error < 1e-6, "gradient of {name}: {error}");
    }
}

#[test]
fn memory_is_a_fraction_and_is_told_before_the_step() {
    let cut = GradCacheConfig { keep: Keep::Chunks(2), ..chunks(8) };
    let [plain, again, chunked] = [(false, chunks(0)), (true, chunks(0)), (false, cut)].map(|(again, cache)| {
        let mut engine = deep(8, false, CLIP, cache);
        engine.towers.recompute = again;
        let told = engine.step_memory(rows(32), 5).expect("it is told");
        let peak = pass(&mut engine, 32).2;
        let ratio = told.peak as f64 / peak as f64;
        assert!((0.6..1.6).contains(&ratio), "computed again {again}: told {told:?}, took {peak}");
        let blocks = told.graphs.iter().filter(|(name, _)| name.contains("(8 blocks)")).count();
        assert_eq!(blocks, 2, "{told:?}");
        assert_eq!(told.passing.iter().any(|(name, _)| name.contains("computed again")), again, "{told:?}");
        assert!(told.standing.iter().any(|(name, _)| *name == "weights"), "{told:?}");
        peak
    });
    assert!(again * 2 < plain && chunked < plain, "{plain}, computed again {again}, in chunks {chunked}");
}

#[test]
fn what_a_sharpness_aware_step_keeps_is_told() {
    let told = |gsam: GsamConfig| {
        let mut engine = deep(2, false, CLIP, chunks(0));
        let trained = crate::session::parameters::trained(&engine.towers, &[]);
        let weights: usize = trained.iter().map(|param| param.tensor.numel() * 4).sum();
        engine.optimizer = Optimizer::new(OptimizerConfig { gsam, ..OptimizerConfig::default() }, trained);
        (engine.step_memory(rows(4), 5).expect("it is told").peak, weights as u64)
    };
    let (plain, weights) = told(GsamConfig::default());
    let (gsam, _) = told(GsamConfig { rho_max: 0.1, ..GsamConfig::default() });
    assert!(gsam.abs_diff(plain + 2 * weights) < weights / 8, "{gsam} and {plain}, with {weights} bytes of weights");
}

#[test]
fn a_budget_that_cuts_chunks_too_small_lets_blocks_be_computed_again() {
    let mut plain = deep(8, false, CLIP, chunks(0));
    let wanted = pass(&mut plain, 16);
    let batch = {
        let mut batch = rows(16);
        plain.add_inputs(&mut batch, 5).expect("it runs");
        batch
    };
    let (needs, seeds) = (terms::needs(&plain.terms, None), plain.seeds(&batch, 5));
    let row = plain.measured(&batch, 4, false, &needs, seeds).expect("it is measured").each();
    for (rows_that_fit, again) in [(4, true), (12, false), (100, false)] {
        let mut engine = deep(8, false, CLIP, chunks(0));
        engine.memory = Some(row * rows_that_fit + row / 2);
        let (loss, gradients, _) = pass(&mut engine, 16);
        assert_eq!(engine.towers.recompute, again, "{rows_that_fit} rows fit: {:?}", engine.cache);
        assert!(engine.cache.rows == 0 || engine.cache.rows >= 8, "{rows_that_fit} rows fit: {:?}", engine.cache);
        assert_eq!(engine.memory, None, "it is planned once");
        assert!((loss - wanted.0).abs() <= 1e-6 * wanted.0.abs());
        for (name, gradient) in &gradients {
            let error = distance(gradient, &wanted.1[name]);
            assert!(error < 5e-6, "{rows_that_fit} rows fit: gradient of {name}: {error}");
        }
    }
}

#[test]
fn towers_say_whether_they_take_part() {
    let mut engine = deep(1, false, CLIP, chunks(0));
    assert!(recompute::without_effect(&engine.towers).is_empty(), "nothing is asked");
    engine.towers.recompute = true;
    assert!(recompute::without_effect(&engine.towers).is_empty(), "both take part");
}
