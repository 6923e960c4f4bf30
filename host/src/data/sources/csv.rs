//! A table of picture files and captions, strictly read: every row that cannot be used is reported with its line.
//!
//! The table is not held in memory. One pass checks it and remembers where each good row begins.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vlhub_core::{Caption, Error, Result, suggest};
use vlhub_sdk::schemars::JsonSchema;
use xxhash_rust::xxh3::Xxh3;

use super::folder::read_picture;
use super::records::Records;
use super::tar_index::read_full;
use super::{Bad, ClassNames, Picture, Raw, Source, SourceConfig, below};

/// A table with a column of picture files and a column of captions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct CsvConfig {
    /// The table. Pictures' paths start at its folder unless they are absolute.
    pub path: String,
    /// What stands between columns: one ASCII character. Empty: a comma in a file that ends in `.csv`, else a tab.
    pub separator: String,
    /// Column of the pictures' files. Empty: texts without pictures.
    pub img_key: String,
    /// Column of the captions.
    pub caption_key: String,
    /// Column of the class labels: numbers, or names. Empty: no labels.
    pub label_key: String,
    /// Class names: a list, or a file with one a line. Without them names in the label column count in the order in which they first stand there.
    pub classes: ClassNames,
}

impl Default for CsvConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            separator: String::new(),
            img_key: "filepath".into(),
            caption_key: "title".into(),
            label_key: String::new(),
            classes: ClassNames::None,
        }
    }
}

#[typetag::serde(name = "csv")]
impl SourceConfig for CsvConfig {
    fn open(&self, folder: &Path) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(CsvSource::open(self, folder)?))
    }
    fn missing(&self, folder: &Path) -> Vec<String> {
        let path = super::below(folder, &self.path);
        if path.exists() { Vec::new() } else { vec![format!("there is no file or folder `{}`", path.display())] }
    }
}

/// Where a row is.
#[derive(Clone, Copy, Debug)]
struct Row {
    offset: u64,
    length: u32,
    line: u64,
    label: Option<u32>,
}

/// Numbers of the columns that are read.
#[derive(Clone, Copy, Debug)]
struct Columns {
    image: Option<usize>,
    caption: usize,
    label: Option<usize>,
}

/// An indexed table.
#[derive(Debug)]
pub struct CsvSource {
    file: File,
    /// For people.
    name: String,
    folder: PathBuf,
    separator: u8,
    header: Vec<String>,
    columns: Columns,
    rows: Vec<Row>,
    classes: Vec<String>,
    problems: Vec<Bad>,
    fingerprint: String,
}

impl CsvSource {
    /// Reads a table once.
    ///
    /// # Errors
    /// A missing column, a header with a column twice, or no usable row.
    pub fn open(config: &CsvConfig, folder: &Path) -> Result<Self> {
        if config.path.is_empty() {
            return Err(Error::invalid("`path` is missing: a table of pictures and captions"));
        }
        let path = below(folder, &config.path);
        let io = |error| Error::io(&path, error);
        let file = File::open(&path).map_err(io)?;
        let separator = separator(config, &path)?;
        let mut records = Records::new(file.try_clone().map_err(io)?, separator).map_err(io)?;
        let head = records.read().map_err(io)?.ok_or_else(|| Error::invalid(format!("{} has no header line", path.display())))?;
        let header = head.bytes.as_deref().and_then(|bytes| fields(bytes, separator)).ok_or_else(|| {
            Error::invalid(format!("{}:1: the header line is not UTF-8, or has a quote that is not closed", path.display()))
        })?;
        let columns = columns(config, &header, &path, separator)?;
        let mut this = Self {
            file,
            name: path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned()),
            folder: path.parent().map_or_else(|| folder.to_owned(), Path::to_owned),
            separator,
            header,
            columns,
            rows: Vec::new(),
            classes: config.classes.read(folder)?.unwrap_or_default(),
            problems: Vec::new(),
            fingerprint: String::new(),
        };
        let mut hash = Xxh3::new();
        hash.update(serde_json::to_string(config).unwrap_or_default().as_bytes());
        let mut labels = Labels::new(&this.classes);
        while let Some(record) = records.read().map_err(io)? {
            let row = Row { offset: record.offset, length: record.length.min(u64::from(u32::MAX)) as u32, line: record.line, label: None };
            let Some(bytes) = record.bytes else {
                this.problems.push(this.bad(&row, "row too long", "a quote is not closed, or the separator is another"));
                continue;
            };
            hash.update(&bytes);
            match this.check(&bytes, &mut labels) {
                Ok(label) => this.rows.push(Row { label, ..row }),
                Err((reason, detail)) => this.problems.push(this.bad(&row, reason, detail)),
            }
        }
        if this.rows.is_empty() {
            let first = this.problems.first().map(|bad| format!("; the first problem is {bad}")).unwrap_or_default();
            return Err(Error::invalid(format!("{} holds no usable row{first}", path.display())));
        }
        this.classes = labels.finish(this.classes);
        this.fingerprint = format!("csv:{}:{:032x}", this.rows.len(), hash.digest128());
        Ok(this)
    }

    /// Whether a row can be used, and its label.
    fn check(&self, bytes: &[u8], labels: &mut Labels) -> Result<Option<u32>, (&'static str, String)> {
        let row = fields(bytes, self.separator).ok_or(("not UTF-8", String::new()))?;
        if row.len() != self.header.len() {
            return Err(("ragged row", format!("it has {} columns, the header {}", row.len(), self.header.len())));
        }
        if self.columns.image.is_some_and(|column| row[column].trim().is_empty()) {
            return Err(("no image", "its path is empty".into()));
        }
        if row[self.columns.caption].trim().is_empty() {
            return Err(("empty caption", String::new()));
        }
        self.columns.label.map(|column| labels.of(&row[column])).transpose().map_err(|detail| ("bad label", detail))
    }

    fn bad(&self, row: &Row, reason: &'static str, detail: impl Into<String>) -> Bad {
        let place = format!("{}:{}", self.name, row.line);
        Bad { key: place.clone(), place, reason, detail: detail.into() }
    }
}

