//! The objective against timm, torch and VL Hub, and its own rules.

use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json::{self, Value, json};
use vlhub_sdk::tch::nn::VarStore;
use vlhub_sdk::testkit::toy::{Seeded, randn};
use vlhub_sdk::{Tower, tch};

use crate::beta::beta;
use crate::mix::{Mix, Patch};
use crate::{ClassifyConfig, Criterion, Several};

#[track_caller]
fn close(actual: f64, expected: f64, tolerance: f64, why: &str) {
    let allowed = tolerance * expected.abs().max(1.0);
    assert!((actual - expected).abs() <= allowed, "{why}: {actual} is not {expected} within {allowed:e}");
}

fn golden() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/classify.json");
    let text = std::fs::read_to_string(file).expect("tests/golden/classify.py writes it");
    serde_json::from_str(&text).expect("JSON")
}

/// Nested lists of numbers as a tensor.
fn tensor(value: &Value) -> Tensor {
    match value.as_array() {
        Some(list) => Tensor::stack(&list.iter().map(tensor).collect::<Vec<_>>(), 0),
        None => Tensor::from(value.as_f64().expect("a number") as f32),
    }
}

fn labels(rows: &[&[i64]]) -> Tensor {
    Tensor::stack(&rows.iter().map(|row| Tensor::from_slice(row)).collect::<Vec<_>>(), 0)
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn cx(store: &VarStore, width: i64) -> ObjectiveCx<'_> {
    let image = Tower { input: InputSpec::Image { size: (4, 4), mean: [0.0; 3], std: [1.0; 3] }, width };
    let path = store.root() / "objective" / "classify";
    ObjectiveCx { path, shared: store.root(), embed: 8, image: Some(image), text: None, teachers: Vec::new() }
}

fn set(store: &VarStore, name: &str, value: &Tensor) {
    tch::no_grad(|| store.variables()[&format!("objective.classify.{name}")].shallow_clone().copy_(value));
}

/// An objective whose head passes its features on as logits.
fn passing(store: &VarStore, config: &ClassifyConfig) -> Box<dyn Objective> {
    let objective = config.build(&cx(store, config.classes)).expect("builds");
    set(store, "weight", &Tensor::eye(config.classes, (Kind::Float, Device::Cpu)));
    objective
}

fn features(view: &str, pooled: &Tensor) -> Features {
    let rows = pooled.size()[0];
    let mut features = Features::new(0..rows, rows);
    features.insert(
        Modality::Image,
        view,
        Encoded { embed: Tensor::zeros([rows, 8], (Kind::Float, Device::Cpu)), pooled: pooled.shallow_clone(), tokens: None },
    );
    features
}

fn batch(labels: &Tensor) -> Batch {
    let rows = labels.size()[0];
    let mut batch = Batch::new(rows);
    batch.set_extra(Batch::LABELS, labels.shallow_clone()).expect("as many rows");
    batch.set_image("main", randn(&[rows, 3, 4, 4], 3)).expect("as many rows");
    batch
}

/// The weight and the loss of logits.
fn measured(config: &ClassifyConfig, logits: &Tensor, rows: &[&[i64]]) -> (f64, f64, f64) {
    let store = VarStore::new(Device::Cpu);
    let objective = passing(&store, config);
    let batch = batch(&labels(rows));
    let loss = objective.loss(&features("main", logits), &batch).expect("a loss");
    (objective.weight(&batch), loss.value(), loss.metrics[0].1)
}

fn of(classes: i64) -> ClassifyConfig {
    ClassifyConfig { classes, ..Default::default() }
}

