//! Results as CLIP_benchmark writes them: a JSON file for each data set, which its `clip_benchmark build` gathers.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use vlhub_core::Report;

use crate::failure::{Failure, Outcome, hint};
use crate::files::replace;

/// Fewest classes for which CLIP_benchmark gives a top-5 accuracy.
const TOP5: usize = 5;

/// What a result file says beside its metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultHead {
    /// The data set.
    pub dataset: String,
    /// The model's architecture, or the run.
    pub model: String,
    /// Its weights.
    pub pretrained: String,
    /// `zeroshot_classification`, `zeroshot_retrieval`, or the suite.
    pub task: String,
    /// The language of its texts: `en`.
    pub language: String,
}

impl ResultHead {
    /// The file that `pattern` stands for. `{dataset}`, `{model}`, `{pretrained}`, `{pretrained_full_path}`, `{task}` and `{language}` are
    /// replaced; slashes in names become `_`.
    ///
    /// # Errors
    /// Exit status 2: another name between braces.
    pub fn file(&self, pattern: &str) -> Outcome<PathBuf> {
        let base = Path::new(&self.pretrained).file_name().map_or(self.pretrained.clone(), |name| name.to_string_lossy().into_owned());
        let dataset = self.dataset.strip_prefix("wds/").unwrap_or(&self.dataset);
        let known = [
            ("dataset", dataset),
            ("model", &self.model),
            ("pretrained", &base),
            ("pretrained_full_path", &self.pretrained),
            ("task", &self.task),
            ("language", &self.language),
        ];
        let (mut file, mut rest) = (String::new(), pattern);
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) =
                after.split_once('}').ok_or_else(|| Failure::usage(format!("--output: `{pattern}` has a `{{` without `}}`")))?;
            let value = known.iter().find(|(known, _)| *known == name).map(|(_, value)| value.replace(['/', '\\'], "_"));
            let names = known.map(|(known, _)| known);
            file += before;
            file += &value.ok_or_else(|| Failure::usage(format!("--output: nothing is called `{{{name}}}`{}", hint(name, &names))))?;
            rest = after;
        }
        Ok(PathBuf::from(file + rest))
    }

    /// What CLIP_benchmark calls the task of a suite; the suite's own name where it has none.
    pub fn task_of_suite(plugin: &str) -> &str {
        match plugin {
            "zeroshot" | "multilabel" => "zeroshot_classification",
            "retrieval" => "zeroshot_retrieval",
            other => other,
        }
    }

    /// Writes a result file as a whole, and the folders above it.
    ///
    /// # Errors
    /// The file, and why it cannot be written.
    pub fn write(&self, file: &Path, metrics: &Map<String, Value>) -> Outcome {
        let Self { dataset, model, pretrained, task, language } = self;
        let result = json!({
            "dataset": dataset, "model": model, "pretrained": pretrained, "task": task, "metrics": metrics, "language": language,
        });
        write_text(file, &format!("{result}\n"))
    }
}

/// Replaces a file, and makes the folders above it.
///
/// # Errors
/// The file, and why it cannot be written.
pub fn write_text(file: &Path, text: &str) -> Outcome {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(|error| vlhub_core::Error::io(folder, error))?;
    }
    Ok(replace(file, text.len() as u64, &mut |out| out.write_all(text.as_bytes()))?)
}

/// The metrics of a report under CLIP_benchmark's names: `acc1`, `acc5` (null below five classes, where there it is not a number),
/// `image_retrieval_recall@5`, …. What it has no name for keeps ours.
pub fn metrics(report: &Report) -> Map<String, Value> {
    let classes = report.classes.len();
    let name = |name: &str| match name {
        "top1" => "acc1".to_owned(),
        "top5" => "acc5".to_owned(),
        _ => {
            let recall = |start: &str, theirs: &str| name.strip_prefix(start).map(|k| format!("{theirs}{k}"));
            let image = recall("text_to_image_R@", "image_retrieval_recall@");
            image.or_else(|| recall("image_to_text_R@", "text_retrieval_recall@")).unwrap_or_else(|| name.to_owned())
        }
    };
    let value = |metric: &vlhub_core::Metric| {
        if metric.name == "top5" && classes < TOP5 { Value::Null } else { Value::from(metric.value) }
    };
    report.metrics.iter().map(|metric| (name(&metric.name), value(metric))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> ResultHead {
        let [dataset, model, pretrained, task, language] =
            ["wds/vtab/dtd", "ViT-B-32", "logs/run/last.pt", "zeroshot_classification", "en"].map(str::to_owned);
        ResultHead { dataset, model, pretrained, task, language }
    }

    #[test]
    fn names_of_files_are_made_as_clip_benchmark_makes_them() {
        let file = |pattern: &str| head().file(pattern).map(|file| file.display().to_string()).map_err(|error| error.message);
        assert_eq!(
            file("out/{dataset}_{pretrained}_{model}_{language}_{task}.json").expect("known"),
            "out/vtab_dtd_last.pt_ViT-B-32_en_zeroshot_classification.json"
        );
        assert_eq!(file("{pretrained_full_path}.json").expect("known"), "logs_run_last.pt.json");
        assert_eq!(file("one.json").expect("no names"), "one.json");
        assert!(file("{datset}.json").expect_err("a typo").contains("did you mean `dataset`?"));
        assert!(file("{dataset").is_err());
    }

    #[test]
    fn metrics_have_clip_benchmarks_names() {
        let mut report = Report::default();
        for name in ["top1", "top5", "mean_per_class_recall", "text_to_image_R@5", "image_to_text_R@10", "image_to_text_mean_rank"] {
            report.metric(name, 0.5);
        }
        let names: Vec<String> = metrics(&report).into_iter().map(|(name, _)| name).collect();
        let mut expected =
            ["acc1", "acc5", "mean_per_class_recall", "image_retrieval_recall@5", "text_retrieval_recall@10", "image_to_text_mean_rank"];
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(metrics(&report)["acc5"], Value::Null, "there are fewer than five classes");
        report.classes = vec![String::new(); 5];
        assert_eq!(metrics(&report)["acc5"], 0.5);
        assert_eq!(ResultHead::task_of_suite("retrieval"), "zeroshot_retrieval");
    }
}
