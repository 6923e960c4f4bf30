use vlhub_sdk::tch::nn::VarStore;

use super::*;
use crate::golden::{apart, build, noise, spread, stages_of_each};

fn small() -> VitConfig {
    VitConfig { image_size: ImageSize::Square(16), patch_size: 4, width: 32, layers: 2, heads: 2, ..VitConfig::default() }
}

fn pictures(rows: i64) -> Tensor {
    Tensor::randn([rows, 3, 16, 16], (Kind::Float, Device::Cpu))
}

#[test]
fn parameters_start_as_in_open_clip() -> Result<()> {
    let config = VitConfig { image_size: ImageSize::Square(64), patch_size: 8, width: 128, layers: 2, heads: 2, ..VitConfig::default() };
    let (store, _) = build(&config)?;
    let bounds = |bound: f64| (bound / 3f64.sqrt(), Some(bound));
    let block = |name: &str| format!("transformer.resblocks.1.{name}");
    for (name, (std, bound), why) in [
        ("positional_embedding".into(), (128f64.powf(-0.5), None), "width^-0.5"),
        ("conv1.weight".into(), bounds(192f64.powf(-0.5)), "torch's convolution of 3·8·8 inputs"),
        (block("attn.in_proj_weight"), bounds((6.0f64 / 512.0).sqrt()), "Xavier over 128 inputs and 3·128 outputs"),
        (block("attn.out_proj.weight"), bounds(128f64.powf(-0.5)), "torch's linear map"),
        (block("mlp.c_fc.weight"), bounds(128f64.powf(-0.5)), "torch's linear map"),
        (block("mlp.c_proj.weight"), bounds(512f64.powf(-0.5)), "torch's linear map"),
        (block("mlp.c_fc.bias"), bounds(128f64.powf(-0.5)), "torch's linear map"),
        (block("attn.in_proj_bias"), (0.0, Some(0.0)), "zero"),
        (block("attn.out_proj.bias"), (0.0, Some(0.0)), "zero"),
        (block("ln_1.weight"), (0.0, Some(1.0)), "ones"),
        (block("ln_2.bias"), (0.0, Some(0.0)), "zero"),
    ] {
        let (found, most) = spread(&store, &name);
        assert!((found - std).abs() <= 0.12 * std, "{name}: standard deviation {found}, not {std}: {why}");
        if let Some(bound) = bound {
            assert!(most <= bound * 1.0001 && most >= bound * 0.95, "{name}: largest magnitude {most}, not {bound}: {why}");
        } else {
            assert!(most > 2.5 * std, "{name}: normal, not uniform");
        }
    }
    Ok(())
}

#[test]
fn every_parameter_is_in_exactly_one_stage() -> Result<()> {
    // Twelve blocks: the name of the second begins the name of the twelfth.
    let (store, tower) = build(&VitConfig { layers: 12, ..small() })?;
    for (name, count) in stages_of_each(&store, &*tower) {
        assert_eq!(count, 1, "{name}");
    }
    assert_eq!(tower.stages().len(), 4 + 12 + 1);
    Ok(())
}

#[test]
fn patch_dropout_keeps_a_share_of_the_patches_and_is_a_matter_of_the_rows_seeds() -> Result<()> {
    for (share, kept, why) in [(0.5, 8, "half of 16"), (0.7, 4, "4.8 is cut to 4"), (0.99, 1, "never none")] {
        let (_, tower) = build(&VitConfig { patch_dropout: share, ..small() })?;
        let x = pictures(3);
        let seen = tower.encode(&x, true, Some(&noise(&[1, 2, 3])))?;
        let tokens = seen.tokens.expect("they were asked for");
        assert_eq!(tokens.values.size(), [3, kept, 32], "{why}");
        assert_eq!(tokens.mask.size(), [3, kept]);
        let again = tower.encode(&x, true, Some(&noise(&[1, 2, 3])))?.pooled;
        assert!(seen.pooled.equal(&again), "the same seeds");
        let part = tower.encode(&x.narrow(0, 1, 2), true, Some(&noise(&[2, 3])))?.pooled;
        assert!(apart(&seen.pooled.narrow(0, 1, 2), &part) < 1e-5, "a chunk sees what the batch saw");
        let other = tower.encode(&x, true, Some(&noise(&[4, 5, 6])))?.pooled;
        assert!(apart(&seen.pooled, &other) > 1e-4, "other seeds");
        let all = tower.encode(&x, true, None)?.tokens.expect("they were asked for");
        assert_eq!(all.values.size(), [3, 16, 32], "evaluation sees every patch");
    }
    Ok(())
}

