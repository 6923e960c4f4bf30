//! Pictures of which several classes are right.

use std::sync::Arc;

use vlhub_sdk::captions::Templates;
use vlhub_sdk::prelude::*;
use vlhub_sdk::suites::{ClassList, ClassMatch, nothing_usable, score_rows};
use vlhub_sdk::{MeanOf, SampleTable, ScoreColumn, serde_json, tch};

use crate::prompts::{ClassTexts, Prompts, Rewriter};

/// Zero-shot classification where several classes of a picture may be right: mean average precision over the classes, as in CLIP_benchmark.
///
/// Each class ranks all pictures by their similarity to its texts, which are made as those of `zeroshot`. Its average precision is the mean, over
/// the pictures that have the class, of the share of right ones down to there. Pictures of equal scores count as one place (as in scikit-learn;
/// CLIP_benchmark's sort leaves their order open). A class that no picture has counts as 0, as in CLIP_benchmark, and a note says how many there
/// are. All scores stay in memory: 4 bytes for each picture and class.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct MultilabelConfig {
    /// The labelled pictures: a table as in `[data.train]`.
    pub data: serde_json::Value,
    /// Sentences around a class name, as in `zeroshot`.
    pub templates: Templates,
    /// Class names for the prompts, as in `zeroshot`; empty takes the data set's own.
    pub classes: Vec<String>,
    /// Pictures in one call of the model, and about as many texts.
    pub batch: usize,
    /// Use all templates; otherwise only the first.
    pub ensemble: bool,
}

impl Default for MultilabelConfig {
    fn default() -> Self {
        let data = serde_json::json!({ "use": "shapes", "split": "held_out" });
        Self { data, templates: Templates::List(vec!["a photo of a {}.".into()]), classes: Vec::new(), batch: 64, ensemble: true }
    }
}

impl Config<dyn EvalSuite> for MultilabelConfig {
    fn build(&self, cx: &EvalCx<'_>) -> Result<Box<dyn EvalSuite>> {
        if self.batch == 0 {
            return Err(Error::Options("`batch` is 0; at least one picture at a time is needed".into()));
        }
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
        let texts =
            ClassTexts { templates, names: Rewriter::build("class_transform", &[], cx)?, prompts: Rewriter::build("transform", &[], cx)? };
        Ok(Box::new(Multilabel { data, texts, classes, matched, batch: self.batch }))
    }
}

struct Multilabel {
    data: Arc<dyn Dataset>,
    texts: ClassTexts,
    classes: Vec<String>,
    /// The data set's labels as places in `classes`.
    matched: ClassMatch,
    batch: usize,
}

impl std::fmt::Debug for Multilabel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Multilabel")
            .field("classes", &self.classes.len())
            .field("templates", &self.texts.templates.len())
            .finish_non_exhaustive()
    }
}

/// Pictures that wait for the model.
#[derive(Default)]
struct Ready {
    images: Vec<RgbImage>,
    keys: Vec<String>,
}

/// For each class, the score of each picture and whether it has the class.
type Ranked = Vec<Vec<(f32, bool)>>;

impl Multilabel {
    /// The classes of a sample as places in `classes`; why it cannot be used.
    fn classes_of(&self, labels: &[i64]) -> Result<Result<Vec<usize>, String>> {
        labels.iter().map(|label| self.matched.class_of(*label)).collect()
    }

    fn score(&self, model: &dyn Model, prompts: &Prompts<'_>, ready: Ready, right: &[Vec<usize>], ranked: &mut Ranked) -> Result<()> {
        let scores = prompts.scores(&model.images(&ready.images, prompts.tokens())?)?;
        for (row, right) in score_rows(&scores, self.classes.len(), &ready.keys)?.iter().zip(right) {
            for ((class, column), score) in ranked.iter_mut().enumerate().zip(row) {
                column.push((*score, right.contains(&class)));
            }
        }
        Ok(())
    }
}

impl EvalSuite for Multilabel {
    fn requires(&self) -> Requires {
        Requires::ENCODERS
    }

    fn run(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let prompts = self.texts.encoded(&self.classes, model, self.batch)?;
        report.notes.extend(self.matched.note().map(str::to_owned));
        let mut ranked: Ranked = vec![Vec::new(); self.classes.len()];
        let (mut ready, mut right) = (Ready::default(), Vec::new());
        for sample in self.data.samples() {
            let sample = match sample {
                Ok(sample) => sample,
                Err(error) => {
                    report.skipped.push(error.to_string());
                    continue;
                }
            };
            match self.classes_of(&sample.labels).map_err(|error| error.within(&sample.key))? {
                Ok(classes) => right.push(classes),
                Err(why) => {
                    report.skipped.push(format!("{}: {why}", sample.key));
                    continue;
                }
            }
            ready.images.push(sample.image);
            ready.keys.push(sample.key);
            if ready.images.len() == self.batch {
                self.score(model, &prompts, std::mem::take(&mut ready), &std::mem::take(&mut right), &mut ranked)?;
            }
        }
        if !ready.images.is_empty() {
            self.score(model, &prompts, ready, &right, &mut ranked)?;
        }
        self.write(ranked, report)
    }
}

