//! The suite.

use std::sync::Arc;

use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;
use vlhub_sdk::{Scorer, serde_json, tch};

use crate::rank::Counts;
use crate::templates::{Templates, fill};

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
    /// Sentences around a class name, with `{}` or `{c}` in its place; or `imagenet` (CLIP's 80) or `simple` (seven of them).
    pub templates: Templates,
    /// Class names in the order of labels, instead of the data set's own; empty keeps those.
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
        let mut templates = self.templates.sentences()?;
        if !self.ensemble {
            templates.truncate(1);
        }
        if self.batch == 0 {
            return Err(Error::Options("`batch` is 0; at least one picture at a time is needed".into()));
        }
        let mut topk = self.topk.clone();
        topk.sort_unstable();
        topk.dedup();
        if topk.first().is_none_or(|least| *least == 0) {
            return Err(Error::Options(format!("`topk` is {:?}; give at least one number, each at least 1", self.topk)));
        }
        let data = cx.datasets.open_for(&self.data, Wants::NOTHING.label(Want::Optional)).map_err(|error| error.within("`data`"))?;
        let known = data.classes();
        if known.is_empty() && self.classes.is_empty() {
            return Err(Error::Options("the data set has no classes; name them in `classes`, or choose a labelled data set".into()));
        }
        if !known.is_empty() && !self.classes.is_empty() && known.len() != self.classes.len() {
            let (ours, theirs) = (self.classes.len(), known.len());
            return Err(Error::Options(format!("`classes` has {ours} names, the data set {theirs} classes")));
        }
        let classes = if self.classes.is_empty() { known.to_vec() } else { self.classes.clone() };
        Ok(Box::new(Zeroshot { data, templates, classes, batch: self.batch, topk }))
    }
}

struct Zeroshot {
    data: Arc<dyn Dataset>,
    templates: Vec<String>,
    classes: Vec<String>,
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

    /// `[B, C]`, on the CPU.
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
        Ok(scores.to_device(Device::Cpu))
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
        let count = self.templates.len() as i64;
        let group = (self.batch / self.templates.len()).max(1);
        let groups = self.classes.chunks(group).map(|classes| {
            let texts: Vec<_> = classes.iter().flat_map(|class| self.templates.iter().map(move |sentence| fill(sentence, class))).collect();
            let embed = normalize(&model.texts(&texts, false)?.embed.to_kind(Kind::Float));
            let mean = embed.view([classes.len() as i64, count, -1]).mean_dim([1i64].as_slice(), false, Kind::Float);
            Ok(normalize(&mean))
        });
        Ok(Prompts::Embedded(Tensor::cat(&groups.collect::<Result<Vec<_>>>()?, 0)))
    }

    fn measure(&self, model: &dyn Model, prompts: &Prompts<'_>, ready: &mut Ready, counts: &mut Counts) -> Result<()> {
        if ready.labels.is_empty() {
            return Ok(());
        }
        let scores = prompts.scores(&model.images(&ready.images, prompts.tokens())?)?;
        let wanted = [ready.labels.len() as i64, self.classes.len() as i64];
        if scores.size() != wanted {
            return Err(Error::invalid(format!("scores have shape {:?}; {wanted:?} was expected", scores.size())));
        }
        let flat = Vec::<f32>::try_from(scores.contiguous().view(-1))?;
        for ((scores, label), key) in flat.chunks(self.classes.len()).zip(&ready.labels).zip(&ready.keys) {
            // A NaN compares as equal to nothing, so it would count as a right answer.
            if scores.iter().any(|score| !score.is_finite()) {
                return Err(Error::invalid(format!("{key}: the model's scores are not finite")));
            }
            counts.add(scores, *label);
        }
        *ready = Ready::default();
        Ok(())
    }
}

/// Samples that wait for their batch.
#[derive(Default)]
struct Ready {
    images: Vec<RgbImage>,
    labels: Vec<usize>,
    keys: Vec<String>,
}

impl EvalSuite for Zeroshot {
    fn requires(&self) -> Requires {
        Requires::ENCODERS
    }

    fn run(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let prompts = self.prompts(model)?;
        let mut counts = Counts::new(self.classes.len(), &self.topk);
        let mut ready = Ready::default();
        for sample in self.data.samples() {
            let sample = match sample {
                Ok(sample) => sample,
                Err(error) => {
                    report.skipped.push(error.to_string());
                    continue;
                }
            };
            let label = match sample.label {
                Some(label) if usize::try_from(label).is_ok_and(|at| at < self.classes.len()) => label as usize,
                Some(label) => {
                    report.skipped.push(format!("{}: label {label} is not in 0..{}", sample.key, self.classes.len()));
                    continue;
                }
                None => {
                    report.skipped.push(format!("{}: no label", sample.key));
                    continue;
                }
            };
            ready.images.push(sample.image);
            ready.labels.push(label);
            ready.keys.push(sample.key);
            if ready.labels.len() == self.batch {
                self.measure(model, &prompts, &mut ready, &mut counts)?;
            }
        }
        self.measure(model, &prompts, &mut ready, &mut counts)?;
        if counts.samples() == 0 {
            let first = report.skipped.first().map(|line| format!("; the first: {line}")).unwrap_or_default();
            return Err(Error::invalid(format!("no sample could be measured, {} were skipped{first}", report.skipped.len())));
        }
        counts.write(&self.classes, report);
        Ok(())
    }
}

register!(dyn EvalSuite, "zeroshot", ZeroshotConfig);

#[cfg(test)]
mod tests;
