//! The classes of a supervised head.

use std::sync::Arc;

use vlhub_sdk::captions::is_imagenet;
use vlhub_sdk::prelude::*;
use vlhub_sdk::suites::{
    ClassList, ClassMatch, ClassSubset, Counts, SubsetChoice, asked_classes, checked_topk, left_out_note, read_labelled, score_rows,
};
use vlhub_sdk::{serde_json, tch};

use crate::larger::LargerHead;

/// How often a supervised head, such as that of `classify`, is right.
///
/// Classes are matched by name: the head has those of the data that it was trained on, and a class that it does not know is refused. Where
/// either side has no names, labels index the head's classes, and a note says so. A model without such a head is skipped. Where the data set
/// asks for a part of its classes (ImageNet-A, R), or `subset` does, the head chooses among those alone. On ImageNet's 1000 classes a head
/// without names may have those of ImageNet-21k, 22k or 12k: they are found by WordNet numbers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct AccuracyConfig {
    /// The labelled pictures: a table as in `[data.train]`.
    pub data: serde_json::Value,
    /// Ask for these classes alone (VL Hub's `--caption-subset`): the name of a known subset of ImageNet's classes (`in100`, `in100_dogs`, …), a
    /// file with numbers or names, a list of numbers (labels from 0), or a list of names. Pictures of other classes are left out and counted. A
    /// head that was trained on the subset has its classes, in its order or under their names.
    pub subset: Option<SubsetChoice>,
    /// Pictures in one call of the model.
    pub batch: usize,
    /// Report `topK` for each of these K. More than the number of classes counts as all of them.
    pub topk: Vec<usize>,
}

impl Default for AccuracyConfig {
    fn default() -> Self {
        Self { data: serde_json::json!({ "use": "shapes", "seed": 1 }), subset: None, batch: 64, topk: vec![1, 5] }
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
        let known = data.classes();
        // Without names, labels count the head's classes, of which nothing is known yet.
        let count = if known.is_empty() { MOST_CLASSES } else { known.len() };
        let asked = asked_classes(self.subset.as_ref(), data.evaluated(), (count, &[known]), cx.read_text)?;
        Ok(Box::new(Accuracy { data, asked, batch: self.batch, topk }))
    }
}

/// Most classes of a head, where labels have no names.
const MOST_CLASSES: usize = 1_000_000;

struct Accuracy {
    data: Arc<dyn Dataset>,
    /// The labels that are asked for; `None` for all.
    asked: Option<ClassSubset>,
    batch: usize,
    topk: Vec<usize>,
}

impl std::fmt::Debug for Accuracy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accuracy").field("samples", &self.data.len()).finish_non_exhaustive()
    }
}

/// The classes that are asked for, and where the head has them.
struct AskedOfHead {
    /// Labels as places among them.
    matched: ClassMatch,
    names: Vec<String>,
    /// The logit of each; `None` for a class that the head does not have.
    columns: Vec<Option<usize>>,
    note: Option<String>,
}

