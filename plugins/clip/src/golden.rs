//! What the tests of both losses share: the worked example, and the numbers that open_clip gave.

use vlhub_sdk::Tower;
use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json::Value;
use vlhub_sdk::tch::nn::{Path, VarStore};
use vlhub_sdk::testkit::golden::losses;

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
        objective.loss(&losses::pair_features(image, text), &Batch::new(image.size()[0])).expect("a loss")
    }
}

/// One case of `tests/golden/contrastive.json`.
pub(crate) struct Case {
    values: Value,
    origin: String,
}

/// The cases of one loss.
pub(crate) fn cases(loss: &str) -> Vec<Case> {
    let all = losses::cases(env!("CARGO_MANIFEST_DIR"), "contrastive", "cases").into_iter().filter(|case| case["loss_name"] == loss);
    let of_loss: Vec<_> = all.map(|values| Case { origin: format!("{loss} {} of open_clip", values["name"]), values }).collect();
    assert!(of_loss.len() >= 2, "the file has cases of {loss}");
    of_loss
}

impl Case {
    pub(crate) fn number(&self, key: &str) -> f64 {
        losses::number(&self.values, key)
    }

    /// Loss to 1e-5, gradients to 1e-4 of their largest entry.
    pub(crate) fn check(&self, store: &VarStore, config: &impl Config<dyn Objective>) {
        let [image, text] = ["image", "text"].map(|key| losses::matrix(&self.values, key).set_requires_grad(true));
        let loss = Setting::new(store).loss(config, &image, &text);
        losses::near(loss.value(), self.number("loss"), 1e-5, &self.origin);
        loss.total.backward();
        for (leaf, key) in [(&image, "image_grad"), (&text, "text_grad")] {
            losses::close(&leaf.grad(), &losses::matrix(&self.values, key), 1e-4, &format!("{}: {key}", self.origin));
        }
        for (name, parameter) in store.variables() {
            let expected = self.number(&format!("{name}_grad"));
            let actual = parameter.grad().double_value(&[]);
            assert!((actual - expected).abs() <= 1e-4 * expected.abs().max(1e-3), "{}: {name}: {actual} for {expected}", self.origin);
        }
    }
}
