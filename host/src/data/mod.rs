//! Samples: where they are, in which order they are read, and how they become batches.
//!
//! A [`Source`] gives random access to samples and knows nothing of order. [`loader`] draws the order, reads with several threads and hands
//! out the same batches whatever their number. Whatever cannot be used is a [`Bad`], with its place and its class of reason; nothing is lost
//! silently.

pub(crate) mod batch;
mod brace;
pub mod check;
pub mod csv_source;
pub mod dataset;
pub mod decode;
pub mod folder;
mod group;
pub mod loader;
pub(crate) mod normalise;
pub mod ordered;
pub mod pack;
pub mod philox;
mod records;
pub mod shapes;
mod shards;
pub mod skipped;
pub mod stream;
pub mod tar_index;
#[cfg(test)]
pub(crate) mod testing;
pub mod tokens;
pub mod views;
pub mod webdataset;

use std::fmt::{self, Debug};
use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use serde::Serialize;
use serde_json::{Value, json};
use vlhub_core::{Caption, Error, Result, suggest};

/// Random access to samples; order and randomness are not its business.
pub trait Source: Send + Sync + Debug {
    /// How many samples it lists.
    fn len(&self) -> usize;
    /// Whether it lists none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Shard and key, or file: for people.
    fn key(&self, index: usize) -> String;
    /// Reads one sample. It is `Err` when the sample cannot be used; the others still can.
    fn read(&self, index: usize) -> Result<Raw, Bad>;
    /// Class names in the order of labels; empty when it has no classes.
    fn classes(&self) -> &[String];
    /// Changes when the data changes: goes into the checkpoint's manifest.
    fn fingerprint(&self) -> String;
    /// What was lost already when the source was indexed: damaged headers, rows without a picture, …
    fn problems(&self) -> &[Bad];
}

/// A picture as its source keeps it.
#[derive(Clone, PartialEq)]
pub enum Picture {
    /// The bytes of a JPEG, PNG, WebP, GIF or BMP file.
    Encoded(Vec<u8>),
    /// Pixels.
    Decoded(RgbImage),
}

impl Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encoded(bytes) => write!(f, "Encoded({} bytes)", bytes.len()),
            Self::Decoded(image) => write!(f, "Decoded({}×{})", image.width(), image.height()),
        }
    }
}

/// One sample as its source keeps it.
#[derive(Clone, Debug)]
pub struct Raw {
    /// As [`Source::key`].
    pub key: String,
    /// The picture; `None` in a source of texts.
    pub picture: Option<Picture>,
    /// Texts, labels and other columns.
    pub caption: Caption,
}

/// A sample that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bad {
    /// As [`Source::key`], as far as it is known.
    pub key: String,
    /// `shard:offset`, `file:line` or a file.
    pub place: String,
    /// Class of reason, such as `truncated image`: what is counted.
    pub reason: &'static str,
    /// The particular case, for people.
    pub detail: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({}): {}", self.key, self.place, self.reason)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ", {}", self.detail) }
    }
}

/// A `[data.NAME]` table: says by `use` which source it describes. A family that is closed when the program is linked.
#[typetag::serde(tag = "use")]
pub trait SourceConfig: Debug + Send + Sync {
    /// Opens and indexes the source. Relative paths start at `folder`.
    fn open(&self, folder: &Path) -> Result<Arc<dyn Source>>;
    /// What it names and is not there, found without reading anything.
    fn missing(&self, folder: &Path) -> Vec<String>;
}

