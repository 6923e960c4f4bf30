//! Suites for published folders, without a table in a run file.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vlhub_core::{EvalSuite, Registry};

use crate::config::sections::Every;
use crate::config::{Chosen, SuiteConfig};
use crate::data::sources::clip_benchmark::DatasetType;
use crate::failure::{Failure, Outcome};

/// A data set in CLIP_benchmark's layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchmarkFolder {
    /// Its name, as CLIP_benchmark has it: `wds/vtab/caltech101`.
    pub dataset: String,
    /// Where it is.
    pub path: PathBuf,
}

impl BenchmarkFolder {
    /// The data set of a folder: `wds_cars` is `wds/cars`, any other name stays as it is.
    pub fn new(path: PathBuf) -> Self {
        let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        let dataset = match name.strip_prefix("wds_") {
            Some(rest) => format!("wds/{}", rest.replacen("vtab-", "vtab/", 1)),
            None => name,
        };
        Self { dataset, path }
    }
}

/// The data sets that patterns name: each folder with a folder `split` of shards, or else the folders of that kind in it.
///
/// # Errors
/// Exit status 2: a pattern that does not parse, or where no such folder is.
pub fn find(patterns: &[String], split: &str) -> Outcome<Vec<BenchmarkFolder>> {
    let mut found = Vec::new();
    for pattern in patterns {
        let mut paths = if Path::new(pattern).is_dir() { vec![PathBuf::from(pattern)] } else { matching(pattern)? };
        if let [root] = &paths[..]
            && !is_dataset(root, split)
        {
            paths = matching(&format!("{}/*", glob::Pattern::escape(&root.display().to_string())))?;
        }
        paths.retain(|path| is_dataset(path, split));
        if paths.is_empty() {
            return Err(Failure::usage(format!(
                "--benchmark: `{pattern}` is no data set and holds none; one is a folder with `{split}/nshards.txt` and `{split}/0.tar`, …, as \
                 `clip_benchmark_export_wds` writes it"
            )));
        }
        found.extend(paths.into_iter().map(BenchmarkFolder::new));
    }
    found.dedup();
    Ok(found)
}

fn matching(pattern: &str) -> Outcome<Vec<PathBuf>> {
    let paths = glob::glob(pattern).map_err(|error| Failure::usage(format!("--benchmark: `{pattern}`: {error}")))?;
    Ok(paths.filter_map(Result::ok).filter(|path| path.is_dir()).collect())
}

fn is_dataset(folder: &Path, split: &str) -> bool {
    let split = folder.join(split);
    split.join("nshards.txt").is_file() || split.join("0.tar").is_file()
}

/// The suite for a data set: `zeroshot`, `retrieval` or `multilabel`, as its `dataset_type.txt` says, with its own templates.
///
/// # Errors
/// An unknown type, or a build without the suite.
pub fn suite(registry: &Registry, folder: &BenchmarkFolder, split: &str) -> Outcome<SuiteConfig> {
    let kind = DatasetType::of(&folder.path).map_err(|error| Failure::usage(error.to_string()))?;
    let path = std::path::absolute(&folder.path).unwrap_or_else(|_| folder.path.clone());
    let data = json!({ "use": "clip_benchmark", "path": path, "split": split });
    let (plugin, mut options) = match kind {
        DatasetType::Classification => ("zeroshot", json!({ "templates": "data" })),
        DatasetType::Multilabel => ("multilabel", json!({ "templates": "data" })),
        DatasetType::Retrieval => ("retrieval", json!({ "group": "sample" })),
    };
    options["data"] = data;
    chosen(registry, &folder.dataset, plugin, &options)
}

/// A suite that is called `key`, with options laid over its defaults.
fn chosen(registry: &Registry, key: &str, plugin: &str, options: &Value) -> Outcome<SuiteConfig> {
    let listed = registry.get::<dyn EvalSuite>(plugin)?;
    let mut all = listed.defaults();
    if let (Some(all), Some(options)) = (all.as_object_mut(), options.as_object()) {
        all.extend(options.clone());
    }
    let config = listed.parse(&all)?;
    Ok(SuiteConfig { key: key.to_owned(), every: Every::Never, chosen: Chosen { plugin: plugin.to_owned(), config } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_sets_are_found_by_folder_parent_and_pattern() {
        let root = tempfile::tempdir().expect("a folder");
        for name in ["wds_cars", "wds_vtab-dtd", "other"] {
            std::fs::create_dir_all(root.path().join(name).join("test")).expect("room");
        }
        for name in ["wds_cars", "wds_vtab-dtd"] {
            std::fs::write(root.path().join(name).join("test/nshards.txt"), "1").expect("room");
        }
        let path = |name: &str| root.path().join(name).display().to_string();
        let names = |patterns: &[String]| {
            let found = find(patterns, "test").map_err(|error| error.message)?;
            Ok::<_, String>(found.into_iter().map(|folder| folder.dataset).collect::<Vec<_>>())
        };
        assert_eq!(names(&[path("wds_cars")]).expect("one"), ["wds/cars"]);
        assert_eq!(names(&[path("")]).expect("a parent"), ["wds/cars", "wds/vtab/dtd"]);
        assert_eq!(names(&[path("wds_*")]).expect("a pattern"), ["wds/cars", "wds/vtab/dtd"]);
        assert!(names(&[path("other")]).expect_err("no shards").contains("nshards.txt"));
        assert!(names(&[path("nowhere/*")]).is_err());
    }
}
