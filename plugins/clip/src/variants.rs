//! The variants against x-clip and torch, by `tests/golden/clip_variants.json`, and under the laws.

use std::collections::BTreeMap;

use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::nn::VarStore;
use vlhub_sdk::testkit::golden::losses::{encoded, float_waves, near, pair_features};
use vlhub_sdk::testkit::objective as laws;
use vlhub_sdk::{Tower, serde_json, tch};

use crate::golden::Setting;
use crate::{ClipConfig, Positives, SiglipConfig};

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct File {
    labels: Vec<Vec<i64>>,
    ids: Vec<Vec<i64>>,
    x_clip: Vec<Variant>,
    float32: Vec<Float32>,
    positives: Vec<Several>,
}

type Rows = Vec<Vec<f32>>;

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Variant {
    name: String,
    options: XClip,
    log_scale: f64,
    loss: f64,
    inputs: BTreeMap<String, Rows>,
    gradients: BTreeMap<String, serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(crate = "vlhub_sdk::serde", default)]
struct XClip {
    dcl: bool,
    elp: bool,
    sim_reg: f64,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Float32 {
    name: String,
    dcl: bool,
    log_scale: f64,
    x_clip: String,
    x_clip_double: f64,
    right: f64,
    image: Rows,
    text: Rows,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Several {
    loss_name: String,
    positives: Positives,
    log_scale: f64,
    bias: f64,
    loss: f64,
    inputs: BTreeMap<String, Rows>,
    gradients: BTreeMap<String, serde_json::Value>,
}

fn file() -> File {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/clip_variants.json");
    let text = std::fs::read_to_string(path).expect("tests/golden/clip_variants.py writes it");
    serde_json::from_str(&text).expect("the cases")
}

fn matrix<T: tch::kind::Element>(rows: &[Vec<T>]) -> Tensor {
    Tensor::stack(&rows.iter().map(|row| Tensor::from_slice(row)).collect::<Vec<_>>(), 0)
}

/// The loss of a run with these leaves (`image`, `text`, `image_pooled`, `text_pooled`) and parameters (everything else).
fn check(what: &str, config: &impl Config<dyn Objective>, inputs: &BTreeMap<String, Rows>, batch: &Batch, expected: (f64, &Gradients)) {
    let store = VarStore::new(Device::Cpu);
    let mut cx = Setting::new(&store).cx();
    for (name, tower) in [("image_pooled", &mut cx.image), ("text_pooled", &mut cx.text)] {
        if let (Some(rows), Some(tower)) = (inputs.get(name), tower) {
            *tower = Tower { width: rows[0].len() as i64, ..tower.clone() };
        }
    }
    let objective = config.build(&cx).expect("builds");
    let mut leaves: BTreeMap<String, Tensor> = store.variables().into_iter().collect();
    for (name, rows) in inputs {
        match leaves.get_mut(&format!("objective.{name}.weight")) {
            Some(parameter) => tch::no_grad(|| parameter.copy_(&matrix(rows))),
            None => drop(leaves.insert(name.clone(), matrix(rows).set_requires_grad(true))),
        }
    }
    let rows = leaves["image"].size()[0];
    let encoded = |embed: &str, pooled: &str| Encoded {
        embed: leaves[embed].shallow_clone(),
        pooled: leaves.get(pooled).unwrap_or(&leaves[embed]).shallow_clone(),
        tokens: None,
    };
    let mut features = Features::new(0..rows, rows);
    features.insert(Modality::Image, "main", encoded("image", "image_pooled"));
    features.insert(Modality::Text, "main", encoded("text", "text_pooled"));
    let loss = objective.loss(&features, batch).expect("a loss");
    near(loss.value(), expected.0, 1e-5, what);
    loss.total.backward();
    for (name, gradient) in expected.1 {
        let gradient = match gradient.as_f64() {
            Some(number) => Tensor::from(number as f32),
            None => matrix(&serde_json::from_value::<Rows>(gradient.clone()).expect("a matrix")),
        };
        let leaf = leaves.get(name).unwrap_or_else(|| &leaves[&format!("objective.{name}.weight")]);
        let largest = gradient.abs().max().double_value(&[]).max(1e-3);
        let off = (leaf.grad() - gradient).abs().max().double_value(&[]);
        assert!(off <= 1e-4 * largest, "{what}: the gradient of {name} is off by {off:e}, where its largest entry is {largest:e}");
    }
}

type Gradients = BTreeMap<String, serde_json::Value>;

#[test]
fn losses_and_gradients_equal_x_clip() {
    let cases = file().x_clip;
    assert!(cases.len() >= 8);
    for case in cases {
        for tile in [0, 1, 4, 100] {
            let config = ClipConfig {
                init_log_scale: case.log_scale,
                dcl: case.options.dcl,
                extra_projections: case.options.elp,
                sim_reg_weight: case.options.sim_reg,
                tile,
                ..Default::default()
            };
            let batch = Batch::new(case.inputs["image"].len() as i64);
            check(&format!("{}, tile {tile}", case.name), &config, &case.inputs, &batch, (case.loss, &case.gradients));
        }
    }
}

#[test]
fn several_right_answers_equal_soft_targets_of_torch() {
    let File { labels, ids, positives, .. } = file();
    let mut batch = Batch::new(labels.len() as i64);
    batch.set_extra(Batch::LABELS, matrix(&labels)).expect("a row each");
    batch.set_text("main", matrix(&ids)).expect("a row each");
    assert!(positives.len() >= 12);
    for case in positives {
        for tile in [0, 1, 3, 100] {
            let what = format!("{} {:?} at {}, tile {tile}", case.loss_name, case.positives, case.log_scale);
            let expected = (case.loss, &case.gradients);
            let (init_log_scale, positives) = (case.log_scale, case.positives);
            if case.loss_name == "siglip" {
                let config = SiglipConfig { init_log_scale, init_bias: case.bias, positives, tile, ..Default::default() };
                check(&what, &config, &case.inputs, &batch, expected);
            } else {
                let config = ClipConfig { init_log_scale, positives, dcl: case.loss_name == "dcl", tile, ..Default::default() };
                check(&what, &config, &case.inputs, &batch, expected);
            }
        }
    }
}

/// x-clip takes exponentials of the logits as they are, and adds 1e-20 to what it takes logarithms of.
#[test]
fn the_loss_is_right_where_that_of_x_clip_leaves_its_range() {
    for case in file().float32 {
        let what = format!("{}, dcl {}", case.name, case.dcl);
        let theirs: f64 = case.x_clip.parse().expect("a number, `inf` or `nan`");
        match case.name.as_str() {
            "inside" => near(theirs, case.right, 1e-5, &what),
            "overflow" => assert!(!theirs.is_finite(), "{what}: the defect is still pinned: {theirs}"),
            _ => assert!((theirs - case.right).abs() > 1.0 && (case.x_clip_double - case.right).abs() > 1.0, "{what}: {theirs}"),
        }
        for tile in [0, 2] {
            let store = VarStore::new(Device::Cpu);
            let config = ClipConfig { init_log_scale: case.log_scale, dcl: case.dcl, tile, ..Default::default() };
            let (image, text) = (matrix(&case.image).set_requires_grad(true), matrix(&case.text).set_requires_grad(true));
            let loss = Setting::new(&store).loss(&config, &image, &text);
            near(loss.value(), case.right, 1e-5, &what);
            loss.total.backward();
            assert_eq!(image.grad().isfinite().all().int64_value(&[]), 1, "{what}: the gradient is finite");
        }
    }
}

#[test]
fn equals_the_worked_examples_of_x_clip() {
    let (image, text) = float_waves();
    for tile in [0, 3] {
        let e = ClipConfig { init_log_scale: 1.0, tile, ..Default::default() };
        for (config, expected, why) in
            [(e.clone(), 2.4306831539211053, "InfoNCE"), (ClipConfig { dcl: true, ..e.clone() }, 2.3022998111016166, "decoupled")]
        {
            let store = VarStore::new(Device::Cpu);
            near(Setting::new(&store).loss(&config, &image, &text).value(), expected, 1e-5, why);
        }

        // The second space of the example: images shifted by 0.1 times the column, texts in reverse.
        let store = VarStore::new(Device::Cpu);
        let objective = ClipConfig { extra_projections: true, ..e }.build(&Setting::new(&store).cx()).expect("builds");
        let eye = Tensor::eye(8, (Kind::Float, Device::Cpu));
        tch::no_grad(|| {
            store.variables()["objective.image_projection.weight"].shallow_clone().copy_(&eye);
            store.variables()["objective.text_projection.weight"].shallow_clone().copy_(&eye.flip([0]));
        });
        let shifted = normalize(&image) + Tensor::arange(8, (Kind::Float, Device::Cpu)) * 0.1;
        let mut features = Features::new(0..4, 4);
        features.insert(Modality::Image, "main", Encoded { embed: image.shallow_clone(), pooled: shifted, tokens: None });
        features.insert(Modality::Text, "main", encoded(&text));
        near(objective.loss(&features, &Batch::new(4)).expect("a loss").value(), 1.99529885456394, 1e-5, "a second space");
    }
}

#[test]
fn the_extra_projections_are_as_wide_as_the_towers_and_the_joint_space() {
    let store = VarStore::new(Device::Cpu);
    let mut cx = Setting::new(&store).cx();
    cx.image = cx.image.map(|tower| Tower { width: 6, ..tower });
    ClipConfig { extra_projections: true, ..Default::default() }.build(&cx).expect("builds");
    let shapes: BTreeMap<String, Vec<i64>> = store.variables().into_iter().map(|(name, value)| (name, value.size())).collect();
    let expected =
        [("logit_scale", vec![]), ("objective.image_projection.weight", vec![8, 6]), ("objective.text_projection.weight", vec![8, 8])];
    assert_eq!(shapes, expected.map(|(name, shape)| (name.to_owned(), shape)).into());
}

#[test]
fn labels_that_are_asked_for_must_be_there() {
    let (image, text) = float_waves();
    let store = VarStore::new(Device::Cpu);
    let objective = ClipConfig { positives: Positives::Labels, ..Default::default() }.build(&Setting::new(&store).cx()).expect("builds");
    let error = objective.loss(&pair_features(&image, &text), &Batch::new(4)).expect_err("no labels").to_string();
    assert!(error.contains("needs data with classes"), "{error}");
}

/// The conformance kit tries the defaults; the same laws hold for each variant.
#[test]
fn the_variants_keep_the_laws_of_objectives() {
    let clip = ClipConfig::default;
    let all = ClipConfig { dcl: true, extra_projections: true, sim_reg_weight: 2.0, positives: Positives::Labels, ..clip() };
    type Named = (&'static str, Box<dyn Config<dyn Objective>>);
    let configs: Vec<Named> = vec![
        ("dcl", Box::new(ClipConfig { dcl: true, ..clip() })),
        ("extra_projections", Box::new(ClipConfig { extra_projections: true, ..clip() })),
        ("sim_reg", Box::new(ClipConfig { sim_reg_weight: 1.0, ..clip() })),
        ("labels", Box::new(ClipConfig { positives: Positives::Labels, ..clip() })),
        ("texts", Box::new(ClipConfig { positives: Positives::Texts, ..clip() })),
        ("one direction", Box::new(ClipConfig { image_weight: 0.0, tile: 2, extra_projections: true, sim_reg_weight: 1.0, ..clip() })),
        ("tile", Box::new(ClipConfig { tile: 4, ..clip() })),
        ("all", Box::new(all.clone())),
        ("all in tiles", Box::new(ClipConfig { tile: 2, ..all })),
        ("siglip labels", Box::new(SiglipConfig { positives: Positives::Labels, ..Default::default() })),
        ("siglip texts in tiles", Box::new(SiglipConfig { positives: Positives::Texts, tile: 4, ..Default::default() })),
    ];
    for (name, config) in configs {
        let laws = [
            ("builds_twice", laws::builds_twice as fn(&laws::ObjectiveOptions) -> _),
            ("needs", laws::needs),
            ("finite", laws::finite),
            ("gradients", laws::gradients),
            ("partition", laws::partition),
            ("permutation", laws::permutation),
            ("aligned", laws::aligned),
            ("cached_step", laws::cached_step),
            ("learns", laws::learns),
        ];
        for (law, holds) in laws {
            let verdict: Result<(), String> = holds(&*config);
            if let Err(why) = verdict {
                panic!("{name} breaks {law}: {why}");
            }
        }
    }
}
