use super::*;
use crate::golden::{apart, build, noise, spread, stages_of_each};

fn small() -> TextConfig {
    TextConfig { context: 16, vocab: 50, width: 32, layers: 2, heads: 2, ..TextConfig::default() }
}

/// Rows that end after 4, 9 and 6 tokens, in a matrix of `length`.
fn ids(length: i64) -> Tensor {
    let ids = Tensor::randint_low(1, 48, [3, length], (Kind::Int64, Device::Cpu));
    for (row, end) in [(0, 3), (1, 8), (2, 5)] {
        let _ = ids.i((row, end..)).fill_(0);
        let _ = ids.i((row, end)).fill_(49);
    }
    ids
}

#[test]
fn parameters_start_as_in_open_clip() -> Result<()> {
    let (store, _) = build(&TextConfig { context: 64, vocab: 200, width: 64, layers: 8, heads: 2, ..TextConfig::default() })?;
    let block = |name: &str| format!("transformer.resblocks.5.{name}");
    let output = 64f64.powf(-0.5) * 16f64.powf(-0.5);
    for (name, std, why) in [
        ("token_embedding.weight".into(), 0.02, "fixed"),
        ("positional_embedding".into(), 0.01, "fixed"),
        (block("attn.in_proj_weight"), 64f64.powf(-0.5), "width^-0.5"),
        (block("attn.out_proj.weight"), output, "width^-0.5 (2 layers)^-0.5"),
        (block("mlp.c_fc.weight"), 128f64.powf(-0.5), "(2 width)^-0.5"),
        (block("mlp.c_proj.weight"), output, "width^-0.5 (2 layers)^-0.5"),
    ] {
        let (found, most) = spread(&store, &name);
        assert!((found - std).abs() <= 0.08 * std, "{name}: standard deviation {found}, not {std}: {why}");
        assert!(most > 2.5 * std, "{name}: normal, not uniform");
    }
    for (name, most, why) in [
        (block("attn.in_proj_bias"), 0.0, "zero"),
        (block("attn.out_proj.bias"), 0.0, "zero"),
        (block("mlp.c_fc.bias"), 64f64.powf(-0.5), "torch's linear map of 64 inputs"),
        (block("mlp.c_proj.bias"), 256f64.powf(-0.5), "torch's linear map of 256 inputs"),
    ] {
        let (_, found) = spread(&store, &name);
        assert!(found <= most * 1.0001 && found >= 0.7 * most, "{name}: largest magnitude {found}, not {most}: {why}");
    }
    Ok(())
}

#[test]
fn every_parameter_is_in_exactly_one_stage() -> Result<()> {
    let (store, tower) = build(&TextConfig { layers: 12, ..small() })?;
    for (name, count) in stages_of_each(&store, &*tower) {
        assert_eq!(count, 1, "{name}");
    }
    assert_eq!(tower.stages().len(), 2 + 12 + 1);
    Ok(())
}

#[test]
fn cutting_to_the_longest_text_changes_nothing_with_and_without_dropout() -> Result<()> {
    let (_, tower) = build(&TextConfig { dropout: 0.3, ..small() })?;
    let whole = ids(16);
    for (length, why) in [(9, "the longest text"), (12, "some padding left")] {
        let cut = whole.narrow(1, 0, length);
        for tokens in [false, true] {
            for seeds in [None, Some([1i64, 2, 3])] {
                let seeded = || seeds.map(|seeds| noise(&seeds));
                let long = tower.encode(&whole, tokens, seeded().as_ref())?;
                let short = tower.encode(&cut, tokens, seeded().as_ref())?;
                let apart = apart(&long.pooled, &short.pooled);
                assert!(apart < 1e-5, "{why}, tokens {tokens}, seeds {seeds:?}: {apart}");
                let lengths = |hidden: Hidden| hidden.tokens.map(|tokens| tokens.mask.sum(Kind::Int64).int64_value(&[]));
                assert_eq!(lengths(long), lengths(short), "{why}");
            }
        }
    }
    Ok(())
}

#[test]
fn what_follows_the_end_token_changes_nothing_and_what_precedes_it_does() -> Result<()> {
    let (_, tower) = build(&small())?;
    let plain = ids(16);
    for (place, changes, why) in [(12, false, "after the ends of all rows"), (1, true, "before the ends of all rows")] {
        let other = plain.copy();
        let _ = other.i((.., place)).fill_(48);
        for tokens in [false, true] {
            let apart = apart(&tower.encode(&plain, tokens, None)?.pooled, &tower.encode(&other, tokens, None)?.pooled);
            assert_eq!(apart > 1e-5, changes, "{why}, tokens {tokens}: {apart}");
        }
    }
    assert_eq!(tower.input(), InputSpec::Text { context: 16, vocab: 50, pad: 0, truncates: true });
    Ok(())
}

#[test]
fn dropout_is_on_in_training_alone_and_is_a_matter_of_the_rows_seeds() -> Result<()> {
    let (_, tower) = build(&TextConfig { dropout: 0.5, ..small() })?;
    let x = ids(16);
    let plain = tower.encode(&x, false, None)?.pooled;
    assert!(plain.equal(&tower.encode(&x, false, None)?.pooled), "evaluation is deterministic");
    let trained = tower.encode(&x, false, Some(&noise(&[1, 2, 3])))?.pooled;
    let part = tower.encode(&x.narrow(0, 2, 1), false, Some(&noise(&[3])))?.pooled;
    assert!(apart(&trained.narrow(0, 2, 1), &part) < 1e-5, "a chunk sees what the batch saw");
    assert!(apart(&plain, &trained) > 1e-3);
    assert!(apart(&trained, &tower.encode(&x, false, Some(&noise(&[4, 5, 6])))?.pooled) > 1e-3, "other seeds");
    Ok(())
}

