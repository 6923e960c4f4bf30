//! The towers against timm's, from the file that `tests/golden/timm_hybrid.py` wrote.

use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::nn::VarStore;
use vlhub_sdk::testkit::golden;

use crate::fastvit::FastVitConfig;
use crate::layers::Pool;
use crate::mci::VitMciConfig;
use crate::vitamin::VitaminConfig;

fn build(config: &dyn Config<dyn Backbone>) -> Result<(VarStore, Box<dyn Backbone>)> {
    let store = VarStore::new(Device::Cpu);
    let tower = config.build(&BackboneCx { path: store.root(), embed: 8 })?;
    Ok((store, tower))
}

#[test]
fn names_outputs_and_gradients_equal_timms() {
    if let Err(wrong) = golden::check(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/timm_hybrid.json"), 8) {
        panic!("{wrong}");
    }
}

#[test]
fn everything_wrong_with_the_options_is_told_at_once() {
    let vitamin = VitaminConfig { pool: Pool::Token, heads: 5, conv_depths: [0, 1], ..VitaminConfig::default() };
    let mci = VitMciConfig { image_size: 40, width: 30, drop_path: 1.0, ..VitMciConfig::default() };
    let fastvit =
        FastVitConfig { embed_dims: vec![24, 48, 96, 200], pos_embs: vec![true], cls_ratio: 0, std: [0.0; 3], ..FastVitConfig::default() };
    let cases: [(&dyn Config<dyn Backbone>, &[&str]); 3] = [
        (&vitamin, &["class token", "`heads` = 5", "`conv_depths[0]` = 0"]),
        (&mci, &["`image_size` = 40", "`width` = 30", "`drop_path` = 1"]),
        (&fastvit, &["`pos_embs` has 1", "multiple of 32", "`embed_dims[2]` = 96 does not divide", "`cls_ratio` = 0", "`std`"]),
    ];
    for (config, parts) in cases {
        let error = build(config).expect_err("several mistakes").to_string();
        for part in parts {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
    }
}

#[test]
fn pictures_of_another_shape_are_refused_with_both_shapes() -> Result<()> {
    let configs: [&dyn Config<dyn Backbone>; 3] = [&VitaminConfig::default(), &VitMciConfig::default(), &FastVitConfig::default()];
    for config in configs {
        let (_, tower) = build(config)?;
        let wrong = Tensor::zeros([2, 3, 64, 40], (Kind::Float, Device::Cpu));
        let error = tower.encode(&wrong, false, None).expect_err("not square").to_string();
        assert!(error.contains("[B, 3, 64, 64]") && error.contains("Float [2, 3, 64, 40]"), "{error}");
    }
    Ok(())
}

#[test]
fn patch_dropout_keeps_a_share_of_the_tokens_and_is_a_matter_of_the_rows_seeds() -> Result<()> {
    let (_, tower) = build(&VitaminConfig { patch_dropout: 0.5, ..VitaminConfig::default() })?;
    let x = Tensor::randn([3, 3, 64, 64], (Kind::Float, Device::Cpu));
    let encode =
        |from: i64, rows: i64, seeds: &[i64]| tower.encode(&x.narrow(0, from, rows), true, Some(&Noise::new(Tensor::from_slice(seeds))));
    let whole = encode(0, 3, &[1, 2, 3])?;
    assert_eq!(whole.tokens.expect("they were asked for").values.size(), [3, 8, 192]);
    let apart = (whole.pooled.narrow(0, 1, 2) - encode(1, 2, &[2, 3])?.pooled).abs().max().double_value(&[]);
    assert!(apart < 1e-5, "a chunk sees what the batch saw: {apart}");
    assert_eq!(tower.encode(&x, true, None)?.tokens.expect("they were asked for").values.size(), [3, 16, 192]);
    Ok(())
}
