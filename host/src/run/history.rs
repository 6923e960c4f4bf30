//! What is known of a run from its folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vlhub_core::{Error, Matrix, Result, SampleTable, ScoreColumn};

use super::folder::plain;
use super::results::classes::{self, ClassRow};
use super::results::examples::{self, StoredExample};
use super::results::samples::{self, NamedFile, TableFile};
use super::{jsonl, matrix};
use crate::evaluation::resampling::Resampler;
use crate::measuring::median;

/// A run, or what `vlhub eval --out` wrote, read from its folder. Whatever is missing is empty.
#[derive(Debug, Default)]
pub struct RunData {
    /// Its folder.
    pub path: PathBuf,
    /// The folder's name.
    pub name: String,
    /// Facts for the table at the top.
    pub about: Vec<(String, String)>,
    /// The resolved configuration.
    pub config: String,
    /// The same, as dotted keys.
    pub options: BTreeMap<String, String>,
    /// Recorded steps.
    pub steps: Vec<Value>,
    /// Evaluations in the order in which they were made.
    pub results: Vec<Evaluation>,
    /// Confusion matrices by suite.
    pub matrices: Vec<(String, Matrix)>,
    /// How well each class was told from the others, by suite.
    pub classes: Vec<(String, Vec<ClassRow>)>,
    /// Examples by suite; their pictures are files in `examples/`.
    pub examples: Vec<(String, Vec<StoredExample>)>,
    /// Unusable samples: reason, how many, and one of them.
    pub skipped: Vec<(String, u64, String)>,
    /// The first batch, as a PNG.
    pub batch: Option<Vec<u8>>,
}

/// One evaluation.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// The suite.
    pub name: String,
    /// After how many steps.
    pub step: u64,
    /// Its numbers.
    pub metrics: BTreeMap<String, f64>,
    /// What guessing would get.
    pub chance: BTreeMap<String, f64>,
    /// Which weights were measured: `raw` or `average`; runs that are older than the choice do not say.
    pub weights: String,
    /// Bounds of 95 % confidence intervals.
    pub interval: BTreeMap<String, [f64; 2]>,
    /// Samples measured.
    pub samples: u64,
    /// Samples that could not be used.
    pub skipped: Vec<String>,
    /// Remarks.
    pub notes: Vec<String>,
    /// Where what was found for each sample is.
    pub tables: Vec<TableFile>,
}

