//! `eval_results.jsonl`, and DataComp's average over what was measured.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{DatacompTask, main_metric};
use crate::evaluation::result_files::write_text;
use crate::failure::{Failure, Outcome};

/// Groups of tasks of which DataComp gives a mean, by the tasks' names.
const GROUPS: [(&str, &[&str]); 3] = [
    ("ImageNet dist. shifts", &["ImageNet Sketch", "ImageNet v2", "ImageNet-A", "ImageNet-O", "ImageNet-R", "ObjectNet"]),
    (
        "VTAB",
        &[
            "Caltech-101",
            "CIFAR-100",
            "CLEVR Counts",
            "CLEVR Distance",
            "Describable Textures",
            "EuroSAT",
            "KITTI Vehicle Distance",
            "Oxford Flowers-102",
            "Oxford-IIIT Pet",
            "PatchCamelyon",
            "RESISC45",
            "SVHN",
            "SUN397",
        ],
    ),
    ("Retrieval", &["Flickr", "MSCOCO", "WinoGAViL"]),
];

/// A mean of tasks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatacompScore {
    /// `Average`, or a group.
    pub name: String,
    /// The mean of the main metrics.
    pub value: f64,
    /// How many tasks were measured.
    pub measured: usize,
    /// How many it takes.
    pub of: usize,
}

/// Lines of results, and the file that they go to.
#[derive(Debug, Default)]
pub struct DatacompResults {
    file: Option<PathBuf>,
    lines: Vec<Value>,
}

impl DatacompResults {
    /// With the lines of a file that is there already, where `keep` says so.
    ///
    /// # Errors
    /// A file that cannot be read, or a line that is no result.
    pub fn open(file: Option<&Path>, keep: bool) -> Outcome<Self> {
        let mut lines = Vec::new();
        if let Some(file) = file.filter(|file| keep && file.is_file()) {
            let text = std::fs::read_to_string(file).map_err(|error| vlhub_core::Error::io(file, error))?;
            for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                let parsed: Option<Value> = serde_json::from_str(line).ok().filter(|line: &Value| line.get("key").is_some());
                let wrong = || Failure::new(Failure::DATA, format!("{}:{}: no result of DataComp", file.display(), number + 1));
                lines.push(parsed.ok_or_else(wrong)?);
            }
        }
        Ok(Self { file: file.map(Path::to_owned), lines })
    }

    /// Whether a task has a result.
    pub fn has(&self, task: &DatacompTask) -> bool {
        self.lines.iter().any(|line| line["key"] == task.key.as_str())
    }

    /// Adds a task's result, and writes the file anew.
    ///
    /// # Errors
    /// The file, and why it cannot be written.
    pub fn add(&mut self, task: &DatacompTask, metrics: &Map<String, Value>) -> Outcome {
        let mut metrics = metrics.clone();
        metrics.insert("main_metric".into(), main_metric(task, &metrics).into());
        self.lines.retain(|line| line["key"] != task.key.as_str());
        self.lines.push(json!({ "key": task.key, "dataset": task.name, "metrics": metrics }));
        let Some(file) = &self.file else { return Ok(()) };
        write_text(file, &self.lines.iter().map(|line| format!("{line}\n")).collect::<String>())
    }

    /// DataComp's means over what was measured: of all `tasks` that count, and of its groups. Nothing where nothing was measured.
    pub fn scores(&self, tasks: &[DatacompTask]) -> Vec<DatacompScore> {
        let all: Vec<&str> = tasks.iter().filter(|task| task.counts()).map(|task| task.name.as_str()).collect();
        let groups = GROUPS.iter().map(|(name, names)| (*name, names.to_vec()));
        let score = |(name, names): (&str, Vec<&str>)| {
            let value = |name: &&str| {
                let line = self.lines.iter().find(|line| line["dataset"] == *name)?;
                line["metrics"]["main_metric"].as_f64()
            };
            let values: Vec<f64> = names.iter().filter_map(value).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            (!values.is_empty()).then(|| DatacompScore { name: name.to_owned(), value: mean, measured: values.len(), of: names.len() })
        };
        groups.chain([("Average", all)]).filter_map(score).collect()
    }
}

impl std::fmt::Display for DatacompScore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, value, measured, of } = self;
        write!(f, "{name}: {value:.4}")?;
        if measured < of { write!(f, " (partial: {measured} of {of} tasks)") } else { write!(f, " ({of} tasks)") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_says_how_much_was_measured_and_the_file_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("out/eval_results.jsonl");
        let tasks = super::super::parse(super::super::TASKS).expect("the list");
        let task = |name: &str| tasks.iter().find(|task| task.name == name).expect("a task");
        let mut results = DatacompResults::open(Some(&file), true).expect("no file yet");
        assert!(results.scores(&tasks).is_empty());
        let metrics = |value: f64| json!({"acc1": value, "mean_per_class_recall": value / 2.0}).as_object().expect("a map").clone();
        results.add(task("ImageNet-A"), &metrics(0.5)).expect("room");
        results.add(task("Caltech-101"), &metrics(0.5)).expect("room");
        results.add(task("ImageNet-A"), &metrics(0.25)).expect("room");
        let again = DatacompResults::open(Some(&file), true).expect("its own lines");
        assert!(again.has(task("Caltech-101")) && !again.has(task("CIFAR-10")));
        let said: Vec<String> = again.scores(&tasks).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "ImageNet dist. shifts: 0.2500 (partial: 1 of 6 tasks)",
                "VTAB: 0.2500 (partial: 1 of 13 tasks)",
                "Average: 0.2500 (partial: 2 of 38 tasks)"
            ]
        );
        std::fs::write(&file, "{}\n").expect("room");
        assert!(DatacompResults::open(Some(&file), true).is_err_and(|error| error.message.contains(":1:")));
        assert!(DatacompResults::open(Some(&file), false).is_ok(), "it is not read where it is not kept");
    }
}
