//! The suite.

use std::sync::Arc;

use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;
use vlhub_sdk::suites::{ClassList, ClassMatch, Counts, checked_topk, read_labelled, score_rows};
use vlhub_sdk::{Scorer, serde_json, tch};

use vlhub_sdk::captions::{Templates, fill};

/// Zero-shot classification: each picture goes to the class whose texts are nearest (CLIP, Radford et al., 2021).
///
/// A class is the mean of its normalised template embeddings, normalised again. A model that scores in its own way (FILIP) is asked once for
/// each template, and the scores are averaged; it keeps the tokens of all prompts in memory.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ZeroshotConfig {
    /// The labelled pictures: a table as in `[data.train]`.
    pub data: serde_json::Value,
    /// Sentences around a class name, with `{}` or `{c}` in its place; or `imagenet` (CLIP's 80) or `simple` (seven of them), or
    /// `data` (those that the data set was published with).
    pub templates: Templates,
    /// Class names for the prompts; empty takes the data set's own. Where all of the data set's names are among these, they are matched by name,
    /// and further classes may be left without pictures; else they are other names for the data set's classes, in the order of its labels, and
    /// as many.
    pub classes: Vec<String>,
    /// Pictures in one call of the model, and about as many texts.
    pub batch: usize,
    /// Report `topK` for each of these K. More than the number of classes counts as all of them.
    pub topk: Vec<usize>,
    /// Use all templates; otherwise only the first.
    pub ensemble: bool,
}

impl Default for ZeroshotConfig {
    fn default() -> Self {
        Self {
            data: serde_json::json!({ "use": "shapes", "split": "held_out" }),
            templates: Templates::List(vec!["a photo of a {}.".into()]),
            classes: Vec::new(),
            batch: 64,
            topk: vec![1, 5],
            ensemble: true,
        }
    }
}

impl Config<dyn EvalSuite> for ZeroshotConfig {
    fn build(&self, cx: &EvalCx<'_>) -> Result<Box<dyn EvalSuite>> {
        let topk = checked_topk(&self.topk, self.batch)?;
        let data = cx.datasets.open_for(&self.data, Wants::NOTHING.label(Want::Optional)).map_err(|error| error.within("`data`"))?;
        let mut templates = self.templates.sentences_for(data.templates())?;
        if !self.ensemble {
            templates.truncate(1);
        }
        let known = data.classes();
        if known.is_empty() && self.classes.is_empty() {
            return Err(Error::Options("the data set has no classes; name them in `classes`, or choose a labelled data set".into()));
        }
        let classes = if self.classes.is_empty() { known.to_vec() } else { self.classes.clone() };
        let prompts = ClassList::named("`classes`", &classes);
        let matched = ClassMatch::with_other_names(&ClassList::named("`data`", known), &prompts)
            .map_err(|error| Error::Options(error.to_string()))?;
        Ok(Box::new(Zeroshot { data, templates, classes, matched, batch: self.batch, topk }))
    }
}

struct Zeroshot {
    data: Arc<dyn Dataset>,
    templates: Vec<String>,
    classes: Vec<String>,
    /// The data set's labels as places in `classes`.
    matched: ClassMatch,
    batch: usize,
    topk: Vec<usize>,
}

impl std::fmt::Debug for Zeroshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zeroshot").field("classes", &self.classes.len()).field("templates", &self.templates.len()).finish_non_exhaustive()
    }
}

/// The classes as the model sees them.
enum Prompts<'a> {
    /// `[C, D]`, unit rows.
    Embedded(Tensor),
    /// For each template, groups of classes.
    Scored(&'a dyn Scorer, Vec<Vec<Encoded>>),
}

impl Prompts<'_> {
    fn tokens(&self) -> bool {
        matches!(self, Self::Scored(scorer, _) if scorer.tokens())
    }

    /// `[B, C]`.
    fn scores(&self, images: &Encoded) -> Result<Tensor> {
        let scores = match self {
            Self::Embedded(classes) => normalize(&images.embed.to_kind(Kind::Float)).matmul(&classes.tr()),
            Self::Scored(scorer, templates) => {
                let each = templates.iter().map(|groups| {
                    let groups: Result<Vec<_>> = groups.iter().map(|texts| scorer.score(images, texts)).collect();
                    Ok(Tensor::cat(&groups?, 1).to_kind(Kind::Float))
                });
                Tensor::stack(&each.collect::<Result<Vec<_>>>()?, 0).mean_dim([0i64].as_slice(), false, Kind::Float)
            }
        };
        Ok(scores)
    }
}

impl Zeroshot {
    fn prompts<'a>(&self, model: &'a dyn Model) -> Result<Prompts<'a>> {
        if let Some(scorer) = model.skills().scorer {
            let each = self.templates.iter().map(|sentence| {
                let groups = self.classes.chunks(self.batch).map(|classes| {
                    let texts: Vec<_> = classes.iter().map(|class| fill(sentence, class)).collect();
                    model.texts(&texts, scorer.tokens())
                });
                groups.collect()
            });
            return Ok(Prompts::Scored(scorer, each.collect::<Result<_>>()?));
        }
        let groups: Vec<Vec<String>> =
            self.classes.iter().map(|class| self.templates.iter().map(|sentence| fill(sentence, class)).collect()).collect();
        Ok(Prompts::Embedded(model.prototypes(&groups)?))
    }
}

impl EvalSuite for Zeroshot {
    fn requires(&self) -> Requires {
        Requires::ENCODERS
    }

    fn run(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let prompts = self.prompts(model)?;
        let mut counts = Counts::new(self.classes.len(), &self.topk);
        report.notes.extend(self.matched.note().map(str::to_owned));
        read_labelled(self.data.as_ref(), &self.matched, self.batch, &mut report.skipped, |ready| {
            let scores = prompts.scores(&model.images(&ready.images, prompts.tokens())?)?;
            counts.add_batch(&score_rows(&scores, self.classes.len(), &ready.keys)?, &ready, &self.classes);
            Ok(())
        })?;
        counts.write(&self.classes, report);
        Ok(())
    }
}

register!(dyn EvalSuite, "zeroshot", ZeroshotConfig);

#[cfg(test)]
mod tests;