/// Class labels as they are met.
struct Labels {
    names: HashMap<String, u32>,
    /// Whether names that are not known yet become classes.
    open: bool,
    known: u32,
}

impl Labels {
    fn new(classes: &[String]) -> Self {
        let names = (0..).zip(classes).map(|(number, name)| (name.clone(), number)).collect();
        Self { names, open: classes.is_empty(), known: classes.len() as u32 }
    }

    fn of(&mut self, text: &str) -> Result<u32, String> {
        let text = text.trim();
        if let Some(number) = self.names.get(text) {
            return Ok(*number);
        }
        match text.parse::<i64>() {
            // A number is a label, not a name; with known classes it must be one of them.
            Ok(number) => u32::try_from(number)
                .ok()
                .filter(|number| self.open || *number < self.known)
                .ok_or_else(|| format!("`{text}` is out of range")),
            Err(_) if text.is_empty() || text.parse::<f64>().is_ok() || text.starts_with('[') || !self.open => {
                Err(format!("`{}` is no class", text.chars().take(40).collect::<String>()))
            }
            Err(_) => {
                let number = self.names.len() as u32;
                self.names.insert(text.to_owned(), number);
                Ok(number)
            }
        }
    }

    fn finish(self, given: Vec<String>) -> Vec<String> {
        if !self.open {
            return given;
        }
        let mut names: Vec<(u32, String)> = self.names.into_iter().map(|(name, number)| (number, name)).collect();
        names.sort_unstable();
        names.into_iter().map(|(_, name)| name).collect()
    }
}

fn separator(config: &CsvConfig, path: &Path) -> Result<u8> {
    match config.separator.as_bytes() {
        [] => Ok(if path.extension().is_some_and(|suffix| suffix.eq_ignore_ascii_case("csv")) { b',' } else { b'\t' }),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
        _ => {
            Err(Error::invalid(format!("`separator` is {:?}; it must be one ASCII character, such as \"\\t\" or \",\"", config.separator)))
        }
    }
}

fn columns(config: &CsvConfig, header: &[String], path: &Path, separator: u8) -> Result<Columns> {
    if let Some(twice) = header.iter().enumerate().find(|(at, name)| header[..*at].contains(name)).map(|(_, name)| name) {
        return Err(Error::invalid(format!("{}:1: column `{twice}` stands there twice", path.display())));
    }
    let find = |option: &str, name: &str| {
        header.iter().position(|column| column == name).ok_or_else(|| {
            let near = suggest(name, header.iter().map(String::as_str)).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let other = if separator == b'\t' { "," } else { "\\t" };
            let hint = if header.len() == 1 { format!("; is another `separator` right, such as \"{other}\"?") } else { String::new() };
            Error::invalid(format!(
                "{}:1: `{option}` names column `{name}`, which is not there{near}{hint} columns: {}",
                path.display(),
                header.join(" ")
            ))
        })
    };
    let optional = |option: &str, name: &str| if name.is_empty() { Ok(None) } else { find(option, name).map(Some) };
    Ok(Columns {
        image: optional("img_key", &config.img_key)?,
        caption: find("caption_key", &config.caption_key)?,
        label: optional("label_key", &config.label_key)?,
    })
}

/// The fields of one record, or `None` if they are not UTF-8.
fn fields(bytes: &[u8], separator: u8) -> Option<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(bytes);
    let mut record = csv::ByteRecord::new();
    reader.read_byte_record(&mut record).ok()?;
    record.iter().map(|field| std::str::from_utf8(field).ok().map(str::to_owned)).collect()
}

impl Source for CsvSource {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn key(&self, index: usize) -> String {
        format!("{}:{}", self.name, self.rows[index].line)
    }

    fn read(&self, index: usize) -> Result<Raw, Bad> {
        let row = self.rows[index];
        let mut bytes = vec![0; row.length as usize];
        let count = read_full(&self.file, row.offset, &mut bytes).map_err(|error| self.bad(&row, "unreadable file", error.to_string()))?;
        let cells = fields(&bytes[..count], self.separator).filter(|cells| cells.len() == self.header.len());
        let mut cells = cells.ok_or_else(|| self.bad(&row, "table changed", "the row is no longer what was indexed; start again"))?;
        let mut caption = Caption { texts: vec![std::mem::take(&mut cells[self.columns.caption])], ..Caption::default() };
        caption.labels.extend(row.label.map(i64::from));
        let mut picture = None;
        if let Some(column) = self.columns.image {
            let path = below(&self.folder, cells[column].trim());
            let bytes = read_picture(&path, &self.key(index)).map_err(|bad| Bad {
                detail: format!("{} {}", path.display(), bad.detail).trim_end().to_owned(),
                place: self.key(index),
                ..bad
            })?;
            picture = Some(Picture::Encoded(bytes));
        }
        for (column, (name, cell)) in self.header.iter().zip(cells).enumerate() {
            if column != self.columns.caption {
                caption.meta.insert(name.clone(), cell);
            }
        }
        Ok(Raw { key: self.key(index), picture, caption })
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn problems(&self) -> &[Bad] {
        &self.problems
    }
}

#[cfg(test)]
#[path = "csv_tests.rs"]
mod tests;
