//! What the tests of both losses share: the worked example, and the numbers that open_clip gave.

use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::nn::{Path, VarStore};
use vlhub_sdk::{Modality, Tower, serde_json};

/// `actual.close(expected, relative tolerance, why)`.
pub(crate) trait Close {
    fn close(self, expected: f64, tolerance: f64, why: &str);
}

impl Close for f64 {
    #[track_caller]
    fn close(self, expected: f64, tolerance: f64, why: &str) {
        let allowed = tolerance * expected.abs().max(1.0);
        assert!((self - expected).abs() <= allowed, "{why}: {self} is not {expected} within {allowed:e}");
    }
}

/// Where an objective of these tests makes its parameters.
pub(crate) struct Setting<'a> {
    root: Path<'a>,
}

impl<'a> Setting<'a> {
    pub(crate) fn new(store: &'a VarStore) -> Self {
        Self { root: store.root() }
    }

    pub(crate) fn cx(&self) -> ObjectiveCx<'a> {
        let image = InputSpec::Image { size: (4, 4), mean: [0.0; 3], std: [1.0; 3] };
        let text = InputSpec::Text { context: 5, vocab: 10, pad: 0, truncates: false };
        ObjectiveCx {
            path: self.root.clone() / "objective",
            shared: self.root.clone(),
            embed: 8,
            image: Some(Tower { input: image, width: 8 }),
            text: Some(Tower { input: text, width: 8 }),
            teachers: Vec::new(),
        }
    }

    pub(crate) fn loss(&self, config: &impl Config<dyn Objective>, image: &Tensor, text: &Tensor) -> Loss {
        let objective = config.build(&self.cx()).expect("builds");
        objective.loss(&features(image, text), &Batch::new(image.size()[0])).expect("a loss")
    }
}

/// `I[i][j] = sin(.5 + 1.3 i + .7 j)` and `T[i][j] = cos(.2 + .9 i + 1.1 j)`, 4 rows of 8: the inputs of every worked example.
pub(crate) fn waves() -> (Tensor, Tensor) {
    let wave = |f: &dyn Fn(f64, f64) -> f64| {
        let values: Vec<f32> = (0..32).map(|at| f(f64::from(at / 8), f64::from(at % 8)) as f32).collect();
        Tensor::from_slice(&values).view([4, 8])
    };
    (wave(&|i, j| (0.5 + 1.3 * i + 0.7 * j).sin()), wave(&|i, j| (0.2 + 0.9 * i + 1.1 * j).cos()))
}

pub(crate) fn encoded(embed: &Tensor) -> Encoded {
    Encoded { embed: embed.shallow_clone(), pooled: embed.shallow_clone(), tokens: None }
}

pub(crate) fn features(image: &Tensor, text: &Tensor) -> Features {
    let rows = image.size()[0];
    let mut features = Features::new(0..rows, rows);
    features.insert(Modality::Image, "main", encoded(image));
    features.insert(Modality::Text, "main", encoded(text));
    features
}

/// One case of `tests/golden/contrastive.json`.
pub(crate) struct Case {
    values: serde_json::Value,
    origin: String,
}

/// The cases of one loss.
pub(crate) fn cases(loss: &str) -> Vec<Case> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/contrastive.json");
    let text = std::fs::read_to_string(file).expect("tests/golden/contrastive.py writes it");
    let golden: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let all = golden["cases"].as_array().expect("a list of cases");
    let of_loss: Vec<_> = all
        .iter()
        .filter(|case| case["loss_name"] == loss)
        .map(|case| Case { origin: format!("{loss} {} of {}", case["name"], golden["origin"]), values: case.clone() })
        .collect();
    assert!(of_loss.len() >= 2, "the file has cases of {loss}");
    of_loss
}

impl Case {
    pub(crate) fn number(&self, key: &str) -> f64 {
        self.values[key].as_f64().expect(key)
    }

    fn matrix(&self, key: &str) -> Tensor {
        let rows: Vec<Vec<f32>> = serde_json::from_value(self.values[key].clone()).expect(key);
        Tensor::stack(&rows.iter().map(|row| Tensor::from_slice(row)).collect::<Vec<_>>(), 0)
    }

    /// Loss to 1e-5, gradients to 1e-4 of their largest entry.
    pub(crate) fn check(&self, store: &VarStore, config: &impl Config<dyn Objective>) {
        let (image, text) = (self.matrix("image").set_requires_grad(true), self.matrix("text").set_requires_grad(true));
        let loss = Setting::new(store).loss(config, &image, &text);
        loss.value().close(self.number("loss"), 1e-5, &self.origin);
        loss.total.backward();
        for (leaf, key) in [(&image, "image_grad"), (&text, "text_grad")] {
            let expected = self.matrix(key);
            let worst = (leaf.grad() - &expected).abs().max().double_value(&[]) / expected.abs().max().double_value(&[]);
            assert!(worst <= 1e-4, "{}: {key} is off by {worst:e} of its largest entry", self.origin);
        }
        for (name, parameter) in store.variables() {
            let expected = self.number(&format!("{name}_grad"));
            let actual = parameter.grad().double_value(&[]);
            assert!((actual - expected).abs() <= 1e-4 * expected.abs().max(1e-3), "{}: {name}: {actual} for {expected}", self.origin);
        }
    }
}
