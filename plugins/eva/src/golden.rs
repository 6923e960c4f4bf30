//! The tower against timm's, from the file that `tests/golden/timm_eva.py` wrote.

use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::nn::VarStore;
use vlhub_sdk::testkit::golden;

use crate::options::{EvaConfig, Pool};

fn small() -> EvaConfig {
    EvaConfig { image_size: 32, patch_size: 8, width: 16, layers: 2, heads: 2, ..EvaConfig::default() }
}

fn build(config: &EvaConfig) -> Result<(VarStore, Box<dyn Backbone>)> {
    let store = VarStore::new(Device::Cpu);
    let tower = config.build(&BackboneCx { path: store.root(), embed: 8 })?;
    Ok((store, tower))
}

#[test]
fn names_outputs_and_gradients_equal_timms() {
    if let Err(wrong) = golden::check(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/timm_eva.json"), 8) {
        panic!("{wrong}");
    }
}

#[test]
fn patch_dropout_keeps_a_share_of_the_patches_and_is_a_matter_of_the_rows_seeds() -> Result<()> {
    let whole = EvaConfig { pool: Pool::Token, ..small() };
    let (store, tower) = build(&EvaConfig { patch_dropout: 0.5, ..whole.clone() })?;
    golden::fill(&store);
    let (reference, plain) = build(&whole)?;
    golden::fill(&reference);
    let x = Tensor::randn([3, 3, 32, 32], (Kind::Float, Device::Cpu));
    let noise = |seeds: &[i64]| Noise::new(Tensor::from_slice(seeds));
    let seen = tower.encode(&x, true, Some(&noise(&[1, 2, 3])))?;
    let tokens = seen.tokens.expect("they were asked for");
    assert_eq!(tokens.values.size(), [3, 8, 16]);
    assert_eq!(tokens.mask.size(), [3, 8]);
    let part = tower.encode(&x.narrow(0, 1, 2), false, Some(&noise(&[2, 3])))?.pooled;
    let apart = (seen.pooled.narrow(0, 1, 2) - part).abs().max().double_value(&[]);
    assert!(apart < 1e-5, "a chunk sees what the batch saw: {apart}");
    let kept = tower.encode(&x, false, None)?.pooled;
    assert!(kept.allclose(&plain.encode(&x, false, None)?.pooled, 1e-6, 1e-6, false), "all patches stay in evaluation");
    Ok(())
}

#[test]
fn stochastic_depth_is_a_matter_of_the_rows_seeds_and_off_in_evaluation() -> Result<()> {
    for use_post_norm in [false, true] {
        let (_, tower) = build(&EvaConfig { drop_path: 0.9, layers: 3, use_post_norm, ..small() })?;
        let x = Tensor::randn([6, 3, 32, 32], (Kind::Float, Device::Cpu));
        let encode = |rows: i64| {
            let noise = Noise::new(Tensor::arange(rows, (Kind::Int64, Device::Cpu)));
            tower.encode(&x.narrow(0, 0, rows), false, Some(&noise)).map(|hidden| hidden.pooled)
        };
        let (whole, plain) = (encode(6)?, tower.encode(&x, false, None)?.pooled);
        assert!((whole.narrow(0, 0, 4) - encode(4)?).abs().max().double_value(&[]) < 1e-5, "a chunk sees what the batch saw");
        assert!((&whole - plain).abs().max().double_value(&[]) > 1e-4, "branches were left out");
    }
    Ok(())
}

#[test]
fn everything_wrong_with_the_options_is_told_at_once() {
    let wrong = EvaConfig {
        image_size: 30,
        heads: 8,
        layers: 0,
        class_token: false,
        pool: Pool::Token,
        use_post_norm: true,
        init_values: Some(0.1),
        drop_path: 1.0,
        std: [0.0; 3],
        ..small()
    };
    let error = build(&wrong).expect_err("seven mistakes").to_string();
    for part in [
        "`patch_size` = 8 does not divide `image_size` = 30",
        "`layers` = 0",
        "multiple of 4",
        "`class_token` = false",
        "`init_values`",
        "`drop_path` = 1",
        "`std`",
    ] {
        assert!(error.contains(part), "{part} is missing: {error}");
    }
}

#[test]
fn pictures_of_another_shape_are_refused_with_both_shapes() -> Result<()> {
    let (_, tower) = build(&small())?;
    let error = tower.encode(&Tensor::zeros([2, 3, 32, 40], (Kind::Float, Device::Cpu)), false, None).expect_err("not square").to_string();
    assert!(error.contains("[B, 3, 32, 32]") && error.contains("Float [2, 3, 32, 40]"), "{error}");
    Ok(())
}
