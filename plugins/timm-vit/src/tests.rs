//! What golden files cannot hold: options, randomness and initial values.

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::nn::VarStore;

use crate::beit::TimmBeitConfig;
use crate::options::Pool;
use crate::relpos::TimmVitRelPosConfig;
use crate::vit::TimmVitConfig;

fn build(config: &dyn Config<dyn Backbone>) -> Result<(VarStore, Box<dyn Backbone>)> {
    let store = VarStore::new(Device::Cpu);
    let tower = config.build(&BackboneCx { path: store.root(), embed: 8 })?;
    Ok((store, tower))
}

fn small() -> TimmVitConfig {
    TimmVitConfig { image_size: 16, patch_size: 4, width: 32, layers: 2, heads: 2, ..TimmVitConfig::default() }
}

fn pictures(rows: i64) -> Tensor {
    Tensor::randn([rows, 3, 16, 16], (Kind::Float, Device::Cpu))
}

fn noise(seeds: &[i64]) -> Noise {
    Noise::new(Tensor::from_slice(seeds))
}

fn apart(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

#[test]
fn everything_wrong_with_the_options_is_told_at_once() {
    let wrong = TimmVitConfig { heads: 5, patch_drop: 1.0, layers: 0, mlp_ratio: 0.0, std: [0.0; 3], norm_eps: 0.0, ..small() };
    let error = build(&wrong).expect_err("six mistakes").to_string();
    for part in ["`heads` = 5", "`patch_drop` = 1", "`layers` = 0", "`mlp_ratio`", "`std`", "`norm_eps`"] {
        assert!(error.contains(part), "{part} is missing: {error}");
    }
}

#[test]
fn poolings_that_a_network_cannot_do_are_refused() {
    let refused = |config: &dyn Config<dyn Backbone>, part: &str| {
        let error = build(config).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(&TimmVitConfig { class_token: false, ..small() }, "`class_token` is false");
    refused(&TimmVitConfig { pool: Some(Pool::Map), ..small() }, "set `global_pool` = map");
    refused(&TimmVitConfig { distilled: true, proj: Proj::Classifier, ..small() }, "`distilled` wants");
    refused(&TimmVitConfig { distilled: true, pool: Some(Pool::Avg), ..small() }, "`distilled` wants");
    refused(&TimmVitRelPosConfig { pool: Some(Pool::Token), ..TimmVitRelPosConfig::default() }, "`class_token` is false");
    refused(&TimmVitRelPosConfig { pool: Some(Pool::Map), ..TimmVitRelPosConfig::default() }, "`token` or `avg`");
    refused(&TimmBeitConfig { global_pool: Pool::Max, ..TimmBeitConfig::default() }, "`token` or `avg`");
}

#[test]
fn the_norm_comes_behind_the_pooling_where_open_clip_has_it() -> Result<()> {
    let avg = Some(Pool::Avg);
    for (config, behind, why) in [
        (TimmVitConfig { pool: avg, ..small() }, false, "open_clip replaces the pooling of a network that was made with `token`"),
        (TimmVitConfig { pool: avg, proj: Proj::Classifier, ..small() }, true, "the network itself is made with `avg`"),
        (TimmVitConfig { global_pool: Pool::Avg, ..small() }, true, "its own pooling"),
        (TimmVitConfig { global_pool: Pool::Avg, fc_norm: Some(false), ..small() }, false, "it is said"),
    ] {
        let names = build(&config)?.0.variables();
        assert_eq!((names.contains_key("trunk.fc_norm.weight"), names.contains_key("trunk.norm.weight")), (behind, !behind), "{why}");
    }
    Ok(())
}

#[test]
fn patch_dropout_keeps_a_share_of_the_patches_and_is_a_matter_of_the_rows_seeds() -> Result<()> {
    let no_prefix = TimmVitConfig { class_token: false, global_pool: Pool::Avg, ..small() };
    for (config, share, kept) in [(small(), 0.5, 8), (TimmVitConfig { reg_tokens: 2, ..small() }, 0.7, 4), (no_prefix, 0.99, 1)] {
        let (_, tower) = build(&TimmVitConfig { patch_drop: share, ..config })?;
        let x = pictures(3);
        let seen = tower.encode(&x, true, Some(&noise(&[1, 2, 3])))?;
        assert_eq!(seen.tokens.expect("they were asked for").values.size(), [3, kept, 32]);
        let part = tower.encode(&x.narrow(0, 1, 2), false, Some(&noise(&[2, 3])))?.pooled;
        assert!(apart(&seen.pooled.narrow(0, 1, 2), &part) < 1e-5, "a chunk sees what the batch saw");
        let other = tower.encode(&x, false, Some(&noise(&[4, 5, 6])))?.pooled;
        assert!(apart(&seen.pooled, &other) > 1e-4, "other seeds");
        assert_eq!(tower.encode(&x, true, None)?.tokens.expect("they were asked for").values.size(), [3, 16, 32], "evaluation");
    }
    Ok(())
}

#[test]
fn stochastic_depth_rises_from_block_to_block() -> Result<()> {
    // The first of two blocks is never left out: so the rate of the last shows in rows that are those of a network without it.
    let (store, deep) = build(&TimmVitConfig { drop_path: 0.9, ..small() })?;
    let (first, one) = build(&TimmVitConfig { layers: 1, drop_path: 0.9, ..small() })?;
    vlhub_sdk::tch::no_grad(|| {
        for (name, mut variable) in first.variables() {
            variable.copy_(&store.variables()[&name]);
        }
    });
    let x = pictures(64);
    let seeds = noise(&(0..64).collect::<Vec<_>>());
    let (deep, one) = (deep.encode(&x, false, Some(&seeds))?.pooled, one.encode(&x, false, Some(&seeds))?.pooled);
    let equal = (deep - one).abs().amax([1i64].as_slice(), false).lt(1e-5).sum(Kind::Int64).int64_value(&[]);
    assert!((45..60).contains(&equal), "both branches are left out with probability 0.81: 52 of 64, not {equal}");
    Ok(())
}

#[test]
fn the_distances_mlp_is_dropped_in_training_alone() -> Result<()> {
    let config =
        TimmVitRelPosConfig { image_size: 16, patch_size: 4, width: 32, layers: 2, heads: 2, init_values: 1.0, ..Default::default() };
    let x = pictures(2);
    for (rel_pos_drop, differs) in [(0.5, true), (0.0, false)] {
        let (_, tower) = build(&TimmVitRelPosConfig { rel_pos_drop, ..config.clone() })?;
        let apart = apart(&tower.encode(&x, false, None)?.pooled, &tower.encode(&x, false, Some(&noise(&[1, 2])))?.pooled);
        assert_eq!(apart > 1e-5, differs, "{apart} with `rel_pos_drop` = {rel_pos_drop}");
    }
    Ok(())
}

#[test]
fn parameters_start_as_in_timm() -> Result<()> {
    let vit = TimmVitConfig { width: 128, heads: 2, layers: 2, init_values: 0.1, global_pool: Pool::Map, reg_tokens: 4, ..small() };
    let relpos = TimmVitRelPosConfig { width: 128, heads: 2, layers: 2, ..Default::default() };
    let beit = TimmBeitConfig { width: 128, heads: 2, layers: 2, ..Default::default() };
    let torch = |fan_in: f64| (3.0 * fan_in).powf(-0.5);
    let (vit, relpos, beit) = (build(&vit)?.0.variables(), build(&relpos)?.0.variables(), build(&beit)?.0.variables());
    for (of, name, std) in [
        (&vit, "pos_embed", 0.02),
        (&vit, "cls_token", 1e-6),
        (&vit, "reg_token", 1e-6),
        (&vit, "patch_embed.proj.weight", torch(48.0)),
        (&vit, "blocks.1.attn.qkv.weight", 0.02),
        (&vit, "blocks.1.attn.qkv.bias", 0.0),
        (&vit, "blocks.1.mlp.fc2.weight", 0.02),
        (&vit, "attn_pool.latent", 0.88 * 128f64.powf(-0.5)),
        (&vit, "attn_pool.kv.weight", 0.02),
        (&relpos, "blocks.1.attn.proj.weight", torch(128.0)),
        (&relpos, "blocks.1.mlp.fc2.bias", torch(512.0)),
        (&relpos, "blocks.1.attn.rel_pos.mlp.fc1.weight", torch(2.0)),
        (&beit, "cls_token", 0.02),
        (&beit, "blocks.1.attn.relative_position_bias_table", 0.0),
        (&beit, "blocks.1.mlp.fc1.weight", 0.02),
        (&beit, "blocks.1.attn.proj.weight", 0.01),
        (&beit, "blocks.1.mlp.fc2.weight", 0.01),
    ] {
        let found = of[&format!("trunk.{name}")].std(false).double_value(&[]);
        assert!((found - std).abs() <= 0.25 * std, "{name}: standard deviation {found}, not {std}");
    }
    let gamma = &vit["trunk.blocks.0.ls2.gamma"];
    assert!(apart(gamma, &(gamma.ones_like() * 0.1)) < 1e-7);
    Ok(())
}

#[test]
fn pictures_of_another_shape_are_refused_with_both_shapes() -> Result<()> {
    let (_, tower) = build(&small())?;
    let error = tower.encode(&Tensor::zeros([2, 3, 16, 20], (Kind::Float, Device::Cpu)), false, None).expect_err("not square").to_string();
    assert!(error.contains("[B, 3, 16, 16]") && error.contains("Float [2, 3, 16, 20]"), "{error}");
    Ok(())
}
