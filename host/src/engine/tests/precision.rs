//! A scaled loss, and rounded weights. Nothing here multiplies in bfloat16 or float16, which a machine may advertise and not allow.

use super::*;
use crate::engine::rounded::RoundedWeights;
use crate::engine::scaler::LossScaler;
use crate::engine::sharpness::GsamConfig;

/// A scaler as a checkpoint may have it.
fn scaler(scale: f64) -> LossScaler {
    let mut scaler = LossScaler::default();
    let state = [("optimizer.loss_scale", Tensor::from_slice(&[scale])), ("optimizer.loss_scale_good_steps", Tensor::from_slice(&[0i64]))];
    scaler.load(|name| state.iter().find(|(known, _)| *known == name).map(|(_, tensor)| tensor.shallow_clone())).expect("it loads");
    assert_eq!(scaler.scale(), scale);
    scaler
}

#[test]
fn a_scaled_loss_has_the_gradients_of_the_loss_itself() {
    let golden = golden();
    let run = |scale: Option<f64>, rows: i64| {
        let mut engine = engine("[objective.clip]\n", OptimizerConfig::default(), |towers| words(towers));
        load(&engine, &golden_and_words(&golden));
        engine.scaler = scale.map(scaler);
        engine.cache = chunks(rows);
        let (outcome, _) = engine.gradients(batch(&golden["images"], &golden["ids"]), 0).expect("it runs");
        let grads: Tensors = engine.towers.trained().into_iter().map(|(name, tensor)| (name, tensor.grad().copy())).collect();
        (outcome, grads)
    };
    for rows in [0, 2] {
        let (plain, expected) = run(None, rows);
        assert_eq!((plain.loss_scale, plain.overflowed()), (None, false));
        let (scaled, grads) = run(Some(65536.0), rows);
        assert_eq!((scaled.loss_scale, scaled.overflowed()), (Some(65536.0), false));
        assert!((scaled.loss - plain.loss).abs() <= 1e-6 * plain.loss, "{} and {}", scaled.loss, plain.loss);
        assert!((scaled.grad_norm - plain.grad_norm).abs() <= 1e-5 * plain.grad_norm, "{} and {}", scaled.grad_norm, plain.grad_norm);
        for (name, grad) in &grads {
            let error = distance(grad, &expected[name]);
            assert!(error < 1e-5, "{name} in chunks of {rows}: {error}");
        }
    }
}

#[test]
fn a_scaled_loss_has_the_sharpness_aware_gradients_of_the_loss_itself() {
    let golden = golden();
    let gsam = GsamConfig { rho_max: 0.05, rho_min: 0.05, alpha: 0.3, adaptive: false };
    let [(norm, expected), (scaled_norm, scaled)] = [None, Some(1024.0)].map(|scale: Option<f64>| {
        let optimizer = OptimizerConfig { gsam: gsam.clone(), ..OptimizerConfig::default() };
        let mut engine = engine("[objective.clip]\n", optimizer, |towers| words(towers));
        load(&engine, &golden_and_words(&golden));
        engine.scaler = scale.map(scaler);
        let outcome = engine.step(batch(&golden["images"], &golden["ids"]), 0, 1e-3, 1.0).expect("it runs");
        let grads: Tensors = engine.towers.trained().into_iter().map(|(name, tensor)| (name, tensor.grad().copy())).collect();
        (outcome.grad_norm, grads)
    });
    assert!((scaled_norm - norm).abs() <= 1e-4 * norm, "{scaled_norm} and {norm}");
    for (name, grad) in &scaled {
        let error = distance(grad, &expected[name]);
        assert!(error < 1e-4, "{name}: {error}");
    }
}

/// The golden weights, and the head that `words` adds.
fn golden_and_words(golden: &Tensors) -> Tensors {
    let mut all: Tensors = golden.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
    all.insert("objective.words.head".into(), Tensor::full([16, 1], 0.3, (Kind::Float, Device::Cpu)));
    all
}

