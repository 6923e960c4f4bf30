//! Data sets as CLIP_benchmark exports them: shards with class names, templates and type beside them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;
use vlhub_core::{Bad, Config, Error, Raw, Result, Share, Source, SourceCx, suggest};
use vlhub_sdk::register;
use vlhub_sdk::schemars::JsonSchema;

use crate::data::natural::natural;

/// A data set as `clip_benchmark_export_wds` writes it, and as `clip-benchmark/wds_…` are published: `{train,test}/{nshards.txt,0.tar,…}`,
/// `classnames.txt`, `zeroshot_classification_templates.txt` and `dataset_type.txt`, which says `retrieval` or `multilabel` where it is not
/// classification. Captions stand in `.txt`, one a line; classes in `.cls`; the classes of `multilabel` in `.npy`, a number for each class.
///
/// A `.npy` member beside a class (DataComp's groups) comes along as a column `npy`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ClipBenchmarkConfig {
    /// The folder with `classnames.txt`.
    pub path: String,
    /// The folder of shards below it.
    pub split: String,
}

impl Default for ClipBenchmarkConfig {
    fn default() -> Self {
        Self { path: String::new(), split: "test".into() }
    }
}

register!(dyn Source, "clip_benchmark", ClipBenchmarkConfig);

/// What has to be there, for messages.
const LAYOUT: &str = "CLIP_benchmark's layout is a folder with `test/nshards.txt`, `test/0.tar`, …, `classnames.txt` and \
                      `zeroshot_classification_templates.txt`; `clip_benchmark_export_wds` writes it, and https://huggingface.co/clip-benchmark \
                      has many";

/// What a data set is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatasetType {
    /// One class for each picture.
    Classification,
    /// Captions.
    Retrieval,
    /// Any number of classes for each picture.
    Multilabel,
}

impl DatasetType {
    const NAMES: [(&str, Self); 3] =
        [("classification", Self::Classification), ("retrieval", Self::Retrieval), ("multilabel", Self::Multilabel)];

    /// What `dataset_type.txt` of a folder says; classification without it.
    ///
    /// # Errors
    /// An unknown type, or a file that cannot be read.
    pub fn of(folder: &Path) -> Result<Self> {
        let Some(text) = text_of(&folder.join("dataset_type.txt"))? else { return Ok(Self::Classification) };
        let name = text.trim().to_lowercase();
        let known = Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        known.ok_or_else(|| {
            let near =
                suggest(&name, Self::NAMES.map(|(known, _)| known)).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let file = folder.join("dataset_type.txt");
            Error::invalid(format!("{}: no type is called `{name}`{near} known: classification retrieval multilabel", file.display()))
        })
    }
}

/// The text of a file, `None` where it is not there.
fn text_of(file: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(file, error)),
    }
}

/// The lines of a file, without white space around them and without empty lines at its end.
fn lines_of(file: &Path) -> Result<Vec<String>> {
    let text = text_of(file)?.unwrap_or_default();
    Ok(text.trim_end().lines().map(|line| line.trim().to_owned()).collect())
}

/// The shards of a split: as many as `nshards.txt` says.
fn shards(split: &Path) -> Result<Vec<PathBuf>> {
    let file = split.join("nshards.txt");
    if let Some(text) = text_of(&file)? {
        let count: Option<usize> = text.trim().parse().ok().filter(|count| *count > 0);
        let count = count.ok_or_else(|| Error::invalid(format!("{}: `{}` is no number of shards", file.display(), text.trim())))?;
        return Ok((0..count).map(|number| split.join(format!("{number}.tar"))).collect());
    }
    let entries = std::fs::read_dir(split).map_err(|error| Error::io(split, error))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut found: Vec<String> = names.filter(|name| name.ends_with(".tar")).collect();
    found.sort_by_key(|name| natural(name));
    if found.is_empty() {
        return Err(Error::Absent { path: file.display().to_string(), layout: LAYOUT.into() });
    }
    Ok(found.into_iter().map(|name| split.join(name)).collect())
}

impl Config<dyn Source> for ClipBenchmarkConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        if self.path.is_empty() {
            return Err(Error::invalid(format!("`path` is missing. {LAYOUT}")));
        }
        let folder = cx.folder.join(&self.path);
        let split = folder.join(&self.split);
        if !split.is_dir() {
            return Err(Error::Absent { path: split.display().to_string(), layout: LAYOUT.into() });
        }
        let kind = DatasetType::of(&folder)?;
        let shards: Vec<String> = shards(&split)?.into_iter().map(|path| path.display().to_string()).collect();
        let [text, class, array] = match kind {
            DatasetType::Retrieval => ["txt", "", ""],
            DatasetType::Classification => ["", "cls", "npy"],
            DatasetType::Multilabel => ["", "npy", ""],
        };
        let mut table = json!({
            "use": "webdataset", "shards": shards, "image_key": "webp;png;jpg;jpeg", "text_key": text, "class_key": class, "array_key": array,
        });
        let classes = if kind == DatasetType::Retrieval { Vec::new() } else { lines_of(&folder.join("classnames.txt"))? };
        if !classes.is_empty() {
            table["classes"] = json!(classes);
        }
        let templates = lines_of(&folder.join("zeroshot_classification_templates.txt"))?;
        Ok(Box::new(ClipBenchmark { shards: cx.host.open(&table, cx)?, templates }))
    }
}

/// The shards, and what stands beside them.
#[derive(Debug)]
struct ClipBenchmark {
    shards: Box<dyn Source>,
    templates: Vec<String>,
}

impl Source for ClipBenchmark {
    fn len(&self) -> usize {
        self.shards.len()
    }

    fn key(&self, index: usize) -> String {
        self.shards.key(index)
    }

    fn read(&self, index: usize) -> Result<Raw, Bad> {
        self.shards.read(index)
    }

    fn classes(&self) -> &[String] {
        self.shards.classes()
    }

    fn templates(&self) -> &[String] {
        &self.templates
    }

    fn labelled(&self) -> bool {
        self.shards.labelled()
    }

    fn fingerprint(&self) -> String {
        self.shards.fingerprint()
    }

    fn shares(&self) -> Vec<Share> {
        self.shards.shares()
    }

    fn problems(&self) -> &[Bad] {
        self.shards.problems()
    }

    fn notes(&self) -> &[String] {
        self.shards.notes()
    }
}

#[cfg(test)]
#[path = "clip_benchmark_tests.rs"]
mod tests;