impl RunData {
    /// Reads a run's folder.
    ///
    /// # Errors
    /// It is not the folder of a run, or one of its files cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        if !["config.toml", "metrics.jsonl", "results.jsonl", "checkpoints"].iter().any(|name| path.join(name).exists()) {
            return Err(Error::invalid(format!(
                "{}: not the folder of a run: it has neither config.toml nor metrics.jsonl; a run's folder is `LOGS/NAME`, and that of an \
                 evaluation is what `vlhub eval --out` named",
                path.display()
            )));
        }
        // What goes onto the page comes from the folder itself, which may be somebody else's: a link to another file is as good as none.
        let inside = |name: &str| NamedFile::find(path, Path::new(name)).and_then(|file| file.read()).ok();
        let text = |name: &str| String::from_utf8_lossy(&inside(name).unwrap_or_default()).into_owned();
        let config = text("config.toml");
        let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut options = BTreeMap::new();
        if let Ok(table) = config.parse::<toml::Table>() {
            flatten("", &toml::Value::Table(table), &mut options);
        }
        let of_run = path.join("checkpoints/results.jsonl");
        let lines = if of_run.exists() { of_run } else { path.join("results.jsonl") };
        let results: Vec<Evaluation> = jsonl::read(&lines)?.0.iter().map(evaluation).collect();
        let suites = suites(&results);
        let matrices = matrices(&path.join("confusion_matrix"), &suites)?;
        Ok(Self {
            name: full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            about: serde_json::from_str(&text("about.json")).unwrap_or_default(),
            options,
            config,
            steps: jsonl::read(&path.join("metrics.jsonl"))?.0,
            classes: classes(&path.join("per_class"), &suites, &matrices)?,
            examples: stored_examples(&path.join("examples"), &suites)?,
            matrices,
            results,
            skipped: skipped(&jsonl::read(&path.join("skipped.jsonl"))?.0),
            batch: inside("train_batch0.png"),
            path: path.to_owned(),
        })
    }

    /// A number of every recorded step, over the steps.
    pub fn curve(&self, name: &str) -> Vec<(f64, f64)> {
        let value = |line: &Value| line.get(name).or_else(|| line.get("metrics")?.get(name)).and_then(Value::as_f64);
        self.steps.iter().filter_map(|line| Some((line.get("step")?.as_f64()?, value(line)?))).collect()
    }

    /// Names of the numbers that objectives report.
    pub fn metrics(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for line in &self.steps {
            for name in line.get("metrics").and_then(Value::as_object).into_iter().flat_map(|metrics| metrics.keys()) {
                if name != "loss" && !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        names
    }

    /// Steps taken.
    pub fn last_step(&self) -> u64 {
        self.steps.iter().filter_map(|line| line.get("step")?.as_u64()).max().unwrap_or(0)
    }

    /// Samples in a second, as the median over the steps: the first ones are slow.
    pub fn rate(&self) -> Option<f64> {
        median(self.curve("samples_per_second").into_iter().map(|(_, rate)| rate).collect())
    }

    /// The share of time that was spent waiting for data.
    pub fn waiting(&self) -> Option<f64> {
        let total = |name: &str| self.curve(name).iter().map(|(_, value)| value).sum::<f64>();
        let time = total("batch_time");
        (time > 0.0).then(|| total("data_time") / time)
    }

    /// The mean loss over the last tenth of the recorded steps.
    pub fn final_loss(&self) -> Option<f64> {
        let losses = self.curve("loss");
        let last = &losses[losses.len() - losses.len().div_ceil(10)..];
        (!last.is_empty()).then(|| last.iter().map(|(_, loss)| loss).sum::<f64>() / last.len() as f64)
    }

    /// The last evaluation of each suite.
    pub fn finals(&self) -> Vec<&Evaluation> {
        self.suites().into_iter().filter_map(|suite| self.results.iter().rev().find(|one| one.name == suite)).collect()
    }

    /// Which weights the last evaluations measured: `raw`, `average`, or both.
    pub fn measured_weights(&self) -> Option<String> {
        let mut sets: Vec<&str> = self.finals().iter().map(|one| one.weights.as_str()).filter(|set| !set.is_empty()).collect();
        sets.sort_unstable();
        sets.dedup();
        (!sets.is_empty()).then(|| sets.join(", "))
    }

    /// Suites in the order in which they first ran.
    pub fn suites(&self) -> Vec<&str> {
        suites(&self.results)
    }

    /// What was found for each sample by one of this run's evaluations. A table of another evaluation (a later one, that was lost with its step) is
    /// left out: its means are not the metrics.
    ///
    /// # Errors
    /// The file that cannot be read.
    pub fn tables(&self, one: &Evaluation) -> Result<Vec<SampleTable>> {
        let mut found = Vec::new();
        for about in one.tables.iter().filter(|about| self.path.join(&about.file).exists()) {
            let (table, _) = samples::read(&self.path, about)?;
            if table.columns.iter().all(|column| is_of(&table, column, one)) {
                found.push(table);
            }
        }
        Ok(found)
    }

    /// The value of a dotted option, without quotes.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options.get(key).map(|value| value.trim_matches('"'))
    }
}

/// Whether a column's mean is the metric that was written with it.
fn is_of(table: &SampleTable, column: &ScoreColumn, one: &Evaluation) -> bool {
    let found = Resampler::of_column(table, column).observed().first().copied().unwrap_or_default();
    // Metrics may have been summed in single precision.
    one.metrics.get(&column.metric).is_none_or(|value| (value - found).abs() <= 1e-5 * value.abs().max(1.0))
}

fn suites(results: &[Evaluation]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for one in results {
        if !names.contains(&one.name.as_str()) {
            names.push(&one.name);
        }
    }
    names
}

fn evaluation(line: &Value) -> Evaluation {
    let numbers = |name: &str| -> BTreeMap<String, f64> {
        let object = line.get(name).and_then(Value::as_object);
        object.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
    };
    let texts = |name: &str| -> Vec<String> {
        let array = line.get(name).and_then(Value::as_array);
        array.into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    Evaluation {
        name: line.get("name").and_then(Value::as_str).unwrap_or("unnamed").to_owned(),
        step: line.get("step").and_then(Value::as_u64).unwrap_or(0),
        metrics: numbers("metrics"),
        chance: numbers("chance"),
        weights: line.get("weights").and_then(Value::as_str).unwrap_or_default().to_owned(),
        samples: line.get("samples").and_then(Value::as_u64).unwrap_or(0),
        interval: line.get("interval").and_then(|all| serde_json::from_value(all.clone()).ok()).unwrap_or_default(),
        skipped: texts("skipped"),
        notes: texts("notes"),
        tables: line.get("tables").and_then(|all| serde_json::from_value(all.clone()).ok()).unwrap_or_default(),
    }
}

/// The bytes of a file, if it is there.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, error)),
    }
}