impl Accuracy {
    /// The data set's labels as classes of the head, and what those are called.
    fn classes(&self, skills: &Skills<'_>) -> Result<AskedOfHead> {
        let classifier = skills.classifier.ok_or_else(|| Error::invalid("the model has no supervised head"))?;
        let (width, data) = (classifier.classes(), self.data.classes());
        let known = ClassList { owner: "the supervised head", names: skills.classes, count: Some(width) };
        if !known.names.is_empty() && known.names.len() > width {
            let text = format!("the supervised head has {width} classes, and {} names are known of them", known.names.len());
            return Err(Error::invalid(text));
        }
        if known.names.is_empty()
            && is_imagenet(data)
            && let Some(head) = LargerHead::of(width)
        {
            return Ok(AskedOfHead { note: Some(head.note()), ..self.of_labels(head.places)? });
        }
        let full = if data != known.names && is_imagenet(data) && is_imagenet(known.names) {
            ClassMatch::in_order(&ClassList::named("`data`", data), &known, "both have ImageNet's classes")
        } else {
            ClassMatch::new(&ClassList::named("`data`", data), &known)
        };
        let Some(asked) = &self.asked else {
            let matched = full?;
            let names = if known.names.is_empty() { data } else { known.names };
            let name = |at: usize| names.get(at).cloned().unwrap_or_else(|| format!("class {at}"));
            let note = matched.note().map(str::to_owned);
            return Ok(AskedOfHead { matched, names: (0..width).map(name).collect(), columns: (0..width).map(Some).collect(), note });
        };
        if data.is_empty() {
            let matched = full?;
            let asked = ClassSubset::new(asked.kept().to_vec(), width)?;
            let name = |at: &usize| known.names.get(*at).cloned().unwrap_or_else(|| format!("class {at}"));
            let (names, columns) = (asked.kept().iter().map(name).collect(), asked.kept().iter().copied().map(Some).collect());
            let note = matched.note().map(str::to_owned);
            return Ok(AskedOfHead { matched: matched.only(asked), names, columns, note });
        }
        if let Ok(full) = &full
            && let Some(places) = full.classes_of(data.len())
        {
            let note = full.note().map(str::to_owned);
            return Ok(AskedOfHead { note, ..self.of_labels(places.into_iter().map(Some).collect())? });
        }
        // The head may have been trained on the classes that are asked for.
        let names = asked.names(data);
        let part = ClassMatch::new(&ClassList::named("the part of `data` that is asked for", &names), &known)?;
        let mut places = vec![None; data.len()];
        for (label, class) in asked.kept().iter().zip(part.classes_of(names.len()).unwrap_or_default()) {
            places[*label] = Some(class);
        }
        Ok(AskedOfHead { note: part.note().map(str::to_owned), ..self.of_labels(places)? })
    }

    /// The classes that are asked for, where the head has label `n` at `places[n]`.
    fn of_labels(&self, places: Vec<Option<usize>>) -> Result<AskedOfHead> {
        let data = ClassList::named("`data`", self.data.classes());
        let matched = ClassMatch::new(&data, &data)?;
        let asked = match &self.asked {
            Some(asked) => asked.clone(),
            None => ClassSubset::new((0..places.len()).collect(), places.len())?,
        };
        let columns = asked.kept().iter().map(|label| places.get(*label).copied().flatten()).collect();
        let names = asked.names(data.names);
        let matched = if self.asked.is_some() { matched.only(asked) } else { matched };
        Ok(AskedOfHead { matched, names, columns, note: None })
    }
}

impl AskedOfHead {
    /// Logits `[B, width]` as a row for each picture, of the classes that are asked for.
    fn rows(&self, logits: &Tensor, keys: &[String]) -> Result<Vec<Vec<f32>>> {
        let whole = self.columns.iter().enumerate().all(|(at, column)| *column == Some(at))
            && logits.size().get(1) == Some(&(self.columns.len() as i64));
        if whole {
            return score_rows(logits, self.columns.len(), keys);
        }
        let columns: Vec<i64> = self.columns.iter().map(|column| column.unwrap_or_default() as i64).collect();
        let chosen = logits.f_index_select(1, &Tensor::from_slice(&columns).to_device(logits.device()))?;
        let mut rows = score_rows(&chosen, columns.len(), keys)?;
        for (at, _) in self.columns.iter().enumerate().filter(|(_, column)| column.is_none()) {
            rows.iter_mut().for_each(|row| row[at] = f32::NEG_INFINITY);
        }
        Ok(rows)
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
        let asked = self.classes(&skills)?;
        let classifier = skills.classifier.ok_or_else(|| Error::invalid("the model has no supervised head"))?;
        report.notes.extend(asked.note.clone());
        report.notes.extend(self.data.notes().iter().cloned());
        let mut counts = Counts::new(asked.names.len(), &self.topk);
        let left_out = read_labelled(self.data.as_ref(), &asked.matched, self.batch, &mut report.skipped, |ready| {
            let logits = classifier.classify(&model.images(&ready.images, false)?)?;
            counts.add_batch(&asked.rows(&logits, &ready.keys)?, &ready, &asked.names);
            Ok(())
        })?;
        report.notes.extend(left_out_note(&asked.matched, left_out));
        counts.write(&asked.names, report);
        Ok(())
    }
}

register!(dyn EvalSuite, "accuracy", AccuracyConfig);