#[test]
fn patch_dropout_reads_each_kept_patch_once_and_every_patch_in_turn() -> Result<()> {
    let (_, tower) = build(&VitConfig { patch_dropout: 0.5, ..small() })?;
    let x = pictures(64).set_requires_grad(true);
    tower.encode(&x, false, Some(&noise(&(0..64).collect::<Vec<_>>())))?.pooled.square().sum(Kind::Float).backward();
    // A pixel that was not read has no gradient: [64, 3, 4, 4, 4, 4] to [64, 4, 4], one number for each patch.
    let read = x.grad().abs().view([64, 3, 4, 4, 4, 4]).sum_dim_intlist([1i64, 3, 5].as_slice(), false, Kind::Float).gt(0.0);
    let each_row = read.view([64, 16]).sum_dim_intlist([1i64].as_slice(), false, Kind::Int64);
    assert!(each_row.eq(8).all().int64_value(&[]) == 1, "8 of 16 patches in each row: {:?}", Vec::<i64>::try_from(&each_row));
    let each_patch = read.view([64, 16]).sum_dim_intlist([0i64].as_slice(), false, Kind::Int64);
    assert!(each_patch.min().int64_value(&[]) > 12, "about half of the rows read any one patch");
    Ok(())
}

#[test]
fn dropout_is_on_in_training_alone_and_repeats_under_one_seed() -> Result<()> {
    let (_, tower) = build(&VitConfig { dropout: 0.5, ..small() })?;
    let x = pictures(2);
    let plain = tower.encode(&x, false, None)?.pooled;
    assert!(plain.equal(&tower.encode(&x, false, None)?.pooled), "evaluation is deterministic");
    let trained = tower.encode(&x, false, Some(&noise(&[7, 8])))?.pooled;
    assert!(trained.equal(&tower.encode(&x, false, Some(&noise(&[7, 8])))?.pooled));
    assert!(apart(&plain, &trained) > 1e-3 && apart(&trained, &tower.encode(&x, false, Some(&noise(&[9, 8])))?.pooled) > 1e-3);
    Ok(())
}

#[test]
fn pictures_of_another_shape_are_refused_with_both_shapes() -> Result<()> {
    let (_, tower) = build(&small())?;
    for (input, wanted, why) in [
        (Tensor::zeros([2, 3, 16, 20], (Kind::Float, Device::Cpu)), "Float [2, 3, 16, 20]", "not square"),
        (Tensor::zeros([2, 1, 16, 16], (Kind::Float, Device::Cpu)), "Float [2, 1, 16, 16]", "grey"),
        (Tensor::zeros([3, 16, 16], (Kind::Float, Device::Cpu)), "Float [3, 16, 16]", "no rows"),
        (Tensor::zeros([2, 3, 16, 16], (Kind::Uint8, Device::Cpu)), "Uint8 [2, 3, 16, 16]", "bytes"),
    ] {
        let error = tower.encode(&input, false, None).expect_err(why).to_string();
        assert!(error.contains("[B, 3, 16, 16]") && error.contains(wanted), "{why}: {error}");
    }
    Ok(())
}