#[test]
fn losses_and_gradients_equal_the_references() {
    let golden = golden();
    let cases = golden["cases"].as_array().expect("a list");
    assert_eq!(cases.len(), 15);
    for case in cases {
        let origin = format!("{} of {}", case["name"], golden["origin"]);
        let given: serde_json::Map<String, Value> = serde_json::from_value(case["options"].clone()).expect("options");
        let config: ClassifyConfig = serde_json::from_value(Value::Object(given)).expect("options");
        let store = VarStore::new(Device::Cpu);
        let pooled = tensor(&case["inputs"]["pooled"]).set_requires_grad(true);
        let objective = config.build(&cx(&store, pooled.size()[1])).expect("builds");
        for name in ["weight", "bias"] {
            set(&store, name, &tensor(&case["inputs"][name]));
        }
        let labels = tensor(&case["labels"]).to_kind(Kind::Int64);
        let mut batch = batch(&labels);
        if let Some(share) = case["lambda"].as_f64() {
            Mix { share, patch: None }.apply(&config, &labels, &mut batch).expect("mixes");
        }
        let view = objective.needs()[0].forward.view.clone();
        let loss = objective.loss(&features(&view, &pooled), &batch).expect("a loss");
        close(loss.value(), number(&case["loss"]), 1e-5, &origin);
        loss.total.backward();
        let of = |name: &str| store.variables()[&format!("objective.classify.{name}")].grad();
        for (found, name) in [(pooled.grad(), "pooled"), (of("weight"), "weight"), (of("bias"), "bias")] {
            let wanted = tensor(&case["gradients"][name]);
            let worst = (found - &wanted).abs().max().double_value(&[]) / wanted.abs().max().double_value(&[]);
            assert!(worst <= 1e-4, "{origin}: the gradient of {name} is off by {worst:e} of its largest entry");
        }
    }
}

/// `logits[i][c] = cos(i + c / 2)`, 3 rows of 6 classes: the worked example of the reference specification.
#[test]
fn equals_the_worked_example_of_vl_hub() {
    let values: Vec<f32> = (0..18).map(|at| (f64::from(at / 6) + 0.5 * f64::from(at % 6)).cos() as f32).collect();
    let logits = Tensor::from_slice(&values).view([3, 6]);
    let (_, single, _) = measured(&of(6), &logits, &[&[0], &[5], &[2]]);
    close(single, 1.9430916242798884, 1e-5, "one label a row");
    let rows: [&[i64]; 3] = [&[0, 3, -1, -1], &[5, -1, -1, -1], &[2, 1, 4, -1]];
    let (weight, summed, _) = measured(&ClassifyConfig { several: Several::Sum, ..of(6) }, &logits, &rows);
    assert_eq!(weight, 3.0, "each row counts once");
    close(summed * weight, 11.740545558483518, 1e-5, "VL Hub sums over the rows too");
    let (weight, each, _) = measured(&ClassifyConfig { several: Several::Each, ..of(6) }, &logits, &rows);
    assert_eq!(weight, 6.0, "each label counts once");
    close(each, 1.9567575930805863, 1e-5, "the mean over all labels of the batch");
}

#[test]
fn rectangles_and_their_shares_equal_timm() {
    for case in golden()["boxes"].as_array().expect("a list") {
        let whole = |key: &str| case[key].as_i64().expect(key);
        let at = (case["at"][0].as_i64().expect("y"), case["at"][1].as_i64().expect("x"));
        let mix = Mix::paste(number(&case["lambda"]), whole("height"), whole("width"), at);
        let Patch { top, bottom, left, right } = mix.patch.expect("a rectangle");
        assert_eq!(json!([top, bottom, left, right]), case["box"], "{case}");
        close(mix.share, number(&case["corrected"]), 1e-12, &case.to_string());
    }
}

#[test]
fn mixed_pictures_equal_timm() {
    for case in golden()["pictures"].as_array().expect("a list") {
        let (images, share) = (tensor(&case["images"]), number(&case["lambda"]));
        let mix = match case["at"].as_array() {
            Some(at) => Mix::paste(share, 5, 4, (at[0].as_i64().expect("y"), at[1].as_i64().expect("x"))),
            None => Mix { share, patch: None },
        };
        close(mix.share, number(&case["share"]), 1e-6, "what row 0 keeps of its class");
        let worst = (mix.images(&images) - tensor(&case["mixed"])).abs().max().double_value(&[]);
        assert!(worst < 1e-6, "off by {worst}: share {share}, {:?}", mix.patch);
    }
}

