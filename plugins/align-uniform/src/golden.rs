//! Both terms against Wang and Isola's code and VL Hub's, by `tests/golden/align_uniform.json`, and the worked example.

use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json::{self, Value};
use vlhub_sdk::tch::nn::VarStore;
use vlhub_sdk::testkit::golden::losses::{cases, close, encoded, float_waves, matrix, near, number, pair_features};
use vlhub_sdk::testkit::{objective as laws, toy};

use crate::{AlignUniformConfig, On};

fn build(store: &VarStore, config: &AlignUniformConfig) -> Result<Box<dyn Objective>> {
    config.build(&toy::objective_cx(store.root()))
}

fn loss(store: &VarStore, config: &AlignUniformConfig, image: &Tensor, text: &Tensor) -> Loss {
    let objective = build(store, config).expect("builds");
    objective.loss(&pair_features(image, text), &Batch::new(image.size()[0])).expect("a loss")
}

fn shown(loss: &Loss, name: &str) -> f64 {
    loss.metrics.iter().find(|(known, _)| *known == name).expect("it is shown").1
}

/// Loss to 1e-5, gradients to 1e-4 of their largest entry.
fn check(case: &Value) -> Loss {
    let name = case["name"].to_string();
    let config: AlignUniformConfig = serde_json::from_value(case["options"].clone()).expect("options");
    let store = VarStore::new(Device::Cpu);
    let (image, text) = (matrix(case, "image").set_requires_grad(true), matrix(case, "text").set_requires_grad(true));
    let loss = loss(&store, &config, &image, &text);
    near(loss.value(), number(case, "loss"), 1e-5, &name);
    loss.total.backward();
    close(&image.grad(), &matrix(case, "image_grad"), 1e-4, &format!("{name}: the images' gradient"));
    close(&text.grad(), &matrix(case, "text_grad"), 1e-4, &format!("{name}: the texts' gradient"));
    for (parameter, value) in store.variables() {
        let (actual, expected) = (value.grad().double_value(&[]), number(case, &format!("{parameter}_grad")));
        let off = (actual - expected).abs() / expected.abs();
        assert!(off <= 1e-4, "{name}: d loss / d {parameter} is {actual}, not {expected}, off by {off:e}");
    }
    loss
}

#[test]
fn on_features_it_equals_wang_and_isola() {
    for case in cases(env!("CARGO_MANIFEST_DIR"), "align_uniform", "features") {
        let loss = check(&case);
        for name in ["align", "uniform_image", "uniform_text"] {
            near(shown(&loss, name), number(&case, name), 1e-5, name);
        }
    }
}

#[test]
fn on_logits_it_equals_vl_hub_and_does_not_underflow() {
    let mut underflowed = 0;
    for case in cases(env!("CARGO_MANIFEST_DIR"), "align_uniform", "logits") {
        let loss = check(&case);
        match case["single"].as_str() {
            Some("-inf") => {
                underflowed += 1;
                assert!(loss.value().is_finite(), "VL Hub's loss is -inf in single precision; ours is what it is in double precision");
            }
            single => near(loss.value(), single.and_then(|single| single.parse().ok()).expect("a number"), 1e-5, "single precision"),
        }
    }
    assert_eq!(underflowed, 1, "at the scale at which CLIP starts");
}

#[test]
fn equals_the_worked_example() {
    let (image, text) = float_waves();
    let on = |on| loss(&VarStore::new(Device::Cpu), &AlignUniformConfig { on, ..AlignUniformConfig::default() }, &image, &text);
    for (loss, expected) in [
        (on(On::Features), [2.496484278719409, -3.4555280779024313, -2.1831226220575055, -0.3228410712605594]),
        (on(On::Logits), [431.99146584192897, -307.2450733716798, -173.1631376479846, 191.78736033209674]),
    ] {
        let [align, uniform_image, uniform_text, total] = expected;
        near(shown(&loss, "align"), align, 1e-5, "alignment");
        near(shown(&loss, "uniform_image"), uniform_image, 1e-5, "uniformity of images");
        near(shown(&loss, "uniform_text"), uniform_text, 1e-5, "uniformity of texts");
        near(loss.value(), total, 1e-5, "the total");
    }
}

#[test]
fn a_narrow_cone_keeps_its_gradient() {
    // Rows that differ by a thousandth, as from a tower before training: squared distances are a millionth of the squares they are made of.
    let cone = (toy::randn(&[1, 32], 3) + toy::randn(&[256, 32], 4) * 1e-3, toy::randn(&[1, 32], 5) + toy::randn(&[256, 32], 6) * 1e-3);
    let gradient = |kind: Kind| {
        let (image, text) = (cone.0.detach().to_kind(kind).set_requires_grad(true), cone.1.detach().to_kind(kind).set_requires_grad(true));
        let config = AlignUniformConfig { align_weight: 0.0, ..AlignUniformConfig::default() };
        loss(&VarStore::new(Device::Cpu), &config, &image, &text).total.backward();
        (image.grad().to_kind(Kind::Double), text.grad().to_kind(Kind::Double))
    };
    let (single, double) = (gradient(Kind::Float), gradient(Kind::Double));
    close(&single.0, &double.0, 1e-4, "of images, limited by the digits of unit features");
    close(&single.1, &double.1, 1e-4, "of texts, limited by the digits of unit features");
}

