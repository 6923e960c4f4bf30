//! Right captions against wrong ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;
use vlhub_sdk::suites::{data_table_with, nothing_usable, shared_units};
use vlhub_sdk::{Answer, Example, MeanOf, SampleTable, ScoreColumn, Thumbnail, serde_json, tch};

/// Whether a model prefers the right caption of each picture to wrong ones that say nearly the same: SugarCrepe, and Winoground's pairs.
///
/// The first text of a sample is right, the others are wrong; `accuracy` is the share of pictures whose right text has a strictly greater score than
/// each other, and `accuracy_CATEGORY` that of a category. Where samples of two have the column `pair`, each picture's wrong text is the other's
/// right one, and the scores of Winoground follow (Thrush et al., 2022): `text_score`, both pictures prefer their own text; `image_score`, both texts
/// prefer their own picture; `group_score`, both. Equal scores are wrong, as there. Chance is that of scores without ties.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct PairsConfig {
    /// The pictures with their texts: a table as in `[data.train]`.
    pub data: serde_json::Value,
    /// Where the data are: short for `data.path`. Empty: as `data` says.
    pub path: String,
    /// The column whose values are categories; empty: none.
    pub category: String,
    /// The column that tells which two samples are a pair; empty: none.
    pub pair: String,
    /// Pictures in one call of the model.
    pub batch: usize,
}

impl PairsConfig {
    fn of(source: &str) -> Self {
        Self { data: serde_json::json!({ "use": source, "path": source }), ..Self::default() }
    }
}

impl Default for PairsConfig {
    fn default() -> Self {
        let data = serde_json::json!({ "use": "sugarcrepe", "path": "sugarcrepe" });
        Self { data, path: String::new(), category: "category".into(), pair: "pair".into(), batch: 64 }
    }
}

impl Config<dyn EvalSuite> for PairsConfig {
    fn build(&self, cx: &EvalCx<'_>) -> Result<Box<dyn EvalSuite>> {
        if self.batch == 0 {
            return Err(Error::Options("`batch` is 0; at least one picture at a time is needed".into()));
        }
        let wants = Wants { text: Want::Optional, meta: Want::Optional, ..Wants::NOTHING };
        let data =
            cx.datasets.open_for(&data_table_with(&self.data, &[("path", &self.path)]), wants).map_err(|error| error.within("`data`"))?;
        Ok(Box::new(Pairs { config: self.clone(), data }))
    }
}

struct Pairs {
    config: PairsConfig,
    data: Arc<dyn Dataset>,
}

impl std::fmt::Debug for Pairs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pairs").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What was found for one picture.
struct Judged {
    key: String,
    category: String,
    pair: String,
    /// Its sampling unit: its pair, or what the data set says.
    unit: Option<String>,
    /// The scores of its texts, the right one first.
    scores: Vec<f32>,
}

impl Judged {
    fn is_right(&self) -> bool {
        self.scores[1..].iter().all(|score| self.scores[0] > *score)
    }
}

/// Pictures that wait for the model.
#[derive(Default)]
struct Waiting {
    images: Vec<RgbImage>,
    texts: Vec<Vec<String>>,
    judged: Vec<Judged>,
}

/// Pictures for the page: judged right, and judged wrong.
const SHOWN: usize = 8;

impl Pairs {
    fn judge(&self, model: &dyn Model, waiting: &mut Waiting, report: &mut Report) -> Result<Vec<Judged>> {
        let Waiting { images, texts, mut judged } = std::mem::take(waiting);
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let all: Vec<String> = texts.iter().flatten().cloned().collect();
        let scorer = model.skills().scorer;
        let tokens = scorer.is_some_and(|scorer| scorer.tokens());
        let (images_encoded, texts_encoded) = (model.images(&images, tokens)?, model.texts(&all, tokens)?);
        let scores = match scorer {
            Some(scorer) => scorer.score(&images_encoded, &texts_encoded)?,
            None => {
                let unit = |encoded: &Encoded| normalize(&encoded.embed.to_kind(Kind::Float));
                unit(&images_encoded).f_matmul(&unit(&texts_encoded).tr())?
            }
        };
        let keys: Vec<String> = judged.iter().map(|judged| judged.key.clone()).collect();
        let rows = vlhub_sdk::suites::score_rows(&scores, all.len(), &keys)?;
        let mut start = 0;
        for (((judged, row), texts), image) in judged.iter_mut().zip(rows).zip(&texts).zip(&images) {
            judged.scores = row[start..start + texts.len()].to_vec();
            start += texts.len();
            let right = judged.is_right();
            let section = if right { "Right caption preferred" } else { "Wrong caption preferred" };
            if report.examples.iter().filter(|example| example.section == section).count() < SHOWN {
                let answer = |(at, text): (usize, &String)| Answer {
                    text: text.clone(),
                    score: Some(f64::from(judged.scores[at])),
                    right: Some(at == 0),
                };
                report.examples.push(Example {
                    section: section.into(),
                    title: judged.key.clone(),
                    pictures: vec![Thumbnail::new(image, Answer::default())],
                    texts: texts.iter().enumerate().map(answer).collect(),
                });
            }
        }
        Ok(judged)
    }
}