#[test]
fn gradients_that_overflow_take_no_step_and_halve_the_scale() {
    let golden = golden();
    let mut engine = engine("[objective.clip]\n", OptimizerConfig::default(), |_| Vec::new());
    load(&engine, &golden);
    // Gradients a million times as large, scaled by the largest power of two of a float.
    engine.terms[0].weight = 1e6;
    engine.scaler = Some(scaler(2f64.powi(127)));
    let before = crate::session::parameters::hash(&engine.towers.variables());
    for halvings in 0..3 {
        let outcome = engine.step(batch(&golden["images"], &golden["ids"]), halvings, 1e-3, 1.0).expect("it runs");
        assert!(outcome.loss.is_finite() && !outcome.is_finite() && outcome.overflowed(), "{outcome:?}");
        assert_eq!(outcome.loss_scale, Some(2f64.powi(127 - halvings as i32)));
    }
    assert_eq!(engine.scaler, Some(scaler(2f64.powi(124))));
    assert_eq!(crate::session::parameters::hash(&engine.towers.variables()), before);
    // With a scale that fits, the same batch takes a step.
    engine.scaler = Some(scaler(1024.0));
    assert!(engine.step(batch(&golden["images"], &golden["ids"]), 3, 1e-3, 1.0).expect("it runs").is_finite());
    assert_ne!(crate::session::parameters::hash(&engine.towers.variables()), before);
    // A loss that is not finite is no work of the scale, and neither is what overflows at a scale of 1.
    let images = golden["images"].copy();
    let _ = images.get(0).fill_(f64::NAN);
    let outcome = engine.step(batch(&images, &golden["ids"]), 4, 1e-3, 1.0).expect("it runs");
    assert!(!outcome.is_finite() && !outcome.overflowed());
    assert_eq!(engine.scaler.as_ref().map(LossScaler::scale), Some(1024.0));
}

#[test]
fn rounded_weights_are_put_back_to_the_bit_with_float_gradients() {
    let engine = engine("[objective.clip]\n", OptimizerConfig::default(), |_| Vec::new());
    let variables = || engine.towers.variables();
    let (hash, places): (String, Vec<usize>) =
        (crate::session::parameters::hash(&variables()), variables().iter().map(|(_, tensor)| tensor.data_ptr() as usize).collect());
    // Something elementwise: backward passes of it need no product.
    let pass = || {
        for (_, tensor) in engine.towers.trained() {
            (tensor.to_kind(Kind::Float) * 1.5).sum(Kind::Float).backward();
        }
    };
    let mut rounded = RoundedWeights::round(&engine.towers).expect("they are rounded");
    let kinds: BTreeMap<String, Kind> = variables().into_iter().map(|(name, tensor)| (name, tensor.kind())).collect();
    for (name, kind) in [
        ("visual.conv1.weight", Kind::BFloat16),
        ("visual.class_embedding", Kind::BFloat16),
        ("visual.proj", Kind::BFloat16),
        ("visual.ln_pre.weight", Kind::Float),
        ("visual.transformer.resblocks.0.ln_1.bias", Kind::Float),
        ("visual.transformer.resblocks.0.attn.in_proj_bias", Kind::BFloat16),
        ("visual.transformer.resblocks.0.mlp.c_fc.weight", Kind::BFloat16),
        ("positional_embedding", Kind::BFloat16),
        ("token_embedding.weight", Kind::Float),
        ("ln_final.weight", Kind::Float),
        ("text_projection", Kind::BFloat16),
        ("logit_scale", Kind::Float),
    ] {
        assert_eq!(kinds[name], kind, "{name}");
    }
    for _ in 0..2 {
        pass();
        rounded.collect().expect("they are collected");
    }
    rounded.restore().expect("they are put back");
    assert_eq!(crate::session::parameters::hash(&variables()), hash);
    assert_eq!(variables().iter().map(|(_, tensor)| tensor.data_ptr() as usize).collect::<Vec<_>>(), places);
    for (name, tensor) in engine.towers.trained() {
        let gradient = tensor.grad();
        assert_eq!(gradient.kind(), Kind::Float, "{name}");
        assert!(gradient.eq(3.0).all().int64_value(&[]) == 1, "{name}: two passes of 1.5 each");
    }
    // What is dropped on the way, as by an error, leaves no bfloat16 behind.
    drop(RoundedWeights::round(&engine.towers).expect("they are rounded"));
    assert!(variables().iter().all(|(_, tensor)| tensor.kind() == Kind::Float));
    assert_eq!(crate::session::parameters::hash(&variables()), hash);
}

#[test]
fn a_step_that_fails_leaves_float_weights() {
    let mut engine = engine("[objective.clip]\n", OptimizerConfig::default(), |_| Vec::new());
    let before = crate::session::parameters::hash(&engine.towers.variables());
    engine.precision = Precision::PureBf16;
    engine.gradients(Batch::new(2), 0).expect_err("a batch without views");
    assert!(engine.towers.variables().iter().all(|(_, tensor)| tensor.kind() == Kind::Float));
    assert_eq!(crate::session::parameters::hash(&engine.towers.variables()), before);
}
