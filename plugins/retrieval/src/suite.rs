//! The suite.

use std::sync::Arc;

use vlhub_sdk::prelude::*;
use vlhub_sdk::suites::{data_table_with, nothing_usable, shared_units};
use vlhub_sdk::{MeanOf, SampleTable, ScoreColumn, serde_json, tch};

use crate::gallery::Gallery;
use crate::pictures::{Group, Pictures};
use crate::pool::{Measure, Pool};
use crate::rank::{self, ranks};

/// Image-text retrieval over the whole data set: R@K, mean and median rank, both ways.
///
/// A picture may have several texts, in any layout: a list of its sample, lines or a JSON list in one text, or a sample for each text. It is found
/// by the best of them, as in CLIP_benchmark. The score is the cosine similarity, or the model's own (FILIP). Of equal scores the lower index
/// comes first. Scores are computed in tiles, each once, so memory grows with the number of samples and not with its square.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct RetrievalConfig {
    /// The pictures with their texts: a table as in `[data.train]`.
    pub data: serde_json::Value,
    /// Where the data are: short for `data.path`. Empty: as `data` says.
    pub path: String,
    /// Which part of the data: short for `data.split`. Empty: as `data` says.
    pub split: String,
    /// Pictures, or texts, in one call of the model.
    pub batch: usize,
    /// Report `R@K` for each of these K. More than there are candidates counts as all of them.
    pub recall_k: Vec<usize>,
    /// At most this many texts of each picture, the first ones; 0 means all.
    pub texts_per_image: usize,
    /// Which samples are one picture: `auto` (those of the same pixels with one text each), `picture` (all of the same pixels) or `sample` (none).
    pub group: Group,
    /// Whether one text that is a JSON list of strings, or has several lines, is several texts.
    pub split_texts: bool,
}

