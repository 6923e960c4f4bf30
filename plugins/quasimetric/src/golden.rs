//! The distances and the loss against torchqmet and VL Hub, by `tests/golden/iqe.json`, and the worked example.

use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json::{self, Value};
use vlhub_sdk::tch::nn::VarStore;
use vlhub_sdk::testkit::golden::losses::{cases, close, float_waves, matrix, near, number, pair_features};
use vlhub_sdk::testkit::{objective as laws, toy};

use crate::metric::Metric;
use crate::{Compat, IqeConfig, Reduce};

fn build(store: &VarStore, config: &IqeConfig, embed: i64) -> Result<Box<dyn Objective>> {
    config.build(&ObjectiveCx { embed, ..toy::objective_cx(store.root()) })
}

fn loss(store: &VarStore, config: &IqeConfig, image: &Tensor, text: &Tensor) -> Loss {
    let objective = build(store, config, image.size()[1]).expect("builds");
    objective.loss(&pair_features(image, text), &Batch::new(image.size()[0])).expect("a loss")
}

/// Loss to 1e-5, gradients to 1e-4 of their largest entry, for every tile.
fn check(case: &Value, compat: Compat) {
    for tile in [1, 4, 16] {
        let config = IqeConfig {
            component: case["component"].as_i64(),
            reduce: serde_json::from_value(case["reduce"].clone()).expect("a reduction"),
            init_log_scale: number(case, "logit_scale"),
            tile,
            compat,
            ..IqeConfig::default()
        };
        let name = format!("{} with tiles of {tile}", case["name"]);
        let store = VarStore::new(Device::Cpu);
        let (image, text) = (matrix(case, "image").set_requires_grad(true), matrix(case, "text").set_requires_grad(true));
        let loss = loss(&store, &config, &image, &text);
        near(loss.value(), number(case, "loss"), 1e-5, &name);
        loss.total.backward();
        close(&image.grad(), &matrix(case, "image_grad"), 1e-4, &format!("{name}: the images' gradient"));
        close(&text.grad(), &matrix(case, "text_grad"), 1e-4, &format!("{name}: the texts' gradient"));
        for (parameter, value) in store.variables() {
            let key = parameter.rsplit('.').next().expect("a name");
            let (actual, expected) = (value.grad().double_value(&[]), number(case, &format!("{key}_grad")));
            let off = (actual - expected).abs() / expected.abs();
            assert!(off <= 1e-4, "{name}: d loss / d {parameter} is {actual}, not {expected}, off by {off:e}");
        }
    }
}

#[test]
fn loss_and_gradients_equal_torchqmet() {
    cases(env!("CARGO_MANIFEST_DIR"), "iqe", "cases").iter().for_each(|case| check(case, Compat::None));
}

#[test]
fn compat_equals_vl_hub() {
    cases(env!("CARGO_MANIFEST_DIR"), "iqe", "vlhub").iter().for_each(|case| check(case, Compat::Vlhub));
}

#[test]
fn distances_equal_torchqmet() {
    for case in cases(env!("CARGO_MANIFEST_DIR"), "iqe", "cases") {
        let raw_alpha = case["raw_alpha"].as_f64().map(|raw| Tensor::from(raw as f32));
        let metric = Metric { component: case["component"].as_i64().expect("a component"), tile: 1, raw_alpha };
        let unit = |key| vlhub_sdk::ops::normalize(&matrix(&case, key));
        let (image, text) = (unit("image"), unit("text"));
        let rows = image.size()[0];
        for row in 0..rows {
            let there = metric.across(&image.get(row).unsqueeze(0).repeat([rows, 1]), &text);
            close(&there, &matrix(&case, "there").get(row), 1e-6, "from an image to the texts");
            let back = metric.across(&text.get(row).unsqueeze(0).repeat([rows, 1]), &image);
            close(&back, &matrix(&case, "back").get(row), 1e-6, "from a text to the images");
        }
    }
}

#[test]
fn equals_the_worked_example() {
    let (image, text) = float_waves();
    let metric = Metric { component: 4, tile: 1, raw_alpha: None };
    let (i, t) = (vlhub_sdk::ops::normalize(&image), vlhub_sdk::ops::normalize(&text));
    let single = |values: &[f64]| Tensor::from_slice(values).to_kind(Kind::Float);
    let there = [1.1807282923868379, 1.2074103353832981, 1.4254397467399387, 0.8452669491025464];
    let back = [0.9213441405437603, 1.6502612290556815, 1.366663703108307, 0.9839739530813068];
    close(&metric.across(&i, &t), &single(&there), 1e-6, "from images to texts");
    close(&metric.across(&t, &i), &single(&back), 1e-6, "from texts to images");
    for (compat, expected) in [(Compat::None, 4.95745058431232), (Compat::Vlhub, 1.9935521251353956)] {
        let config = IqeConfig { component: Some(4), compat, ..IqeConfig::default() };
        let store = VarStore::new(Device::Cpu);
        near(loss(&store, &config, &image, &text).value(), expected, 1e-5, &format!("{compat:?}"));
    }
}

