//! The classes of a supervised head.

use std::sync::Arc;

use vlhub_sdk::prelude::*;
use vlhub_sdk::{serde_json, tch};

use crate::counts::Counts;
use crate::read::{batches, checked, rows};

/// How often a supervised head, such as that of `classify`, is right.
///
/// Labels of the data set index the head's classes. A model without such a head is skipped.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct AccuracyConfig {
    /// The labelled pictures: a table as in `[data.train]`.
    pub data: serde_json::Value,
    /// Pictures in one call of the model.
    pub batch: usize,
    /// Report `topK` for each of these K.
    pub topk: Vec<usize>,
}

impl Default for AccuracyConfig {
    fn default() -> Self {
        Self { data: serde_json::json!({ "use": "shapes", "seed": 1 }), batch: 64, topk: vec![1, 5] }
    }
}

impl Config<dyn EvalSuite> for AccuracyConfig {
    fn build(&self, cx: &EvalCx<'_>) -> Result<Box<dyn EvalSuite>> {
        let topk = checked(&self.topk, self.batch)?;
        let data = cx.datasets.open(&self.data).map_err(|error| error.within("`data`"))?;
        if data.classes().is_empty() {
            return Err(Error::Options("the data set has no classes; choose a labelled one".into()));
        }
        Ok(Box::new(Accuracy { data, batch: self.batch, topk }))
    }
}

struct Accuracy {
    data: Arc<dyn Dataset>,
    batch: usize,
    topk: Vec<usize>,
}

impl std::fmt::Debug for Accuracy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accuracy").field("samples", &self.data.len()).finish_non_exhaustive()
    }
}

impl EvalSuite for Accuracy {
    fn requires(&self) -> Requires {
        Requires { images: true, classifier: true, ..Requires::default() }
    }

    fn run(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let lacks = || Error::invalid("the model has no supervised head");
        let classifier = model.skills().classifier.ok_or_else(lacks)?;
        let names = self.data.classes();
        let mut counts = Counts::new(names.len(), &self.topk);
        batches(self.data.as_ref(), names.len(), self.batch, &mut report.skipped, |ready| {
            let scores = classifier.classify(&model.images(&ready.images, false)?)?;
            for (scores, label) in rows(&scores, names.len())?.iter().zip(ready.labels) {
                counts.add(scores, label);
            }
            Ok(())
        })?;
        counts.write(names, report);
        Ok(())
    }
}

register!(dyn EvalSuite, "accuracy", AccuracyConfig);
