//! The towers against transformers as open_clip wraps it: `tests/golden/hf_text.py`.

use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::nn::VarStore;

use crate::bert::{BertConfig, Positions};
use crate::m2m100::M2m100Config;
use crate::options::Pooling;
use crate::t5::T5Config;

#[test]
fn outputs_and_gradients_equal_those_of_transformers() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/hf_text.json");
    if let Err(wrong) = vlhub_sdk::testkit::golden::check(file, 6) {
        panic!("{wrong}");
    }
}

type Options = Box<dyn Config<dyn Backbone>>;

/// A small tower of each family and pooling, with padding 1.
fn towers() -> Vec<(String, VarStore, Box<dyn Backbone>)> {
    let mut towers = Vec::new();
    for pooling in [Pooling::Mean, Pooling::Max, Pooling::Cls, Pooling::ClsLast] {
        let bert = BertConfig { pooling, context: 12, vocab: 40, pad: 1, width: 16, hidden: 32, ..BertConfig::default() };
        let roberta = BertConfig { positions: Positions::Roberta, ..bert.clone() };
        let t5 = T5Config { pooling, context: 12, vocab: 40, pad: 1, width: 16, head_width: 8, hidden: 32, ..T5Config::default() };
        let m2m = M2m100Config { pooling, context: 12, vocab: 40, width: 16, hidden: 32, ..M2m100Config::default() };
        for (name, config) in
            [("bert", Box::new(bert) as Options), ("roberta", Box::new(roberta)), ("t5", Box::new(t5)), ("m2m100", Box::new(m2m))]
        {
            let store = VarStore::new(Device::Cpu);
            let tower = config.build(&BackboneCx { path: store.root(), embed: 8 }).expect("it builds");
            towers.push((format!("{name} with {pooling:?}"), store, tower));
        }
    }
    towers
}

fn apart(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

#[test]
fn trailing_padding_changes_nothing_in_evaluation_and_in_training() -> Result<()> {
    let ids = Tensor::from_slice(&[5i64, 9, 7, 30, 2, 5, 8, 2, 1, 1]).view([2, 5]);
    let long = Tensor::cat(&[ids.shallow_clone(), Tensor::ones([2, 6], (Kind::Int64, Device::Cpu))], 1);
    for (name, _store, tower) in towers() {
        for training in [false, true] {
            let noise = || training.then(|| Noise::new(Tensor::from_slice(&[3i64, 4])));
            let short = tower.encode(&ids, true, noise().as_ref())?;
            let padded = tower.encode(&long, true, noise().as_ref())?;
            let off = apart(&short.pooled, &padded.pooled);
            assert!(off < 1e-5, "{name}, training {training}: {off}");
            let (short, padded) = (short.tokens.expect("asked for"), padded.tokens.expect("asked for"));
            let length = short.mask.size()[1];
            assert!(padded.mask.narrow(1, 0, length).equal(&short.mask), "{name}");
            assert!(apart(&padded.values.narrow(1, 0, length), &short.values) < 1e-5, "{name}, training {training}");
        }
    }
    Ok(())
}

#[test]
fn a_row_of_nothing_but_padding_is_finite_and_changes_no_other_row() -> Result<()> {
    let ids = Tensor::from_slice(&[5i64, 9, 2, 1, 1, 1, 1, 1]).view([2, 4]);
    for (name, store, tower) in towers() {
        let alone = tower.encode(&ids.narrow(0, 0, 1), false, None)?.pooled;
        for noise in [None, Some(Noise::new(Tensor::from_slice(&[3i64, 4])))] {
            let both = tower.encode(&ids, true, noise.as_ref())?;
            assert!(both.pooled.isfinite().all().int64_value(&[]) == 1, "{name}");
            assert!(noise.is_some() || apart(&both.pooled.narrow(0, 0, 1), &alone) < 1e-5, "{name}");
            both.pooled.square().sum(Kind::Float).backward();
        }
        for (parameter, value) in store.variables() {
            let grad = value.grad();
            assert!(!grad.defined() || grad.isfinite().all().int64_value(&[]) == 1, "{name}: {parameter}");
        }
    }
    Ok(())
}

#[test]
fn everything_wrong_with_the_options_or_the_ids_is_told() -> Result<()> {
    let store = VarStore::new(Device::Cpu);
    let cx = BackboneCx { path: store.root(), embed: 8 };
    let bert = BertConfig { heads: 5, pad: 40, vocab: 30, max_positions: 20, epsilon: 0.0, dropout: 1.0, ..BertConfig::default() };
    let t5 = T5Config { buckets: 6, max_distance: 1, hidden: 0, ..T5Config::default() };
    let m2m = M2m100Config { width: 3, activation_dropout: -0.1, ..M2m100Config::default() };
    for (config, parts) in [
        (Box::new(bert) as Options, ["`heads` = 5", "`pad` = 40", "`max_positions` = 20", "`epsilon`", "`dropout` = 1"].as_slice()),
        (Box::new(t5), &["`buckets` = 6", "`max_distance` = 1", "`hidden` = 0"]),
        (Box::new(m2m), &["`width` = 3", "`activation_dropout` = -0.1"]),
    ] {
        let error = config.build(&cx).expect_err("mistakes").to_string();
        for part in parts {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
    }
    for (name, _store, tower) in towers() {
        for (ids, wanted) in [
            (Tensor::zeros([2, 4], (Kind::Float, Device::Cpu)), "Float [2, 4]"),
            (Tensor::zeros([4], (Kind::Int64, Device::Cpu)), "Int64 [4]"),
            (Tensor::zeros([1, 13], (Kind::Int64, Device::Cpu)), "`context` = 12"),
            (Tensor::full([1, 4], 40, (Kind::Int64, Device::Cpu)), "token id 40"),
        ] {
            let error = tower.encode(&ids, false, None).expect_err("it does not fit").to_string();
            assert!(error.contains(wanted), "{name}: {error}");
        }
    }
    Ok(())
}