/// Parses a `[data.NAME]` table without touching the data.
///
/// # Errors
/// An unknown `use`, unknown options and values of the wrong type, all of them, each with what is known or near.
pub fn parse(options: &Value) -> Result<Box<dyn SourceConfig>> {
    let table = options.as_object().ok_or_else(|| Error::Options("a data source is a table with `use = \"…\"`".into()))?;
    let known = source_names();
    let Some(name) = table.get("use").and_then(Value::as_str) else {
        return Err(Error::Options(format!("a data source needs `use = \"…\"`; known: {}", known.join(" "))));
    };
    if !known.contains(&name) {
        return Err(Error::Unknown {
            kind: "data source",
            name: name.to_owned(),
            near: suggest(name, known.iter().copied()).map(str::to_owned),
            known: known.into_iter().map(str::to_owned).collect(),
            elsewhere: None,
        });
    }
    let mut problems = Vec::new();
    for (option, value) in table.iter().filter(|(option, _)| *option != "use") {
        // One option at a time, so that every problem is found and each is known to belong to its option.
        let Err(error) = serde_json::from_value::<Box<dyn SourceConfig>>(json!({"use": name, option: value})) else { continue };
        let message = error.to_string();
        problems.push(if message.starts_with("unknown field") {
            let options = listed(&message);
            let near = suggest(option, options.iter().map(String::as_str)).map(|near| format!("; did you mean `{near}`?"));
            format!("`{name}` has no option `{option}`{} it has: {}", near.unwrap_or_else(|| ";".into()), options.join(" "))
        } else {
            format!("`{name}` option `{option}`: {message}")
        });
    }
    if !problems.is_empty() {
        return Err(Error::Options(problems.join("\n")));
    }
    serde_json::from_value(options.clone()).map_err(|error| Error::Options(format!("`{name}`: {error}")))
}

/// Opens the source that a `[data.NAME]` table describes. Relative paths start at `folder`.
///
/// # Errors
/// As [`parse`], and what keeps the source from being opened.
pub fn open(options: &Value, folder: &Path) -> Result<Arc<dyn Source>> {
    parse(options)?.open(folder)
}

/// The sources of this build, sorted.
pub fn source_names() -> Vec<&'static str> {
    use std::sync::OnceLock;
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        // Only typetag knows the family; it lists it when it is asked for a member that cannot exist.
        let error = serde_json::from_value::<Box<dyn SourceConfig>>(json!({"use": ""})).err();
        let mut names = error.map(|error| listed(&error.to_string())).unwrap_or_default();
        names.sort_unstable();
        names
    });
    names.iter().map(String::as_str).collect()
}

/// The names that serde lists in back quotes after `expected`.
fn listed(message: &str) -> Vec<String> {
    let names = message.split_once("expected").map_or("", |(_, names)| names);
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// `path`, starting at `folder` when it is relative.
pub(crate) fn below(folder: &Path, path: impl AsRef<Path>) -> std::path::PathBuf {
    folder.join(path)
}

/// Class names: one a line, or a list in the run file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize, vlhub_sdk::schemars::JsonSchema)]
#[serde(untagged)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum ClassNames {
    /// None.
    #[default]
    None,
    /// The names themselves.
    List(Vec<String>),
    /// A file with one name a line.
    File(String),
}

impl ClassNames {
    /// Reads them; relative paths start at `folder`.
    pub(crate) fn read(&self, folder: &Path) -> Result<Option<Vec<String>>> {
        match self {
            Self::None => Ok(None),
            Self::List(names) => Ok(Some(names.clone())),
            Self::File(path) => Self::file(&below(folder, path)).map(Some),
        }
    }

    /// The lines of a file; empty lines at its end do not count.
    pub(crate) fn file(path: &Path) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        Ok(text.trim_end().lines().map(|line| line.trim().to_owned()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_table_is_refused_with_what_is_known() {
        for (options, wanted, why) in [
            (json!([]), vec!["is a table"], "a list is no table"),
            (json!({"shards": "a.tar"}), vec!["needs `use", "webdataset"], "`use` is missing"),
            (
                json!({"use": "webdatset"}),
                vec!["no data source is called `webdatset`", "did you mean `webdataset`?"],
                "one letter is missing",
            ),
            (json!({"use": "parquet"}), vec!["known: csv imagefolder"], "nothing is near, so the known are listed"),
            (
                json!({"use": "csv", "seperator": ",", "path": 3}),
                vec!["no option `seperator`; did you mean `separator`?", "caption_key", "option `path`: invalid type"],
                "every problem is found at once",
            ),
        ] {
            let error = open(&options, Path::new(".")).expect_err(why).to_string();
            for wanted in wanted {
                assert!(error.contains(wanted), "{why}: {error}");
            }
        }
    }

    #[test]
    fn a_source_is_written_back_as_it_was_read() {
        let options = json!({"use": "webdataset", "shards": ["a.tar"]});
        let config = parse(&options).expect("it is right");
        let back = serde_json::to_value(&config).expect("it serialises");
        assert_eq!((&back["use"], &back["shards"]), (&options["use"], &options["shards"]), "{back}");
        assert_eq!(back["text_key"], "txt", "defaults are written too");
    }
}