#[test]
fn everything_wrong_with_the_options_is_told_at_once() {
    let wrong =
        VitConfig { image_size: ImageSize::Square(30), heads: 5, patch_dropout: 1.0, layers: 0, mlp_ratio: 0.0, std: [0.0; 3], ..small() };
    let error = build(&wrong).expect_err("six mistakes").to_string();
    for part in
        ["`patch_size` = 4 does not divide `image_size` = 30", "`heads` = 5", "`patch_dropout` = 1", "`layers` = 0", "`mlp_ratio`", "`std`"]
    {
        assert!(error.contains(part), "{part} is missing: {error}");
    }
}

#[test]
fn a_second_tower_on_one_path_is_refused() -> Result<()> {
    let (store, _) = build(&small())?;
    let error = small().build(&BackboneCx { path: store.root(), embed: 8 }).expect_err("the names are taken").to_string();
    assert!(error.contains("`conv1.weight`"), "{error}");
    Ok(())
}

#[test]
fn poolers_scales_and_custom_blocks_start_as_in_open_clip() -> Result<()> {
    let config = VitConfig {
        width: 128,
        layers: 1,
        heads: 2,
        registers: 4,
        layer_scale: 0.1,
        attentional_pool: AttentionalPool::Switch(true),
        attn_pooler_queries: 64,
        qk_norm: true,
        scale_heads: true,
        ..VitConfig::default()
    };
    let store = VarStore::new(Device::Cpu);
    config.build(&BackboneCx { path: store.root(), embed: 64 })?;
    let plain = VarStore::new(Device::Cpu);
    let cosine = VitConfig { qk_norm: false, scaled_cosine_attn: true, ..config };
    cosine.build(&BackboneCx { path: plain.root(), embed: 128 })?;
    let block = |name: &str| format!("transformer.resblocks.0.{name}");
    // Standard deviation, and between what the largest magnitude lies. Of 512 normal numbers or more, one in 10^10 times none is beyond 2 of them;
    // of 50,000, one in 10^7 times one is beyond 7.
    let uniform = |bound: f64| (bound / 3f64.sqrt(), 0.9 * bound, bound * 1.0001);
    let normal = |std: f64| (std, 2.0 * std, 7.0 * std);
    let constant = |value: f64| (0.0, 0.9999 * value, 1.0001 * value);
    for (store, name, (std, least, most), why) in [
        (&store, "attn_pool.query".into(), normal(1.0), "standard normal"),
        (&store, "attn_pool.attn.q_proj_weight".into(), uniform((6.0f64 / 128.0).sqrt()), "Xavier over 64 inputs and 64 outputs"),
        (&store, "attn_pool.attn.k_proj_weight".into(), uniform((6.0f64 / 192.0).sqrt()), "Xavier over 128 inputs and 64 outputs"),
        (&store, "attn_pool.attn.v_proj_weight".into(), uniform((6.0f64 / 192.0).sqrt()), "Xavier over 128 inputs and 64 outputs"),
        (&plain, "attn_pool.attn.in_proj_weight".into(), uniform((6.0f64 / 512.0).sqrt()), "Xavier over 128 inputs and 3·128 outputs"),
        (&store, "attn_pool.attn.in_proj_bias".into(), constant(0.0), "zero"),
        (&store, "attn_pool.attn.out_proj.weight".into(), uniform(64f64.powf(-0.5)), "torch's linear map"),
        (&store, "attn_pool.attn.out_proj.bias".into(), constant(0.0), "zero"),
        (&store, "register_tokens".into(), normal(1e-6), "as in DINOv2"),
        (&store, block("ls_1.gamma"), constant(0.1), "the option"),
        (&store, block("attn.in_proj_weight"), normal(64f64.powf(-0.5)), "the custom block's, by the width of a head"),
        (&store, block("attn.out_proj.bias"), uniform(128f64.powf(-0.5)), "torch's linear map, in the custom block"),
        (&store, block("attn.head_scale"), constant(1.0), "one"),
        (&plain, block("attn.logit_scale"), constant(10f64.ln()), "ten, as its logarithm"),
    ] {
        let (found, largest) = spread(store, &name);
        assert!((found - std).abs() <= 0.12 * std + 1e-7, "{name}: standard deviation {found}, not {std}: {why}");
        assert!((least..=most).contains(&largest), "{name}: largest magnitude {largest}, not within {least} and {most}: {why}");
    }
    Ok(())
}

