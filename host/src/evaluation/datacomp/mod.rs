//! DataComp's evaluation (Gadre et al., 2023, arXiv 2304.14108): its list of tasks, the metric of each, and their average.

mod groups;
mod results;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::benchmark::BenchmarkFolder;
use crate::failure::{Failure, Outcome};

pub use groups::add_metrics;
pub use results::{DatacompResults, DatacompScore};

/// DataComp's own list, for folders that have none.
const TASKS: &str = include_str!("../../../assets/datacomp/tasklist.yml");
/// The name of the list's file.
const FILE: &str = "tasklist.yml";

/// One entry of the list.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct DatacompTask {
    /// `vtab/caltech101`.
    #[serde(skip)]
    pub key: String,
    /// `Caltech-101`.
    pub name: String,
    /// How many samples there are.
    pub size: Option<u64>,
    /// The metric that counts; without it `acc1`.
    pub main_metric: Option<String>,
    /// How many classes there are.
    pub num_classes: Option<u64>,
    /// `vtab_natural`, `retrieval`, …
    pub tags: Vec<String>,
}

/// What can be done about a task.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskData {
    /// Its data are there.
    There(BenchmarkFolder),
    /// They are not: where they were looked for.
    Absent(String),
    /// It cannot be measured here, and why.
    Refused(String),
}

impl DatacompTask {
    /// The metric that counts.
    pub fn metric(&self) -> &str {
        self.main_metric.as_deref().unwrap_or("acc1")
    }

    /// Whether it counts in the average: FairFace and UTKFace have no metric that does.
    pub fn counts(&self) -> bool {
        self.main_metric.is_some() || self.num_classes.is_some()
    }

    /// Its data below the folder of all tasks, as `download_evalsets.py` puts them there: `wds_vtab-caltech101_test`.
    pub fn data(&self, root: &Path) -> TaskData {
        if self.key == "misc/winogavil" {
            let why = "DataComp reads it through Hugging Face's `datasets` (nlphuji/winogavil), which has no folder of shards";
            return TaskData::Refused(why.into());
        }
        if !self.counts() {
            return TaskData::Refused("it has no metric that counts in DataComp".into());
        }
        let short = ["fairness/", "retrieval/"].iter().find_map(|group| self.key.strip_prefix(group)).unwrap_or(&self.key);
        let names = [short, &self.key].map(|key| format!("wds_{}", key.replace('/', "-")));
        let tried = names.iter().flat_map(|name| [format!("{name}_test"), name.clone()]);
        let mut tried: Vec<String> = tried.collect();
        tried.dedup();
        if let Some(name) = tried.iter().find(|name| root.join(name).join("test").is_dir()) {
            return TaskData::There(BenchmarkFolder { dataset: self.key.clone(), path: root.join(name) });
        }
        TaskData::Absent(format!(
            "`{}` is not there (nor {}); it is a folder in CLIP_benchmark's layout, which DataComp's download_evalsets.py brings",
            root.join(&tried[0]).display(),
            tried[1..].join(", ")
        ))
    }
}

/// The tasks of a list, in its order.
///
/// # Errors
/// Exit status 2: what is no such list, with the place.
pub fn parse(text: &str) -> Result<Vec<DatacompTask>, String> {
    let tasks: InOrder = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    if tasks.0.is_empty() { Err("it has no task".into()) } else { Ok(tasks.0) }
}

/// The list in a folder of tasks, else DataComp's own; or the one that is named.
///
/// # Errors
/// Exit status 2: a list that cannot be read.
pub fn tasks(root: &Path, named: Option<&Path>) -> Outcome<Vec<DatacompTask>> {
    let beside = root.join(FILE);
    let file: Option<PathBuf> = named.map(Path::to_owned).or_else(|| beside.is_file().then_some(beside));
    let Some(file) = file else { return parse(TASKS).map_err(Failure::usage) };
    let text = std::fs::read_to_string(&file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    parse(&text).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

/// A mapping whose order stays.
struct InOrder(Vec<DatacompTask>);

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tasks;
        impl<'de> Visitor<'de> for Tasks {
            type Value = InOrder;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of tasks by their keys")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InOrder, A::Error> {
                let mut tasks = Vec::new();
                while let Some((key, task)) = map.next_entry::<String, DatacompTask>()? {
                    let name = if task.name.is_empty() { key.clone() } else { task.name.clone() };
                    tasks.push(DatacompTask { key, name, ..task });
                }
                Ok(InOrder(tasks))
            }
        }
        deserializer.deserialize_map(Tasks)
    }
}

/// The metric that counts, of a task's metrics under DataComp's names.
pub fn main_metric(task: &DatacompTask, metrics: &Map<String, Value>) -> Option<f64> {
    metrics.get(task.metric()).and_then(Value::as_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_that_comes_along_is_datacomps() {
        let tasks = parse(TASKS).expect("it is a list");
        assert_eq!((tasks.len(), tasks.iter().filter(|task| task.counts()).count()), (40, 38));
        let first = &tasks[0];
        assert_eq!(
            (&*first.key, &*first.name, first.size, first.metric()),
            ("vtab/caltech101", "Caltech-101", Some(6085), "mean_per_class_recall")
        );
        assert_eq!(first.tags, ["vtab_natural"]);
        assert_eq!(tasks[39].key, "fairness/utkface", "the order stays");
    }

    #[test]
    fn a_wrong_list_is_told() {
        for text in ["- a\n- b\n", "a: [1, 2\n", "{}", "a:\n  size: many\n"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("a/b: {}\n").expect("no fields are needed")[0].name, "a/b");
    }

    #[test]
    fn folders_are_looked_for_under_datacomps_names() {
        let root = tempfile::tempdir().expect("a folder");
        for name in ["wds_vtab-dtd_test", "wds_geode_test", "wds_flickr30k"] {
            std::fs::create_dir_all(root.path().join(name).join("test")).expect("room");
        }
        let data = |key: &str, main_metric: Option<&str>| {
            DatacompTask { key: key.into(), main_metric: main_metric.map(str::to_owned), ..DatacompTask::default() }.data(root.path())
        };
        for (key, name) in
            [("vtab/dtd", "wds_vtab-dtd_test"), ("fairness/geode", "wds_geode_test"), ("retrieval/flickr30k", "wds_flickr30k")]
        {
            let found = TaskData::There(BenchmarkFolder { dataset: key.into(), path: root.path().join(name) });
            assert_eq!(data(key, Some("acc1")), found, "{key}");
        }
        assert!(matches!(data("wilds/fmow", Some("acc_worst_region")), TaskData::Absent(why) if why.contains("wds_wilds-fmow_test")));
        assert!(matches!(data("misc/winogavil", Some("jaccard_score_10-12")), TaskData::Refused(why) if why.contains("nlphuji")));
        assert!(matches!(data("fairness/utkface", None), TaskData::Refused(_)));
    }
}