#[test]
fn shares_have_the_beta_distribution() {
    const DRAWS: usize = 20_000;
    let golden = golden();
    let table = golden["beta"].as_array().expect("a list");
    for alpha in [0.1, 0.2, 0.8, 1.0, 4.0] {
        let mut rng = Seeded(5);
        let drawn: Vec<f64> = (0..DRAWS).map(|_| beta(&mut rng, alpha)).collect();
        assert!(drawn.iter().all(|share| (0.0..=1.0).contains(share)), "alpha {alpha}");
        for row in table.iter().filter(|row| row["alpha"] == alpha) {
            let below = drawn.iter().filter(|share| **share <= number(&row["x"])).count() as f64 / DRAWS as f64;
            // Four deviations of a proportion of this many draws.
            assert!((below - number(&row["below"])).abs() < 2.0 / (DRAWS as f64).sqrt(), "{row}: {below}");
        }
    }
    let mut rng = Seeded(6);
    assert!((0..1000).all(|_| (0.0..=1.0).contains(&beta(&mut rng, 1e-4))), "shares stay numbers for the smallest alpha");
}

#[test]
fn mixing_draws_as_often_as_asked_and_leaves_the_view_alone() {
    let config = ClassifyConfig { mixup: 1.0, cutmix: 1.0, switch: 0.25, mix_probability: 0.5, ..of(3) };
    let mut rng = Seeded(7);
    let drawn: Vec<Mix> = (0..4000).map(|_| Mix::draw(&config, 8, 6, &mut rng)).collect();
    let (pasted, blended) = (|mix: &Mix| mix.patch.is_some(), |mix: &Mix| mix.patch.is_none() && mix.share < 1.0);
    for (count, expected, why) in [
        (drawn.iter().filter(|mix| pasted(mix)).count(), 500, "cutmix: half of a quarter"),
        (drawn.iter().filter(|mix| blended(mix)).count(), 1500, "mixup: half of three quarters"),
    ] {
        assert!(count.abs_diff(expected) < 120, "{why}: {count}");
    }
    for (config, why) in
        [(ClassifyConfig { cutmix: 0.0, ..config.clone() }, "mixup"), (ClassifyConfig { mixup: 0.0, ..config.clone() }, "cutmix")]
    {
        let mut rng = Seeded(7);
        let drawn: Vec<Mix> = (0..200).map(|_| Mix::draw(&config, 8, 6, &mut rng)).collect();
        assert_eq!(drawn.iter().any(pasted), why == "cutmix", "{why} alone");
        assert_eq!(drawn.iter().any(blended), why == "mixup", "{why} alone");
    }

    let store = VarStore::new(Device::Cpu);
    let config = ClassifyConfig { mixup: 1.0, ..of(3) };
    let objective = config.build(&cx(&store, 3)).expect("builds");
    assert_eq!(objective.needs(), [Need::image("classify_mixed")]);
    let prepared = |seed| {
        let mut batch = batch(&labels(&[&[0], &[1], &[2], &[-1]]));
        objective.prepare(&mut batch, &mut Seeded(seed)).expect("mixes");
        batch
    };
    let (first, again, other) = (prepared(1), prepared(1), prepared(2));
    let view = |batch: &Batch, name: &str| batch.image(name).expect("it is there").shallow_clone();
    assert!(view(&first, "main").equal(&randn(&[4, 3, 4, 4], 3)), "other objectives read what was loaded");
    assert!(view(&first, "classify_mixed").equal(&view(&again, "classify_mixed")), "one seed, one batch");
    assert!(!view(&first, "classify_mixed").equal(&view(&other, "classify_mixed")), "another seed, another");
    let mut first = first;
    let error = objective.prepare(&mut first, &mut Seeded(1)).expect_err("taken").to_string();
    assert!(error.contains("`mixed_view`"), "{error}");
    assert_eq!(
        of(3).build(&cx(&VarStore::new(Device::Cpu), 3)).expect("builds").needs(),
        [Need::image("main")],
        "nothing is mixed by default"
    );
}