#[test]
fn vl_hub_s_logits_are_of_rank_one_and_prefer_what_is_far() {
    // Where every image is at its text, VL Hub's logits are all zero; moving pairs apart lowers its loss no less than telling them apart.
    let text = toy::randn(&[6, 16], 5);
    let loss = |compat, image: &Tensor| {
        let config = IqeConfig { compat, ..IqeConfig::default() };
        loss(&VarStore::new(Device::Cpu), &config, image, &text).value()
    };
    near(loss(Compat::Vlhub, &text), 6f64.ln(), 1e-6, "no pair can be told from another");
    assert!(loss(Compat::None, &text) < 1e-3, "each image is nearest to its own text");
}

#[test]
fn a_row_is_at_no_distance_from_itself_and_triangles_hold() {
    let metric = Metric { component: 8, tile: 4, raw_alpha: None };
    let [x, y, z] = [1, 2, 3].map(|seed| toy::randn(&[64, 32], seed));
    assert_eq!(metric.across(&x, &x).abs().max().double_value(&[]), 0.0, "exactly");
    let detour = metric.across(&x, &y) + metric.across(&y, &z) - metric.across(&x, &z);
    assert!(detour.min().double_value(&[]) > -1e-5, "no detour is shorter");
    assert!((metric.across(&x, &y) - metric.across(&y, &x)).abs().max().double_value(&[]) > 0.1, "there is not back");
}

#[test]
fn laws_hold_for_every_option() {
    for (reduce, component, tile) in [(Reduce::MaxMean, 2, 1), (Reduce::Sum, 1, 4), (Reduce::Sum, 4, 100)] {
        let config = IqeConfig { reduce, component: Some(component), tile, ..IqeConfig::default() };
        for law in [laws::gradients, laws::partition, laws::permutation, laws::aligned, laws::cached_step, laws::learns] {
            law(&config).unwrap_or_else(|why| panic!("{config:?}: {why}"));
        }
    }
    let config = IqeConfig { compat: Compat::Vlhub, ..IqeConfig::default() };
    for law in [laws::gradients, laws::partition, laws::permutation, laws::cached_step] {
        law(&config).unwrap_or_else(|why| panic!("compat: {why}"));
    }
}

#[test]
fn without_a_graph_there_is_a_loss_all_the_same() {
    let (image, text) = float_waves();
    let (one, other) = (VarStore::new(Device::Cpu), VarStore::new(Device::Cpu));
    let expected = loss(&one, &IqeConfig::default(), &image, &text).value();
    let value = vlhub_sdk::tch::no_grad(|| loss(&other, &IqeConfig::default(), &image, &text).value());
    near(value, expected, 1e-7, "without a graph");
}

#[test]
fn the_component_fits_the_joint_width() {
    for (component, width, expected) in [
        (None, 512, Ok("start")),
        (None, 8, Ok("start")),
        (None, 4, Ok("start")),
        (None, 509, Err("largest divisor up to 16 is 1")),
        (Some(16), 520, Err("near it are 13 and 20")),
        (Some(600), 512, Err("near it are 512")),
        (Some(0), 512, Err("at least one")),
        (Some(-3), 512, Err("at least one")),
    ] {
        let store = VarStore::new(Device::Cpu);
        let built = build(&store, &IqeConfig { component, ..IqeConfig::default() }, width);
        match (built, expected) {
            (Ok(_), Ok(_)) => {}
            (Err(error), Err(word)) => {
                let error = error.to_string();
                assert!(error.contains("`component`") && error.contains(word), "{component:?} of {width}: {error}");
                assert!(store.is_empty(), "{error}: nothing was made");
            }
            (built, _) => panic!("{component:?} of {width}: {built:?}"),
        }
    }
}

#[test]
fn options_that_mean_nothing_are_refused_by_name() {
    for (config, word) in [
        (IqeConfig { pairs: vec![], ..IqeConfig::default() }, "`pairs`"),
        (IqeConfig { max_scale: 0.5, ..IqeConfig::default() }, "`max_scale`"),
        (IqeConfig { init_log_scale: f64::NAN, ..IqeConfig::default() }, "`init_log_scale`"),
        (IqeConfig { tile: 0, ..IqeConfig::default() }, "`tile`"),
    ] {
        let store = VarStore::new(Device::Cpu);
        let error = build(&store, &config, 8).expect_err(word).to_string();
        assert!(error.contains(word), "{word}: {error}");
        assert!(store.is_empty(), "{word}: nothing was made");
    }
}

#[test]
fn the_scale_stays_between_one_and_its_bound() {
    for (start, end) in [(9.0, 100f64.ln()), (-1.0, 0.0), (2.0, 2.0)] {
        let store = VarStore::new(Device::Cpu);
        let config = IqeConfig { init_log_scale: start, ..IqeConfig::default() };
        let mut objective = build(&store, &config, 8).expect("builds");
        objective.after_step(&Features::new(0..0, 0), 1.0).expect("clamps");
        near(store.variables()["logit_scale"].double_value(&[]), end, 1e-6, "the scale after a step");
    }
}
