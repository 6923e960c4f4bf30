//! The loss. Replace its mathematics by yours; `tests/conformance.rs` says whether it still keeps the laws.

use vlhub_sdk::ops::normalize;
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;

/// Hinge over the whole batch: every wrong pair must be less similar than the right one, by a margin.
///
/// The sum of hinges of Kiros et al. (2014), with the mean over the wrong pairs in place of their sum, so that the loss does not grow with the
/// batch.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct MyLossConfig {
    /// How much more similar (cosine) the right pair must be; above 0.
    pub margin: f64,
}

impl Default for MyLossConfig {
    fn default() -> Self {
        Self { margin: 0.2 }
    }
}

impl Config<dyn Objective> for MyLossConfig {
    fn build(&self, _cx: &ObjectiveCx<'_>) -> Result<Box<dyn Objective>> {
        let mut problems = OptionProblems::default();
        problems.positive("margin", self.margin);
        problems.finish()?;
        Ok(Box::new(MyLoss { margin: self.margin }))
    }
}

#[derive(Debug)]
struct MyLoss {
    margin: f64,
}

impl MyLoss {
    /// Sum over the own rows of `anchors` of the mean hinge over all other rows.
    ///
    /// # Shapes
    /// - anchors, others: `[N, D]`, unit rows; returns a scalar.
    fn half(&self, anchors: &Tensor, others: &Tensor, features: &Features) -> Tensor {
        let start = features.own().start;
        let similarity = features.own_rows(anchors).matmul(&others.tr());
        let right = similarity.diagonal(start, 0, 1).unsqueeze(1);
        let hinge = (&similarity - right + self.margin).relu();
        // The right pair itself counts as exactly one margin.
        (hinge.sum(Kind::Float) - self.margin * similarity.size()[0] as f64) / (features.total() - 1).max(1) as f64
    }
}

impl Objective for MyLoss {
    fn scope(&self) -> Scope {
        Scope::Batch
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::image("main"), Need::text("main")]
    }

    fn loss(&self, features: &Features, _batch: &Batch) -> Result<Loss> {
        let image = normalize(&features.image("main")?.embed);
        let text = normalize(&features.text("main")?.embed);
        let sum = self.half(&image, &text, features) + self.half(&text, &image, features);
        Ok(Loss::from(sum / features.total() as f64))
    }
}

register!(dyn Objective, "my_loss", MyLossConfig);
