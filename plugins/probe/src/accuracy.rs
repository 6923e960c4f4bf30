//! The classes of a supervised head.

use std::sync::Arc;

use vlhub_sdk::prelude::*;
use vlhub_sdk::suites::{ClassList, ClassMatch, Counts, checked_topk, read_labelled, score_rows};
use vlhub_sdk::{serde_json, tch};

/// How often a supervised head, such as that of `classify`, is right.
///
/// Classes are matched by name: the head has those of the data that it was trained on, and a class that it does not know is refused. Where either
/// side has no names, labels index the head's classes, and a note says so. A model without such a head is skipped.
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
        let topk = checked_topk(&self.topk, self.batch)?;
        let data = cx.datasets.open_for(&self.data, Wants::NOTHING.label(Want::Optional)).map_err(|error| error.within("`data`"))?;
        // Labels may come without names. That there are none must not be found out after the last step of a run.
        if data.classes().is_empty() && data.samples().find_map(Result::ok).is_some_and(|sample| sample.labels.is_empty()) {
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

impl Accuracy {
    /// The data set's labels as classes of the head, and what the head's classes are called.
    fn classes(&self, skills: &Skills<'_>) -> Result<(ClassMatch, Vec<String>)> {
        let classifier = skills.classifier.ok_or_else(|| Error::invalid("the model has no supervised head"))?;
        let (width, data) = (classifier.classes(), self.data.classes());
        let known = ClassList { owner: "the supervised head", names: skills.classes, count: Some(width) };
        if !known.names.is_empty() && known.names.len() > width {
            let text = format!("the supervised head has {width} classes, and {} names are known of them", known.names.len());
            return Err(Error::invalid(text));
        }
        let matched = ClassMatch::new(&ClassList::named("`data`", data), &known)?;
        let names = if known.names.is_empty() { data } else { known.names };
        let name = |at: usize| names.get(at).cloned().unwrap_or_else(|| format!("class {at}"));
        Ok((matched, (0..width).map(name).collect()))
    }
}

impl EvalSuite for Accuracy {
    fn requires(&self) -> Requires {
        Requires { images: true, classifier: true, ..Requires::default() }
    }

    fn check(&self, skills: &Skills<'_>) -> Result<()> {
        self.classes(skills).map(|_| ())
    }

    fn run(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let skills = model.skills();
        let (matched, names) = self.classes(&skills)?;
        let classifier = skills.classifier.ok_or_else(|| Error::invalid("the model has no supervised head"))?;
        report.notes.extend(matched.note().map(str::to_owned));
        let mut counts = Counts::new(names.len(), &self.topk);
        read_labelled(self.data.as_ref(), &matched, self.batch, &mut report.skipped, |ready| {
            let scores = classifier.classify(&model.images(&ready.images, false)?)?;
            counts.add_batch(&score_rows(&scores, names.len(), &ready.keys)?, &ready, &names);
            Ok(())
        })?;
        counts.write(&names, report);
        Ok(())
    }
}

register!(dyn EvalSuite, "accuracy", AccuracyConfig);