fn matrices(folder: &Path, suites: &[&str]) -> Result<Vec<(String, Matrix)>> {
    let mut found = Vec::new();
    for suite in suites {
        let path = folder.join(format!("{}.csv", plain(suite)));
        if let Some(bytes) = bytes(&path)? {
            let matrix = matrix::from_csv(&bytes).map_err(|error| error.within(path.display().to_string()))?;
            found.push(((*suite).to_owned(), matrix));
        }
    }
    Ok(found)
}

/// Older runs have the matrix alone.
fn classes(folder: &Path, suites: &[&str], matrices: &[(String, Matrix)]) -> Result<Vec<(String, Vec<ClassRow>)>> {
    let mut found = Vec::new();
    for suite in suites {
        let path = folder.join(format!("{}.csv", plain(suite)));
        let rows = match (bytes(&path)?, matrices.iter().find(|(name, _)| name == suite)) {
            (Some(bytes), _) => classes::from_csv(&bytes).map_err(|error| error.within(path.display().to_string()))?,
            (None, Some((_, matrix))) => classes::of_matrix(matrix),
            (None, None) => continue,
        };
        found.push(((*suite).to_owned(), rows));
    }
    Ok(found)
}

fn stored_examples(folder: &Path, suites: &[&str]) -> Result<Vec<(String, Vec<StoredExample>)>> {
    let mut found = Vec::new();
    for suite in suites {
        let stored = examples::read(folder, &plain(suite))?;
        if !stored.is_empty() {
            found.push(((*suite).to_owned(), stored));
        }
    }
    Ok(found)
}

fn skipped(lines: &[Value]) -> Vec<(String, u64, String)> {
    let mut reasons: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for line in lines {
        let text = |name: &str| line.get(name).and_then(Value::as_str);
        let place = ["shard", "file", "path", "key"].iter().filter_map(|name| text(name)).collect::<Vec<_>>().join(" · ");
        reasons.entry(text("reason").unwrap_or("no reason given").to_owned()).or_insert((0, place)).0 += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().map(|(reason, (count, first))| (reason, count, first)).collect();
    reasons.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
    reasons
}

/// A configuration as dotted keys and values.
fn flatten(prefix: &str, value: &toml::Value, into: &mut BTreeMap<String, String>) {
    let under = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
    match value {
        toml::Value::Table(table) => table.iter().for_each(|(key, value)| flatten(&under(key), value, into)),
        toml::Value::Array(array) if array.iter().any(toml::Value::is_table) => {
            array.iter().enumerate().for_each(|(at, value)| flatten(&under(&at.to_string()), value, into));
        }
        other => {
            into.insert(prefix.to_owned(), other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_flattened_to_dotted_keys() {
        let mut found = BTreeMap::new();
        let text = "seed = 1\n[train]\nlr = 0.5\nviews = [\"a\", \"b\"]\n[[objectives]]\nname = \"clip\"\n";
        flatten("", &toml::Value::Table(text.parse().expect("it is TOML")), &mut found);
        let found: Vec<_> = found.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(found, ["objectives.0.name=\"clip\"", "seed=1", "train.lr=0.5", "train.views=[\"a\", \"b\"]"]);
    }

    #[test]
    fn a_folder_that_is_no_run_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = RunData::read(dir.path()).expect_err("it is empty").to_string();
        assert!(error.contains("not the folder of a run"), "{error}");
    }

    #[test]
    fn the_pace_is_a_median_and_the_loss_a_mean_of_the_end() {
        let line = |step: u64, loss: f64, rate: f64| serde_json::json!({"step": step, "loss": loss, "samples_per_second": rate, "data_time": 1.0, "batch_time": 4.0, "metrics": {"logit_scale": 14.0}});
        let steps = (1..=20).map(|step| line(step, step as f64, if step == 1 { 1.0 } else { 100.0 })).collect();
        let run = RunData { steps, ..RunData::default() };
        assert_eq!((run.rate(), run.waiting(), run.final_loss(), run.last_step()), (Some(100.0), Some(0.25), Some(19.5), 20));
        assert_eq!((run.metrics(), run.curve("logit_scale").len()), (vec!["logit_scale".into()], 20));
        let empty = RunData::default();
        assert_eq!((empty.rate(), empty.waiting(), empty.final_loss()), (None, None, None));
    }
}