#[test]
fn equal_rows_and_single_rows_have_finite_gradients() {
    for (alpha, rows) in [(2.0, 4), (1.0, 4), (0.5, 4), (2.0, 1)] {
        let same = toy::randn(&[1, 8], 3).repeat([rows, 1]).set_requires_grad(true);
        let config = AlignUniformConfig { alpha, ..AlignUniformConfig::default() };
        let loss = loss(&VarStore::new(Device::Cpu), &config, &same, &same);
        near(loss.value(), 0.0, 1e-5, "all in one place");
        loss.total.backward();
        assert_eq!(same.grad().isfinite().all().int64_value(&[]), 1, "alpha {alpha}, {rows} rows");
    }
}

#[test]
fn several_pairs_are_averaged() {
    let (image, text) = float_waves();
    let of = |image: &Tensor, text: &Tensor| {
        let config = AlignUniformConfig::default();
        loss(&VarStore::new(Device::Cpu), &config, image, text).value()
    };
    let pairs = [("main", "main"), ("main", "eda")].map(|(image, text)| (image.to_owned(), text.to_owned())).to_vec();
    let store = VarStore::new(Device::Cpu);
    let objective = build(&store, &AlignUniformConfig { pairs, ..AlignUniformConfig::default() }).expect("builds");
    assert_eq!(objective.needs(), [Need::image("main"), Need::text("eda"), Need::text("main")], "one forward for each view");
    let mut features = pair_features(&image, &text);
    features.insert(Modality::Text, "eda", encoded(&image));
    let loss = objective.loss(&features, &Batch::new(4)).expect("a loss").value();
    near(loss, (of(&image, &text) + of(&image, &image)) / 2.0, 1e-6, "the mean over the two pairs");
}

#[test]
fn laws_hold_for_every_option() {
    for config in [
        AlignUniformConfig { alpha: 1.0, t: 0.5, ..AlignUniformConfig::default() },
        AlignUniformConfig { align_weight: 0.5, uniform_weight: 3.0, ..AlignUniformConfig::default() },
        AlignUniformConfig { on: On::Logits, init_log_scale: 1.0, ..AlignUniformConfig::default() },
        AlignUniformConfig { on: On::Logits, ..AlignUniformConfig::default() },
    ] {
        for law in [laws::finite, laws::gradients, laws::partition, laws::permutation, laws::cached_step, laws::learns] {
            law(&config).unwrap_or_else(|why| panic!("{config:?}: {why}"));
        }
    }
}

#[test]
fn only_logits_have_a_scale() {
    for (on, names) in [(On::Features, vec![]), (On::Logits, vec!["logit_scale"])] {
        let store = VarStore::new(Device::Cpu);
        let config = AlignUniformConfig { on, init_log_scale: 9.0, ..AlignUniformConfig::default() };
        let mut objective = build(&store, &config).expect("builds");
        assert_eq!(store.variables().keys().collect::<Vec<_>>(), names);
        objective.after_step(&Features::new(0..0, 0), 1.0).expect("clamps");
        for scale in store.variables().values() {
            near(scale.double_value(&[]), 100f64.ln(), 1e-6, "kept below its bound");
        }
    }
}

#[test]
fn options_that_mean_nothing_are_refused_by_name() {
    let default = AlignUniformConfig::default;
    for (config, word) in [
        (AlignUniformConfig { pairs: vec![], ..default() }, "`pairs`"),
        (AlignUniformConfig { alpha: 0.0, ..default() }, "`alpha`"),
        (AlignUniformConfig { t: -1.0, ..default() }, "`t`"),
        (AlignUniformConfig { align_weight: f64::NAN, ..default() }, "`align_weight`"),
        (AlignUniformConfig { uniform_weight: -1.0, ..default() }, "`uniform_weight`"),
        (AlignUniformConfig { align_weight: 0.0, uniform_weight: 0.0, ..default() }, "both 0"),
        (AlignUniformConfig { max_scale: 0.5, ..default() }, "`max_scale`"),
        (AlignUniformConfig { on: On::Logits, init_log_scale: f64::INFINITY, ..default() }, "`init_log_scale`"),
    ] {
        let store = VarStore::new(Device::Cpu);
        let error = build(&store, &config).expect_err(word).to_string();
        assert!(error.contains(word), "{word}: {error}");
        assert!(store.is_empty(), "{word}: nothing was made");
    }
}