#[test]
fn rows_without_a_label_count_nothing() {
    let logits = randn(&[4, 5], 8) * 3.0;
    for config in [of(5), ClassifyConfig { several: Several::Sum, ..of(5) }, ClassifyConfig { loss: Criterion::Bce, ..of(5) }] {
        let (weight, loss, right) = measured(&config, &logits, &[&[1, -1], &[-1, -1], &[4, 0], &[-1, -1]]);
        let (_, alone, right_alone) = measured(&config, &logits.index_select(0, &Tensor::from_slice(&[0i64, 2])), &[&[1, -1], &[4, 0]]);
        assert_eq!((weight, right), (2.0, right_alone));
        close(loss, alone, 1e-6, "the other rows alone");

        let store = VarStore::new(Device::Cpu);
        let objective = passing(&store, &config);
        let (none, leaf) = (batch(&Tensor::full([4, 2], -1, (Kind::Int64, Device::Cpu))), logits.copy().set_requires_grad(true));
        let loss = objective.loss(&features("main", &leaf), &none).expect("a loss");
        assert_eq!((objective.weight(&none), loss.value(), loss.metrics[0].1), (0.0, 0.0, 0.0));
        loss.total.backward();
        assert_eq!(leaf.grad().abs().max().double_value(&[]), 0.0);
    }
}

#[test]
fn a_partner_without_a_label_leaves_its_share_uncounted() {
    let logits = randn(&[2, 5], 9);
    for config in [of(5), ClassifyConfig { loss: Criterion::Bce, ..of(5) }] {
        let (_, alone, _) = measured(&config, &logits.narrow(0, 0, 1), &[&[3]]);
        let (_, other, _) = measured(&config, &logits.narrow(0, 1, 1), &[&[3]]);
        let store = VarStore::new(Device::Cpu);
        let config = ClassifyConfig { mixup: 1.0, ..config };
        let objective = passing(&store, &config);
        let labels = labels(&[&[3], &[-1]]);
        let mut batch = batch(&labels);
        Mix { share: 0.75, patch: None }.apply(&config, &labels, &mut batch).expect("mixes");
        close(objective.weight(&batch), 1.0, 1e-6, "three quarters of the one picture and a quarter of the other");
        let loss = objective.loss(&features("classify_mixed", &logits), &batch).expect("a loss").value();
        close(loss, 0.75 * alone + 0.25 * other, 1e-6, "each by its share");
    }
}

#[test]
fn a_guess_is_right_when_the_row_has_it() {
    let logits = Tensor::from_slice(&[9.0f32, 1.0, 0.0, 2.0, 8.0, 0.0, 1.0, 0.0, 7.0]).view([3, 3]);
    let rows: [&[i64]; 3] = [&[1, 0], &[1, -1], &[0, 1]];
    assert_eq!(measured(&of(3), &logits, &rows).2, 2.0 / 3.0, "of the rows");
    let (_, _, right) = measured(&ClassifyConfig { several: Several::Each, ..of(3) }, &logits, &rows);
    assert_eq!(right, 3.0 / 5.0, "rows count by their labels");
}

#[test]
fn large_logits_are_exact() {
    let logits = Tensor::from_slice(&[20.0f32, -20.0, 500.0, -500.0]).view([2, 2]);
    let (_, softmax, _) = measured(&of(2), &logits, &[&[1], &[1]]);
    close(softmax, 520.0, 1e-7, "(40 + 1000) / 2");
    let binary = ClassifyConfig { loss: Criterion::Bce, ..of(2) };
    let (_, right, _) = measured(&binary, &logits, &[&[0], &[0]]);
    // Of four answers the two of row 0 lose e^-20 each.
    let expected = (-20f64).exp() / 2.0;
    assert!((right / expected - 1.0).abs() < 1e-5, "{right} for {expected}: the small loss of a sure guess is not rounded away");
}