#[test]
fn wrong_ids_are_refused_with_the_numbers() -> Result<()> {
    let (_, tower) = build(&small())?;
    let zeros = |size: &[i64], kind| Tensor::zeros(size, (kind, Device::Cpu));
    for (input, wanted, why) in [
        (zeros(&[2, 17], Kind::Int64), ["17", "`context` = 16"], "too long"),
        (zeros(&[2, 8], Kind::Float), ["int64 ids [B, L]", "Float [2, 8]"], "not ids"),
        (zeros(&[8], Kind::Int64), ["int64 ids [B, L]", "Int64 [8]"], "no rows"),
        (zeros(&[2, 0], Kind::Int64), ["int64 ids [B, L]", "Int64 [2, 0]"], "no tokens"),
        (zeros(&[2, 8], Kind::Int64) + 50, ["token id 50", "0..50"], "one above the vocabulary"),
        (zeros(&[2, 8], Kind::Int64) - 1, ["token id -1", "0..50"], "below the vocabulary"),
    ] {
        let error = tower.encode(&input, false, None).expect_err(why).to_string();
        assert!(wanted.iter().all(|part| error.contains(part)), "{why}: {error}");
    }
    let error = build(&TextConfig { pad: 50, heads: 3, ..small() }).expect_err("two mistakes").to_string();
    assert!(error.contains("`pad` = 50") && error.contains("`heads` = 3"), "{error}");
    Ok(())
}

#[test]
fn a_class_token_and_custom_blocks_start_as_in_open_clip() -> Result<()> {
    let sizes = TextConfig { context: 64, vocab: 200, width: 64, layers: 8, heads: 2, ..TextConfig::default() };
    let (store, _) = build(&TextConfig { embed_cls: true, scale_attn: true, ..sizes })?;
    let block = |name: &str| format!("transformer.resblocks.5.{name}");
    let output = 64f64.powf(-0.5) * 16f64.powf(-0.5);
    for (name, std, tolerance, why) in [
        ("cls_emb".into(), 0.01, 0.4, "fixed"),
        ("positional_embedding".into(), 0.01, 0.08, "fixed"),
        (block("attn.in_proj_weight"), 64f64.powf(-0.5), 0.08, "width^-0.5, in the custom block, too"),
        (block("attn.out_proj.weight"), output, 0.08, "width^-0.5 (2 layers)^-0.5"),
        (block("attn.out_proj.bias"), 64f64.powf(-0.5) / 3f64.sqrt(), 0.4, "torch's linear map, in the custom block"),
        (block("ln_attn.weight"), 0.0, 0.0, "ones"),
    ] {
        let (found, _) = spread(&store, &name);
        assert!((found - std).abs() <= tolerance * std, "{name}: standard deviation {found}, not {std}: {why}");
    }
    assert_eq!(store.variables()["positional_embedding"].size(), [65, 64], "a place for the class token");
    Ok(())
}

#[test]
fn the_projection_is_the_one_that_was_asked_for() -> Result<()> {
    for (projection, wanted) in [
        (TextProjection::Matrix, Projection::Matrix("text_projection")),
        (TextProjection::Linear, Projection::Linear { name: "text_projection", bias: true }),
        (TextProjection::None, Projection::Identity),
    ] {
        assert_eq!(build(&TextConfig { projection, ..small() })?.1.projection(), wanted);
    }
    Ok(())
}

#[test]
fn padding_is_hidden_where_it_is_masked_and_seen_where_not() -> Result<()> {
    let plain = ids(16);
    for (hides, config) in [
        (false, TextConfig { no_causal_mask: true, ..small() }),
        (true, TextConfig { no_causal_mask: true, use_pad_mask: true, ..small() }),
        (true, TextConfig { embed_cls: true, correct_cls_mask: true, ..small() }),
        (true, TextConfig { embed_cls: true, ..small() }),
    ] {
        let (store, tower) = build(&config)?;
        let before = tower.encode(&plain, false, None)?.pooled;
        // Padding has another embedding now, and no row reads it but its own place, or the first of its places in the shifted mask.
        let _ = vlhub_sdk::tch::no_grad(|| store.variables()["token_embedding.weight"].i(0).fill_(5.0));
        let after = tower.encode(&plain, false, None)?.pooled;
        let shifted = config.embed_cls && !config.correct_cls_mask;
        assert_eq!(apart(&before, &after) < 1e-6, hides && !shifted, "{config:?}");
    }
    Ok(())
}

#[test]
fn options_without_meaning_are_refused() {
    let wrong = TextConfig { use_pad_mask: true, correct_cls_mask: true, pool: TextPool::Eos, eos_id: 50, ..small() };
    let error = build(&wrong).expect_err("three mistakes").to_string();
    for part in ["`use_pad_mask`", "`correct_cls_mask`", "`eos_id` = 50"] {
        assert!(error.contains(part), "{part} is missing: {error}");
    }
    assert!(build(&TextConfig { eos_id: 50, ..small() }).is_ok(), "the id of the end is not used elsewhere");
}
