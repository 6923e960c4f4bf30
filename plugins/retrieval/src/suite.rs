//! The suite.

use std::collections::HashMap;
use std::sync::Arc;

use vlhub_sdk::prelude::*;
use vlhub_sdk::{serde_json, tch};

use crate::pool::{Measure, Pool};
use crate::rank::{self, ranks};

/// Image-text retrieval over the whole data set: R@K, mean and median rank, both ways.
///
/// A picture may have several texts: it is found by the best of them. The score is the cosine similarity, or the model's own (FILIP). Of equal
/// scores the lower index comes first. Scores are computed in tiles, so memory grows with the number of samples and not with its square.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct RetrievalConfig {
    /// The pictures with their texts: a table as in `[data.train]`.
    pub data: serde_json::Value,
    /// Pictures, or texts, in one call of the model.
    pub batch: usize,
    /// Report `R@K` for each of these K. More than there are candidates counts as all of them.
    pub recall_k: Vec<usize>,
    /// At most this many texts of each picture, the first ones; 0 means all.
    pub texts_per_image: usize,
}

impl Default for RetrievalConfig {
    fn default() -> Self {
        let data = serde_json::json!({ "use": "shapes", "split": "held_out" });
        Self { data, batch: 64, recall_k: vec![1, 5, 10], texts_per_image: 0 }
    }
}

impl Config<dyn EvalSuite> for RetrievalConfig {
    fn build(&self, cx: &EvalCx<'_>) -> Result<Box<dyn EvalSuite>> {
        if self.batch == 0 {
            return Err(Error::Options("`batch` is 0; at least one picture at a time is needed".into()));
        }
        let mut config = self.clone();
        config.recall_k.sort_unstable();
        config.recall_k.dedup();
        if config.recall_k.first().is_none_or(|least| *least == 0) {
            return Err(Error::Options(format!("`recall_k` is {:?}; give at least one number, each at least 1", self.recall_k)));
        }
        let data = cx.datasets.open_for(&self.data, Wants::NOTHING.text(Want::Optional)).map_err(|error| error.within("`data`"))?;
        Ok(Box::new(Retrieval { config, data }))
    }
}

struct Retrieval {
    config: RetrievalConfig,
    data: Arc<dyn Dataset>,
}

impl std::fmt::Debug for Retrieval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retrieval").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Everything of the data set, encoded.
struct Found {
    images: Vec<Encoded>,
    texts: Vec<Encoded>,
    /// The picture of each text.
    owner: Vec<i64>,
    /// Texts that occur more than once.
    repeated: usize,
}

impl Retrieval {
    fn encode(&self, model: &dyn Model, measure: &Measure<'_>, report: &mut Report) -> Result<Found> {
        let mut found = Found { images: Vec::new(), texts: Vec::new(), owner: Vec::new(), repeated: 0 };
        let mut seen: HashMap<String, usize> = HashMap::new();
        let (mut images, mut texts, mut count) = (Vec::new(), Vec::new(), 0i64);
        let limit = if self.config.texts_per_image == 0 { usize::MAX } else { self.config.texts_per_image };
        for sample in self.data.samples() {
            let sample = match sample {
                Ok(sample) => sample,
                Err(error) => {
                    report.skipped.push(error.to_string());
                    continue;
                }
            };
            let before = texts.len();
            texts.extend(sample.texts.into_iter().filter(|text| !text.trim().is_empty()).take(limit));
            if texts.len() == before {
                report.skipped.push(format!("{}: no text", sample.key));
                continue;
            }
            for text in &texts[before..] {
                *seen.entry(text.clone()).or_default() += 1;
                found.owner.push(count);
            }
            images.push(sample.image);
            count += 1;
            if images.len() == self.config.batch {
                found.images.push(measure.keep(model.images(&std::mem::take(&mut images), measure.tokens())?));
            }
            while texts.len() >= self.config.batch {
                let rest = texts.split_off(self.config.batch);
                found.texts.push(measure.keep(model.texts(&std::mem::replace(&mut texts, rest), measure.tokens())?));
            }
        }
        if !images.is_empty() {
            found.images.push(measure.keep(model.images(&images, measure.tokens())?));
        }
        if !texts.is_empty() {
            found.texts.push(measure.keep(model.texts(&texts, measure.tokens())?));
        }
        found.repeated = seen.values().filter(|count| **count > 1).sum();
        Ok(found)
    }
}

impl EvalSuite for Retrieval {
    fn requires(&self) -> Requires {
        Requires::ENCODERS
    }

    fn run(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let measure = model.skills().scorer.map_or(Measure::Cosine, Measure::Own);
        let found = self.encode(model, &measure, report)?;
        if found.owner.is_empty() {
            let first = report.skipped.first().map(|line| format!("; the first: {line}")).unwrap_or_default();
            return Err(Error::invalid(format!("no sample could be measured, {} were skipped{first}", report.skipped.len())));
        }
        let (images, texts) = (Pool::new(found.images, &measure), Pool::new(found.texts, &measure));
        let both = ranks(&measure, &images, &texts, &found.owner)?;
        let mut each = vec![0i64; images.rows as usize];
        for owner in &found.owner {
            each[*owner as usize] += 1;
        }
        write(report, "image_to_text", &both.images, &self.config.recall_k, texts.rows, &each);
        write(report, "text_to_image", &both.texts, &self.config.recall_k, images.rows, &[1]);
        report.samples += images.rows as u64;
        if texts.rows > images.rows {
            report
                .notes
                .push(format!("{} texts of {} pictures; a picture counts as found by the best of its texts", texts.rows, images.rows));
        }
        if found.repeated > 0 {
            let all = texts.rows;
            report
                .notes
                .push(format!("{} of {all} texts occur more than once; only the one of the same sample counts as right", found.repeated));
        }
        Ok(())
    }
}

/// The metrics of one direction. `right` holds how many right answers the questions have.
fn write(report: &mut Report, name: &str, ranks: &[i64], recall_k: &[usize], candidates: i64, right: &[i64]) {
    let over = |f: &dyn Fn(i64) -> f64| right.iter().map(|&count| f(count)).sum::<f64>() / right.len() as f64;
    for k in recall_k {
        let k = *k as i64;
        report.metric_with_chance(format!("{name}_R@{k}"), rank::recall(ranks, k), over(&|count| rank::chance(candidates, count, k)));
    }
    // The expected least of `count` places that are drawn without repetition from 1..=candidates.
    let expected = over(&|count| (candidates + 1) as f64 / (count + 1) as f64);
    report.metric_with_chance(format!("{name}_mean_rank"), rank::mean(ranks), expected);
    if right.iter().all(|count| *count == 1) {
        report.metric_with_chance(format!("{name}_median_rank"), rank::median(ranks), ((candidates - 1) / 2 + 1) as f64);
    } else {
        report.metric(format!("{name}_median_rank"), rank::median(ranks));
    }
}

register!(dyn EvalSuite, "retrieval", RetrievalConfig);

#[cfg(test)]
mod tests;