impl EvalSuite for Pairs {
    fn requires(&self) -> Requires {
        Requires::ENCODERS
    }

    fn run(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let (mut waiting, mut judged) = (Waiting::default(), Vec::new());
        for (at, sample) in self.data.samples().enumerate() {
            let mut sample = match sample {
                Ok(sample) => sample,
                Err(error) => {
                    report.skipped.push(error.to_string());
                    continue;
                }
            };
            if sample.texts.len() < 2 {
                report.skipped.push(format!("{}: {} texts; a right one and a wrong one are needed", sample.key, sample.texts.len()));
                continue;
            }
            let mut column = |name: &str| sample.meta.remove(name).filter(|_| !name.is_empty()).unwrap_or_default();
            let (category, pair) = (column(&self.config.category), column(&self.config.pair));
            let unit = Some(pair.clone()).filter(|pair| !pair.is_empty()).or_else(|| self.data.unit(at));
            waiting.judged.push(Judged { key: sample.key, category, pair, unit, scores: Vec::new() });
            waiting.images.push(sample.image);
            waiting.texts.push(sample.texts);
            if waiting.images.len() == self.config.batch {
                judged.extend(self.judge(model, &mut waiting, report)?);
            }
        }
        judged.extend(self.judge(model, &mut waiting, report)?);
        if judged.is_empty() {
            return Err(nothing_usable(&report.skipped));
        }
        write(&judged, report);
        Ok(())
    }
}

/// Adds the metrics, and what they were made of.
fn write(judged: &[Judged], report: &mut Report) {
    report.samples += judged.len() as u64;
    let rows: Vec<&Judged> = judged.iter().collect();
    add_accuracy("accuracy", "pictures", &rows, report);
    let mut categories: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
    for judged in judged.iter().filter(|judged| !judged.category.is_empty()) {
        categories.entry(&judged.category).or_default().push(judged);
    }
    if categories.len() > 1 {
        for (category, rows) in &categories {
            add_accuracy(&format!("accuracy_{}", category.replace(char::is_whitespace, "_")), category, rows, report);
        }
    }
    let mut pairs: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
    for judged in judged.iter().filter(|judged| !judged.pair.is_empty()) {
        pairs.entry(&judged.pair).or_default().push(judged);
    }
    if !pairs.is_empty() {
        add_pairs(&pairs, report);
    }
}

fn add_accuracy(metric: &str, table: &str, rows: &[&Judged], report: &mut Report) {
    let count = rows.len() as f64;
    let right = rows.iter().filter(|judged| judged.is_right()).count() as f64;
    let chance = rows.iter().map(|judged| 1.0 / judged.scores.len() as f64).sum::<f64>() / count;
    report.metric_with_chance(metric, right / count, chance);
    let values = rows.iter().map(|judged| f32::from(u8::from(judged.is_right()))).collect();
    let columns = vec![ScoreColumn { metric: metric.to_owned(), values, mean: MeanOf::Rows }];
    let keys = rows.iter().map(|judged| judged.key.clone()).collect();
    let units = shared_units(rows.iter().map(|judged| judged.unit.clone()).collect());
    report.tables.push(SampleTable { name: table.to_owned(), keys, units, columns, ..SampleTable::default() });
}

/// The scores of pairs: each of the two samples has its own text first and the other's second.
fn add_pairs(pairs: &BTreeMap<&str, Vec<&Judged>>, report: &mut Report) {
    let mut found = Vec::new();
    for (pair, rows) in pairs {
        let [first, second] = rows[..] else {
            report.notes.push(format!("pair {pair} has {} usable pictures instead of two; it has no score", rows.len()));
            continue;
        };
        let text = first.is_right() && second.is_right();
        // The first text with both pictures, and the second.
        let image = first.scores[0] > second.scores[1] && second.scores[0] > first.scores[1];
        found.push((*pair, [text, image, text && image]));
    }
    if found.is_empty() {
        return;
    }
    let mut columns = Vec::new();
    for (at, (name, chance)) in [("text_score", 1.0 / 4.0), ("image_score", 1.0 / 4.0), ("group_score", 1.0 / 6.0)].into_iter().enumerate()
    {
        let values: Vec<f32> = found.iter().map(|(_, right)| f32::from(u8::from(right[at]))).collect();
        let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
        report.metric_with_chance(name, mean, chance);
        columns.push(ScoreColumn { metric: name.into(), values, mean: MeanOf::Rows });
    }
    let keys = found.iter().map(|(pair, _)| (*pair).to_owned()).collect();
    report.tables.push(SampleTable { name: "pairs".into(), keys, columns, ..SampleTable::default() });
}

register!(dyn EvalSuite, "pairs", PairsConfig);
register!(dyn EvalSuite, "sugarcrepe", PairsConfig, || PairsConfig::of("sugarcrepe"));
register!(dyn EvalSuite, "winoground", PairsConfig, || PairsConfig::of("winoground"));

#[cfg(test)]
#[path = "pairs_tests.rs"]
mod tests;
