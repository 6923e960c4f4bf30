//! The classes of a supervised head.

use std::sync::Arc;

use vlhub_sdk::prelude::*;
use vlhub_sdk::{serde_json, tch};

use crate::counts::Counts;
use crate::read::{batches, checked, rows};

/// How often a supervised head, such as that of `classify`, is right.
///
/// Labels of the data set index the head's classes; one outside of them is an error. A model without such a head is skipped.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct AccuracyConfig {
    /// The labelled pictures: a table as in `[data.train]`.
    pub data: serde_json::Value,
    /// Pictures in one call of the model.
    pub batch: usize,
    /// Report `topK` for each of these K. More than the number of classes counts as all of them.
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
        let data = cx.datasets.open_for(&self.data, Wants::NOTHING.label(Want::Optional)).map_err(|error| error.within("`data`"))?;
        // Labels may come without names. That there are none must not be found out after the last step of a run.
        if data.classes().is_empty() && data.samples().find_map(Result::ok).is_some_and(|sample| sample.label.is_none()) {
            return Err(Error::Options("`data` has no labels; choose a labelled data set".into()));
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
        // How many classes the head has shows in its first scores.
        let (mut counts, mut width) = (Counts::new(0, &self.topk), 0);
        batches(self.data.as_ref(), None, self.batch, &mut report.skipped, |ready| {
            let scores = classifier.classify(&model.images(&ready.images, false)?)?;
            if width == 0 {
                width = scores.size().get(1).map_or(0, |width| *width as usize);
                counts = Counts::new(width, &self.topk);
            }
            for ((scores, label), key) in rows(&scores, width, &ready.keys)?.iter().zip(ready.labels).zip(ready.keys) {
                if !(0..width as i64).contains(&label) {
                    return Err(Error::invalid(format!("{key}: label {label} is not in 0..{width}, the classes of the supervised head")));
                }
                counts.add(scores, label as usize);
            }
            Ok(())
        })?;
        let names = self.data.classes();
        if !names.is_empty() && names.len() != width {
            let text = format!("the data set has {} classes, the head {width}; labels were read as the head's", names.len());
            report.notes.push(text);
        }
        let name = |at: usize| names.get(at).cloned().unwrap_or_else(|| format!("class {at}"));
        counts.write(&(0..width).map(name).collect::<Vec<_>>(), report);
        Ok(())
    }
}

register!(dyn EvalSuite, "accuracy", AccuracyConfig);