#[test]
fn a_label_outside_of_the_classes_is_named() {
    let config = of(3);
    let store = VarStore::new(Device::Cpu);
    let objective = config.build(&cx(&store, 3)).expect("builds");
    let logits = features("main", &randn(&[2, 3], 10));
    for (rows, words) in
        [([[0i64, 1], [3, -1]], "row 1 of the batch has the label 3, which is outside of 0..3"), ([[-2, 0], [1, 2]], "the label -2")]
    {
        let mut batch = batch(&labels(&[&rows[0], &rows[1]]));
        assert!(objective.weight(&batch).is_nan(), "the engine refuses it");
        for error in
            [objective.prepare(&mut batch, &mut Seeded(1)).expect_err(words), objective.loss(&logits, &batch).map(drop).expect_err(words)]
        {
            assert!(error.to_string().contains(words), "{error}");
        }
    }
    let error = objective.prepare(&mut Batch::new(2), &mut Seeded(1)).expect_err("no labels").to_string();
    assert!(error.contains("no class labels") && error.contains("`labels`"), "{error}");
}

#[test]
fn options_that_mean_nothing_are_told_of_together() {
    let softmax = ClassifyConfig {
        classes: 0,
        view: String::new(),
        label_smoothing: 1.0,
        sum_classes: true,
        target_threshold: Some(f64::NAN),
        mixup: -1.0,
        cutmix: 1.0,
        switch: 2.0,
        mix_probability: f64::NAN,
        mixed_view: String::new(),
        ..Default::default()
    };
    let both = "`loss = \"bce\"`";
    let words = [
        "write the number of classes",
        "`view` is empty",
        "`label_smoothing` is 1",
        "`target_threshold` is NaN",
        "`mixup` is -1",
        "`switch` is 2",
        "`mix_probability` is NaN",
        "`mixed_view` is ``",
        "`sum_classes` goes with",
        "`target_threshold` goes with",
        both,
        "`[backbone.image]`",
    ];
    let binary = ClassifyConfig { loss: Criterion::Bce, several: Several::Sum, mixup: 1.0, mixed_view: "main".into(), ..of(1) };
    for (config, words) in [
        (softmax, &words[..]),
        (binary, &["`several` goes with", "`mixed_view` is `main`"]),
        (of(1), &["`classes` is 1", "bce"]),
        (ClassifyConfig { cutmix: f64::INFINITY, ..of(2) }, &["`cutmix` is inf"]),
    ] {
        let store = VarStore::new(Device::Cpu);
        let mut cx = cx(&store, 3);
        cx.image = cx.image.filter(|_| config.classes > 0);
        let error = config.build(&cx).expect_err("refused").to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        assert!(store.is_empty(), "nothing was made");
    }
}

#[test]
fn it_predicts_and_starts_as_timm_does() {
    let store = VarStore::new(Device::Cpu);
    let objective = ClassifyConfig { mixup: 1.0, ..of(50) }.build(&cx(&store, 40)).expect("builds");
    let variables = store.variables();
    let [weight, bias] = ["weight", "bias"].map(|name| variables[&format!("objective.classify.{name}")].shallow_clone());
    assert_eq!((variables.len(), weight.size(), bias.size()), (2, vec![50, 40], vec![50]));
    close(weight.std(true).double_value(&[]), 0.02, 0.002, "the deviation of a new head");
    assert_eq!(bias.abs().max().double_value(&[]), 0.0);
    let pooled = randn(&[6, 40], 11);
    let images = Encoded { embed: pooled.shallow_clone(), pooled: pooled.shallow_clone(), tokens: None };
    let logits = objective.skills().classifier.expect("it predicts").classify(&images).expect("logits");
    assert!(logits.allclose(&pooled.matmul(&weight.tr()), 1e-5, 1e-6, false), "of any view, never mixed");
}