#[test]
fn an_attentional_pool_makes_the_tower_as_wide_as_the_joint_space() -> Result<()> {
    for (attentional_pool, pool, tokens) in [
        (AttentionalPool::Switch(true), Pool::Tok, 4),
        (AttentionalPool::Switch(true), Pool::None, 5),
        (AttentionalPool::Contrastive(Contrastive::Parallel), Pool::Tok, 5),
        (AttentionalPool::Contrastive(Contrastive::Cascade), Pool::Tok, 5),
    ] {
        let config = VitConfig { attentional_pool, pool, attn_pooler_queries: 5, attn_pooler_heads: 4, ..small() };
        let store = VarStore::new(Device::Cpu);
        let tower = config.build(&BackboneCx { path: store.root(), embed: 32 })?;
        assert_eq!(tower.encode(&pictures(2), true, None)?.tokens.expect("they were asked for").values.size(), [2, tokens, 32]);
        assert_eq!(tower.width(), 32);
    }
    let one = VitConfig { attentional_pool: AttentionalPool::Switch(true), attn_pooler_queries: 1, ..small() };
    let (_, tower) = build(&one)?;
    assert_eq!(tower.encode(&pictures(2), false, None)?.pooled.size(), [2, 8], "the joint space is 8 wide here");
    let error = tower.encode(&pictures(2), true, None).expect_err("one query is pooled, none is left").to_string();
    assert!(error.contains("`attn_pooler_queries` = 1") && error.contains("2 or more"), "{error}");
    Ok(())
}

#[test]
fn what_does_not_go_together_is_told_at_once() {
    let both = AttentionalPool::Contrastive(Contrastive::Cascade);
    for (wrong, parts) in [
        (
            VitConfig { attentional_pool: both, attn_pooler_heads: 3, final_ln_after_pool: true, pool: Pool::Avg, ..small() },
            vec!["`attn_pooler_heads` = 3", "`width` = 32 to equal `embed` = 8", "`final_ln_after_pool`", "`pool` has no meaning"],
        ),
        (
            VitConfig {
                attentional_pool: AttentionalPool::Switch(true),
                attn_pooler_queries: 1,
                pool: Pool::Avg,
                registers: -1,
                ..small()
            },
            vec!["`attn_pooler_queries` = 1 is too few", "`registers` = -1"],
        ),
        (
            VitConfig { position: Position::SinCos2d, image_size: ImageSize::Sides([16, 8]), norm_eps: 0.0, ..small() },
            vec!["`position` = \"sin_cos_2d\"", "16 × 8 px", "`norm_eps` = 0"],
        ),
        (
            VitConfig { quick_gelu: true, gelu_tanh: true, qk_norm: true, scaled_cosine_attn: true, ..small() },
            vec!["`quick_gelu` and `gelu_tanh`", "`qk_norm` and `scaled_cosine_attn`"],
        ),
    ] {
        let error = build(&wrong).expect_err("they contradict each other").to_string();
        for part in parts {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
    }
}

#[test]
fn options_are_written_as_in_open_clips_configurations() {
    let text = r#"{"image_size": [16, 24], "attentional_pool": "cascade", "layer_scale": null, "position": "sin_cos_2d"}"#;
    let config: VitConfig = vlhub_sdk::serde_json::from_str(text).expect("all of them are known");
    assert_eq!(config.image_size, ImageSize::Sides([16, 24]));
    assert_eq!(config.attentional_pool, AttentionalPool::Contrastive(Contrastive::Cascade));
    assert_eq!((config.layer_scale, config.position), (0.0, Position::SinCos2d));
    let error = vlhub_sdk::serde_json::from_str::<VitConfig>(r#"{"attentional_pool": "both"}"#).expect_err("no such pool").to_string();
    assert!(error.contains("\"parallel\" or \"cascade\""), "{error}");
}