impl Default for RetrievalConfig {
    fn default() -> Self {
        let data = serde_json::json!({ "use": "shapes", "split": "held_out" });
        let (path, split) = (String::new(), String::new());
        Self { data, path, split, batch: 64, recall_k: vec![1, 5, 10], texts_per_image: 0, group: Group::Auto, split_texts: true }
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
        let table = data_table_with(&self.data, &[("path", &self.path), ("split", &self.split)]);
        let data = cx.datasets.open_for(&table, Wants::NOTHING.text(Want::Optional)).map_err(|error| error.within("`data`"))?;
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

impl Retrieval {
    /// Encodes each picture once while the data set is read, and then the texts in the order of the pictures.
    fn encode(&self, model: &dyn Model, measure: &Measure<'_>, report: &mut Report) -> Result<(Pool, Pictures)> {
        let RetrievalConfig { batch, texts_per_image, group, split_texts, .. } = self.config;
        let limit = if texts_per_image == 0 { usize::MAX } else { texts_per_image };
        let mut pictures = Pictures::new(group, limit, split_texts);
        let (mut images, mut ready) = (Vec::new(), Vec::new());
        for (at, sample) in self.data.samples().enumerate() {
            let mut sample = match sample {
                Ok(sample) => sample,
                Err(error) => {
                    report.skipped.push(error.to_string());
                    continue;
                }
            };
            match pictures.add(at, &mut sample) {
                None => report.skipped.push(format!("{}: no text", sample.key)),
                Some(false) => {}
                Some(true) => ready.push(sample.image),
            }
            if ready.len() == batch {
                images.push(measure.keep(model.images(&std::mem::take(&mut ready), measure.tokens())?));
            }
        }
        if !ready.is_empty() {
            images.push(measure.keep(model.images(&ready, measure.tokens())?));
        }
        if pictures.captions.is_empty() {
            return Err(nothing_usable(&report.skipped));
        }
        let encode = |texts: &[String]| Ok(measure.keep(model.texts(texts, measure.tokens())?));
        Ok((Pool::new(images, &pictures.captions, measure, batch, encode)?, pictures))
    }
}

/// What is asked in one direction: pictures or texts, and which of them are of one picture.
struct Questions {
    keys: Vec<String>,
    units: Vec<String>,
}

impl Retrieval {
    /// The pictures and the texts as questions. All texts of a picture are one sampling unit: how well they find it depends on the picture.
    fn questions(&self, pictures: &Pictures) -> (Questions, Questions) {
        let units: Vec<String> = pictures.first.iter().map(|(key, at)| self.data.unit(*at).unwrap_or_else(|| key.clone())).collect();
        let of_texts = units.iter().zip(&pictures.captions).flat_map(|(unit, texts)| vec![Some(unit.clone()); texts.len()]).collect();
        let texts = Questions { keys: pictures.text_keys(), units: shared_units(of_texts) };
        let keys = pictures.first.iter().map(|(key, _)| key.clone()).collect();
        (Questions { keys, units: shared_units(units.into_iter().map(Some).collect()) }, texts)
    }
}

impl EvalSuite for Retrieval {
    fn requires(&self) -> Requires {
        Requires::ENCODERS
    }

    fn run(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let measure = model.skills().scorer.map_or(Measure::Cosine, Measure::Own);
        let (pool, pictures) = self.encode(model, &measure, report)?;
        let counts = pictures.counts();
        let both = ranks(&measure, &pool, &counts)?;
        let (of_images, of_texts) = self.questions(&pictures);
        write(report, "image_to_text", of_images, &both.images, &self.config.recall_k, pool.texts, &counts);
        write(report, "text_to_image", of_texts, &both.texts, &self.config.recall_k, pool.images, &[1]);
        report.samples += pool.images as u64;
        report.notes.extend(pictures.notes());
        report
            .examples
            .extend(Gallery { measure: &measure, pool: &pool, pictures: &pictures, ranks: &both, data: &*self.data }.examples()?);
        Ok(())
    }
}

/// The metrics of one direction, and the rank of each question behind them. `right` holds how many right answers the questions have.
fn write(report: &mut Report, name: &str, asked: Questions, ranks: &[i64], recall_k: &[usize], candidates: i64, right: &[i64]) {
    let over = |f: &dyn Fn(i64) -> f64| right.iter().map(|&count| f(count)).sum::<f64>() / right.len() as f64;
    let mut columns = Vec::new();
    let mut column = |metric: String, values: Vec<f32>| columns.push(ScoreColumn { metric, values, mean: MeanOf::Rows });
    for k in recall_k {
        let k = *k as i64;
        report.metric_with_chance(format!("{name}_R@{k}"), rank::recall(ranks, k), over(&|count| rank::chance(candidates, count, k)));
        column(format!("{name}_R@{k}"), ranks.iter().map(|rank| f32::from(u8::from(*rank < k))).collect());
    }
    // The expected least of `count` places that are drawn without repetition from 1..=candidates.
    let expected = over(&|count| (candidates + 1) as f64 / (count + 1) as f64);
    report.metric_with_chance(format!("{name}_mean_rank"), rank::mean(ranks), expected);
    column(format!("{name}_mean_rank"), ranks.iter().map(|rank| (*rank + 1) as f32).collect());
    if right.iter().all(|count| *count == 1) {
        report.metric_with_chance(format!("{name}_median_rank"), rank::median(ranks), ((candidates - 1) / 2 + 1) as f64);
    } else {
        report.metric(format!("{name}_median_rank"), rank::median(ranks));
    }
    let Questions { keys, units } = asked;
    report.tables.push(SampleTable { name: name.to_owned(), keys, units, columns, ..SampleTable::default() });
}

impl RetrievalConfig {
    /// On a published set, whose pictures are told apart by its list.
    fn of(data: serde_json::Value) -> Self {
        Self { data, group: Group::Sample, split_texts: false, ..Self::default() }
    }
}

register!(dyn EvalSuite, "retrieval", RetrievalConfig);
register!(dyn EvalSuite, "flickr8k", RetrievalConfig, || RetrievalConfig::of(serde_json::json!({ "use": "flickr8k", "path": "flickr8k" })));
register!(dyn EvalSuite, "flickr30k", RetrievalConfig, || RetrievalConfig::of(
    serde_json::json!({ "use": "flickr30k", "path": "flickr30k" })
));
register!(dyn EvalSuite, "coco_captions", RetrievalConfig, || RetrievalConfig::of(
    serde_json::json!({ "use": "coco_captions", "path": "coco" })
));

#[cfg(test)]
mod tests;