impl Multilabel {
    fn write(&self, ranked: Ranked, report: &mut Report) -> Result<()> {
        let samples = ranked.first().map_or(0, Vec::len);
        let seen = |column: &Vec<(f32, bool)>| column.iter().filter(|(_, right)| *right).count();
        let unseen = ranked.iter().filter(|column| seen(column) == 0).count();
        if unseen == self.classes.len() {
            report.skipped.extend((samples > 0).then(|| format!("none of {samples} pictures has a class")));
            return Err(nothing_usable(&report.skipped));
        }
        let classes = self.classes.len() as f64;
        let chance = ranked.iter().map(|column| seen(column) as f64 / samples as f64).sum::<f64>() / classes;
        let precisions: Vec<f64> = ranked.into_iter().map(average_precision).collect();
        report.metric_with_chance("mean_average_precision", precisions.iter().sum::<f64>() / classes, chance);
        if unseen > 0 {
            let all = self.classes.len();
            report.notes.push(format!("{unseen} of {all} classes have no sample; they count as 0, as in CLIP_benchmark"));
        }
        report.samples += samples as u64;
        let values = precisions.iter().map(|precision| *precision as f32).collect();
        // Under a name that no metric has: classes were not sampled, so the spread of their precisions is no uncertainty of the mean.
        let columns = vec![ScoreColumn { metric: "average_precision".into(), values, mean: MeanOf::Rows }];
        report.tables.push(SampleTable { name: "classes".into(), keys: self.classes.clone(), columns, ..SampleTable::default() });
        Ok(())
    }
}

/// The mean, over the right ones, of the share of right ones among all whose score is at least as large. 0 where none is right.
fn average_precision(mut ranked: Vec<(f32, bool)>) -> f64 {
    ranked.sort_unstable_by(|left, other| other.0.total_cmp(&left.0));
    let (mut sum, mut right, mut seen) = (0.0, 0, 0);
    for equal in ranked.chunk_by(|left, other| left.0 == other.0) {
        let found = equal.iter().filter(|(_, right)| *right).count();
        (right, seen) = (right + found, seen + equal.len());
        sum += found as f64 * right as f64 / seen as f64;
    }
    sum / (right.max(1)) as f64
}

register!(dyn EvalSuite, "multilabel", MultilabelConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::testkit::eval::{CLASSES, Oracle, Toys};

    use super::*;

    #[test]
    fn average_precision_equals_the_references() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/multilabel.json");
        let golden = std::fs::read_to_string(file).expect("tests/golden/multilabel.py writes it");
        let golden: serde_json::Value = serde_json::from_str(&golden).expect("JSON");
        for case in golden["cases"].as_array().expect("cases") {
            let scores: Vec<Vec<f32>> = serde_json::from_value(case["scores"].clone()).expect("scores");
            let targets: Vec<Vec<u8>> = serde_json::from_value(case["targets"].clone()).expect("targets");
            let expected: Vec<f64> = serde_json::from_value(case["average_precision"].clone()).expect("values");
            for (class, expected) in expected.iter().enumerate() {
                let column = scores.iter().zip(&targets).map(|(scores, targets)| (scores[class], targets[class] == 1)).collect();
                let found = average_precision(column);
                assert!((found - expected).abs() < 1e-6, "{} of {} ({}): {found} for {expected}", class, case["name"], golden["origin"]);
            }
        }
    }

    #[test]
    fn precisions_of_classes_are_kept_and_are_the_samples_of_no_metric() {
        let (toys, mut report) = (Toys::default(), Report::default());
        MultilabelConfig::default().build(&EvalCx::new(&toys)).expect("it opens").run(&Oracle, &mut report).expect("a report");
        assert_eq!((report.get("mean_average_precision"), report.tables[0].keys.len()), (Some(1.0), CLASSES.len()));
        assert!(report.tables[0].columns.iter().all(|column| report.get(&column.metric).is_none()), "{:?}", report.tables[0].columns);
    }

    #[test]
    fn equal_scores_count_as_one_place() {
        let of = |scores: &[f32], right: &[bool]| average_precision(scores.iter().copied().zip(right.iter().copied()).collect());
        assert_eq!(of(&[0.5; 4], &[true, false, false, false]), 0.25);
        assert_eq!(of(&[0.9, 0.5, 0.5], &[true, true, false]), (1.0 + 2.0 / 3.0) / 2.0);
        assert_eq!(of(&[0.9, 0.5], &[false, false]), 0.0);
    }
}
