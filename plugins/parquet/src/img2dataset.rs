//! The source `img2dataset`: a folder that img2dataset wrote, whatever it was told to write, with what it says of each shard beside it.

mod files;
mod stats;

use std::path::{Path, PathBuf};

use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json::json;

use crate::file::TableFile;
use crate::table::{ParquetConfig, ParquetTable};

/// A folder that img2dataset wrote, with `output_format` `webdataset`, `parquet` or `files`.
///
/// What failed to download is no sample. Remarks tell how much that was and why, which shards img2dataset had not finished, and which hold another
/// number of samples than their `_stats.json` says.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct Img2datasetConfig {
    /// The folder: img2dataset's `output_folder`.
    pub path: String,
}

register!(dyn Source, "img2dataset", Img2datasetConfig);

/// What img2dataset calls pictures, by its `encode_format`.
const ENCODED: [&str; 3] = ["jpg", "png", "webp"];

impl Config<dyn Source> for Img2datasetConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        if self.path.is_empty() {
            return Err(Error::invalid("`path` is missing: the folder that img2dataset wrote"));
        }
        let folder = cx.folder.join(&self.path);
        let shards = Shards::of(&folder)?;
        let (source, ends) = shards.open(&folder, cx)?;
        let notes = if cx.extent == Extent::Whole { stats::notes(&folder, &shards.stems(), source.as_ref(), ends)? } else { Vec::new() };
        let notes = source.notes().iter().cloned().chain(notes).collect();
        Ok(Box::new(Noted { source, notes }))
    }
}

/// The shards of a folder, in the order of their numbers.
#[derive(Debug)]
enum Shards {
    Tar(Vec<PathBuf>),
    Parquet(Vec<PathBuf>),
    Files(Vec<PathBuf>),
}

impl Shards {
    /// Looks at a folder.
    ///
    /// # Errors
    /// The folder cannot be read, or img2dataset did not write it.
    fn of(folder: &Path) -> Result<Self> {
        let (mut tar, mut parquet, mut files) = (Vec::new(), Vec::new(), Vec::new());
        for entry in std::fs::read_dir(folder).map_err(|error| Error::io(folder, error))? {
            let path = entry.map_err(|error| Error::io(folder, error))?.path();
            // A shard is a number; beside it stand its table and its statistics.
            if !stem(&path).bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            match path.extension().and_then(|suffix| suffix.to_str()) {
                Some("tar") => tar.push(path),
                Some("parquet") => parquet.push(path),
                None if path.is_dir() => files.push(path),
                _ => {}
            }
        }
        for list in [&mut tar, &mut parquet, &mut files] {
            list.sort();
        }
        match (tar.is_empty(), files.is_empty(), parquet.is_empty()) {
            (false, ..) => Ok(Self::Tar(tar)),
            (_, false, _) => Ok(Self::Files(files)),
            (.., false) => Ok(Self::Parquet(parquet)),
            _ => Err(Error::invalid(format!(
                "{} holds no shard of img2dataset: 00000.tar, 00000.parquet or a folder 00000 (its `output_format` tfrecord and dummy are not read)",
                folder.display()
            ))),
        }
    }

    fn stems(&self) -> Vec<String> {
        let (Self::Tar(paths) | Self::Parquet(paths) | Self::Files(paths)) = self;
        paths.iter().map(|path| stem(path)).collect()
    }

    /// The samples, and what follows a shard's number in their keys.
    fn open(&self, folder: &Path, cx: &SourceCx<'_>) -> Result<(Box<dyn Source>, &'static str)> {
        match self {
            Self::Tar(paths) => {
                // What braces mean in a list of shards they do not mean in a name.
                let plain = |path: &PathBuf| path.display().to_string().replace('\\', "\\\\").replace('{', "\\{").replace('}', "\\}");
                let shards: Vec<String> = paths.iter().map(plain).collect();
                let table = json!({"use": "webdataset", "shards": shards, "image_key": ENCODED.join(";"), "text_key": "txt"});
                Ok((cx.host.open(&table, cx)?, ".tar:"))
            }
            Self::Parquet(paths) => {
                let first = paths.first().ok_or_else(|| Error::invalid("no shard"))?;
                let about = TableFile::open(first, first.display().to_string())?;
                let has = |name: &&str| about.schema().index_of(name).is_ok();
                let image = ENCODED.iter().find(|name| has(name)).ok_or_else(|| {
                    Error::invalid(format!(
                        "{} has no column {}, and there is no tar beside it: img2dataset's `output_format` dummy keeps no pictures",
                        first.display(),
                        ENCODED.join(", ")
                    ))
                })?;
                let caption = if has(&"caption") { "caption" } else { "" };
                let config = ParquetConfig {
                    img_key: (*image).into(),
                    caption_key: caption.into(),
                    label_key: String::new(),
                    ..ParquetConfig::default()
                };
                let only = has(&"status").then_some(("status", "success"));
                Ok((Box::new(ParquetTable::open(&config, paths, only, cx)?), ".parquet:"))
            }
            Self::Files(paths) => Ok((Box::new(files::PictureFolders::open(folder, paths, cx)?), "/")),
        }
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// A source with remarks of another's.
#[derive(Debug)]
struct Noted {
    source: Box<dyn Source>,
    notes: Vec<String>,
}

impl Source for Noted {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn key(&self, index: usize) -> String {
        self.source.key(index)
    }

    fn read(&self, index: usize) -> Result<Raw, Bad> {
        self.source.read(index)
    }

    fn classes(&self) -> &[String] {
        self.source.classes()
    }

    fn labelled(&self) -> bool {
        self.source.labelled()
    }

    fn fingerprint(&self) -> String {
        self.source.fingerprint()
    }

    fn shares(&self) -> Vec<vlhub_sdk::Share> {
        self.source.shares()
    }

    fn problems(&self) -> &[Bad] {
        self.source.problems()
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}

#[cfg(test)]
#[path = "img2dataset_tests.rs"]
mod tests;
