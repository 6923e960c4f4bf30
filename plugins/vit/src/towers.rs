//! Every variant of both towers against open_clip's, as `tests/golden/open_clip_towers.py` wrote them.

use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json::{Value, from_str, from_value};
use vlhub_sdk::tch::nn::VarStore;
use vlhub_sdk::testkit::golden;

use crate::golden::apart;
use crate::text::TextConfig;
use crate::vit::VitConfig;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/open_clip_towers.json");
const EMBED: i64 = 8;

/// The cases by name, and what they build.
fn cases() -> Vec<(String, Value, VarStore, Box<dyn Backbone>)> {
    let text = std::fs::read_to_string(FILE).expect("the golden file is there");
    let file: Value = from_str(&text).expect("it is JSON");
    let build = |(name, case): (&String, &Value)| {
        let options = case["options"].clone();
        let config: Box<dyn Config<dyn Backbone>> = if name.starts_with("vit/") {
            Box::new(from_value::<VitConfig>(options).expect("they are options of the image tower"))
        } else {
            Box::new(from_value::<TextConfig>(options).expect("they are options of the text tower"))
        };
        let store = VarStore::new(Device::Cpu);
        let tower = config.build(&BackboneCx { path: store.root(), embed: EMBED }).expect("it can be built");
        (name.clone(), case.clone(), store, tower)
    };
    file["cases"].as_object().expect("cases have names").iter().map(build).collect()
}

#[test]
fn names_outputs_tokens_and_gradients_equal_open_clips() {
    if let Err(wrong) = golden::check(FILE, EMBED) {
        panic!("{wrong}");
    }
}

/// The golden file is read with tokens, so this covers what is left out without them.
#[test]
fn the_pooled_output_is_the_same_without_tokens() -> Result<()> {
    for (name, case, store, tower) in cases() {
        golden::fill(&store);
        let shape: Vec<i64> = from_value(case["shape"].clone()).expect("a shape");
        let input = match from_value::<Vec<i64>>(case["ids"].clone()) {
            Ok(ids) => Tensor::from_slice(&ids).view(shape.as_slice()),
            Err(_) => Tensor::randn(shape, (Kind::Float, Device::Cpu)),
        };
        let with = tower.encode(&input, true, None)?.pooled;
        let without = tower.encode(&input, false, None)?.pooled;
        assert!(apart(&with, &without) < 1e-5, "{name}: {}", apart(&with, &without));
    }
    Ok(())
}

#[test]
fn every_trained_parameter_is_in_exactly_one_stage_and_every_stage_has_some() {
    for (name, _, store, tower) in cases() {
        let within =
            |stage: &String, name: &str| name.strip_prefix(stage.as_str()).is_some_and(|rest| matches!(rest.get(..1), None | Some(".")));
        let trained: Vec<_> = store.variables().into_iter().filter(|(_, value)| value.requires_grad()).map(|(name, _)| name).collect();
        for parameter in &trained {
            assert_eq!(tower.stages().iter().filter(|stage| within(stage, parameter)).count(), 1, "{name}: {parameter}");
        }
        for stage in tower.stages() {
            assert!(trained.iter().any(|parameter| within(&stage, parameter)), "{name}: {stage} is empty");
        }
    }
}

/// [`golden::check`] overwrites the table as it does all parameters, so what it holds at first is compared here.
#[test]
fn fixed_positions_equal_open_clips() {
    let (_, case, store, _) = cases().into_iter().find(|(name, ..)| name == "vit/clipa").expect("the case with a table");
    let wanted: Vec<f32> = from_value(case["positions"].clone()).expect("its numbers");
    let table = &store.variables()["positional_embedding"];
    assert!(apart(table, &Tensor::from_slice(&wanted).view_as(table)) < 1e-6);
    assert!(!table.requires_grad(), "it is saved, but not trained");
}

/// Texts that say that they may be cut give the same output without their padding, and those that say otherwise do not.
#[test]
fn texts_say_rightly_whether_they_may_be_cut() -> Result<()> {
    for (name, case, store, tower) in cases() {
        let InputSpec::Text { pad, truncates, .. } = tower.input() else { continue };
        golden::fill(&store);
        let ids: Vec<i64> = from_value(case["ids"].clone()).expect("ids");
        // The second row has four tokens and five of padding.
        let row = Tensor::from_slice(&ids).view([3, 9]).narrow(0, 1, 1);
        let longer = tower.encode(&row, true, None)?;
        let cut = tower.encode(&row.narrow(1, 0, 4), true, None)?;
        let same = apart(&longer.pooled, &cut.pooled) < 1e-5;
        assert_eq!(same, truncates, "{name}, padded with {pad}");
        let (longer, cut) = (longer.tokens.expect("they were asked for"), cut.tokens.expect("they were asked for"));
        if truncates {
            assert!(longer.mask.narrow(1, 0, 4).equal(&cut.mask), "{name}");
            let seen = cut.mask.unsqueeze(-1).to_kind(Kind::Float);
            assert!(apart(&(longer.values.narrow(1, 0, 4) * &seen), &(cut.values * &seen)) < 1e-5, "{name}");
        }
    }
    Ok(())
}
