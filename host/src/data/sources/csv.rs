//! A table of picture files and captions, strictly read: every row that cannot be used is reported with its line.
//!
//! The table is not held in memory. One pass checks it and remembers where each good row begins.

mod header;
mod labels;

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vlhub_core::{Bad, Caption, Config, Error, Extent, Picture, Raw, Result, Source, SourceCx, Want, Wants};
use vlhub_sdk::register;
use vlhub_sdk::schemars::JsonSchema;
use xxhash_rust::xxh3::Xxh3;

use super::class_names::ClassNames;
use super::picture_file;
use super::records::Records;
use super::tar_index::read_full;
use header::{CsvColumns, HeaderLine};
use labels::LabelColumn;

/// A table with a column of picture files and a column of captions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct CsvConfig {
    /// The table, which may be compressed, or elsewhere (`https://…`, `s3://…`). Pictures' paths start at its folder unless they are absolute;
    /// of a table that is elsewhere, at the run file's.
    pub path: String,
    /// What stands between columns: one ASCII character. Empty: a comma in a file that ends in `.csv` (`.csv.gz`, `.csv.zst`), else a tab.
    pub separator: String,
    /// Column of the pictures' files. Empty: texts without pictures.
    pub img_key: String,
    /// Column of the captions. Empty: pictures without captions, or with the names of their classes for captions.
    pub caption_key: String,
    /// Column of the class labels: numbers, or names. Empty: no labels.
    pub label_key: String,
    /// Class names: a list, or a file with one a line. Without them names in the label column count in the order in which they first stand there.
    pub classes: Option<ClassNames>,
}

impl Default for CsvConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            separator: String::new(),
            img_key: "filepath".into(),
            caption_key: "title".into(),
            label_key: String::new(),
            classes: None,
        }
    }
}

register!(dyn Source, "csv", CsvConfig);

impl Config<dyn Source> for CsvConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        Ok(Box::new(CsvSource::open(self, cx)?))
    }
}

/// Rows that a glance at a table reads.
const GLANCE: usize = 256;

/// Where a row is.
#[derive(Clone, Copy, Debug)]
struct CsvRow {
    offset: u64,
    length: u32,
    line: u64,
    label: Option<u32>,
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
    columns: CsvColumns,
    rows: Vec<CsvRow>,
    classes: Vec<String>,
    problems: Vec<Bad>,
    fingerprint: String,
    wants: Wants,
}

impl CsvSource {
    /// Reads a table once.
    ///
    /// # Errors
    /// A column that is required or named and is missing, a header with a column twice, or no usable row.
    pub fn open(config: &CsvConfig, cx: &SourceCx<'_>) -> Result<Self> {
        if config.path.is_empty() {
            return Err(Error::invalid("`path` is missing: a table of pictures and captions"));
        }
        let local = cx.host.local(std::slice::from_ref(&config.path), cx)?.pop().ok_or_else(|| Error::invalid("no file"))?;
        // For people, and for what its ending says.
        let path = local.folder.as_ref().map_or_else(|| PathBuf::from(&local.name), |folder| folder.join(&local.name));
        let io = |error| Error::io(&path, error);
        let file = File::open(&local.path).map_err(io)?;
        let separator = separator(config, &path)?;
        let mut records = Records::new(file.try_clone().map_err(io)?, separator).map_err(io)?;
        let head = records.read().map_err(io)?.ok_or_else(|| Error::invalid(format!("{} has no header line", path.display())))?;
        let unreadable =
            || Error::invalid(format!("{}:1: the header line is not UTF-8, or has a quote that is not closed", path.display()));
        let header = head.bytes.as_deref().and_then(|bytes| fields(bytes, separator)).ok_or_else(unreadable)?;
        let header = header.into_iter().map(|name| String::from_utf8(name).ok()).collect::<Option<Vec<_>>>().ok_or_else(unreadable)?;
        let name = local.name;
        let mut problems: Vec<Bad> = local.damage.into_iter().collect();
        let columns = HeaderLine { config, names: &header, path: &path, file: &name, separator }.columns(cx.wants, &mut problems)?;
        let mut this = Self {
            file,
            name,
            folder: local.folder.unwrap_or_else(|| cx.folder.to_owned()),
            separator,
            header,
            columns,
            rows: Vec::new(),
            classes: config.classes.as_ref().map(|names| names.read(cx.folder)).transpose()?.unwrap_or_default(),
            problems,
            fingerprint: String::new(),
            wants: cx.wants,
        };
        let mut hash = Xxh3::new();
        hash.update(serde_json::to_string(config).unwrap_or_default().as_bytes());
        let mut labels = LabelColumn::new(&this.classes);
        let most = if cx.extent == Extent::Glance { GLANCE } else { usize::MAX };
        while let Some(record) = records.read().map_err(io)?.filter(|_| this.rows.len() < most) {
            let row =
                CsvRow { offset: record.offset, length: record.length.min(u64::from(u32::MAX)) as u32, line: record.line, label: None };
            let Some(bytes) = record.bytes else {
                this.problems.push(this.bad(&row, "row too long", "a quote is not closed, or the separator is another"));
                continue;
            };
            hash.update(&bytes);
            match this.check(&bytes, &mut labels) {
                Ok(label) => this.rows.push(CsvRow { label, ..row }),
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
    fn check(&self, bytes: &[u8], labels: &mut LabelColumn) -> Result<Option<u32>, (&'static str, String)> {
        let row = self.cells(bytes).ok_or(("not UTF-8", String::new()))?;
        if row.len() != self.header.len() {
            return Err(("ragged row", format!("it has {} columns, the header {}", row.len(), self.header.len())));
        }
        let Wants { picture, text, label, .. } = self.wants;
        let is_blank = |column: Option<usize>| column.is_some_and(|column| row[column].trim().is_empty());
        if picture == Want::Required && is_blank(self.columns.image) {
            return Err(("no image", "its path is empty".into()));
        }
        if text == Want::Required && is_blank(self.columns.caption) {
            return Err(("empty caption", String::new()));
        }
        let Some(column) = self.columns.label else { return Ok(None) };
        let class_is_caption = text.is_read() && self.columns.caption.is_none();
        if label == Want::Optional && !class_is_caption && row[column].trim().is_empty() {
            // As a sample of a shard without a label.
            return Ok(None);
        }
        let found = labels.of(&row[column]).map_err(|detail| ("bad label", detail))?;
        if text == Want::Required && class_is_caption && !labels.has_name(found) {
            return Err(("no caption", format!("class {found} has no name, which would be the caption")));
        }
        Ok(Some(found))
    }

    /// The cells of a record: text where they are read, empty where they are not. `None` if one that is read is not UTF-8.
    fn cells(&self, bytes: &[u8]) -> Option<Vec<String>> {
        let CsvColumns { image, caption, label } = self.columns;
        let is_read = |column: usize| self.wants.meta.is_read() || [image, caption, label].contains(&Some(column));
        let cell = |(column, cell): (usize, Vec<u8>)| if is_read(column) { String::from_utf8(cell).ok() } else { Some(String::new()) };
        fields(bytes, self.separator)?.into_iter().enumerate().map(cell).collect()
    }

    fn bad(&self, row: &CsvRow, reason: &'static str, detail: impl Into<String>) -> Bad {
        let place = format!("{}:{}", self.name, row.line);
        Bad { key: place.clone(), place, reason, detail: detail.into() }
    }
}

fn separator(config: &CsvConfig, path: &Path) -> Result<u8> {
    match config.separator.as_bytes() {
        [] => {
            let name = path.to_string_lossy().to_ascii_lowercase();
            let name = [".gz", ".zst"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(&name);
            Ok(if name.ends_with(".csv") { b',' } else { b'\t' })
        }
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
        _ => {
            Err(Error::invalid(format!("`separator` is {:?}; it must be one ASCII character, such as \"\\t\" or \",\"", config.separator)))
        }
    }
}

/// The fields of one record.
fn fields(bytes: &[u8], separator: u8) -> Option<Vec<Vec<u8>>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(bytes);
    let mut record = csv::ByteRecord::new();
    reader.read_byte_record(&mut record).ok()?;
    Some(record.iter().map(<[u8]>::to_vec).collect())
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
        let cells = self.cells(&bytes[..count]).filter(|cells| cells.len() == self.header.len());
        let mut cells = cells.ok_or_else(|| self.bad(&row, "table changed", "the row is no longer what was indexed; start again"))?;
        let mut caption = Caption::default();
        match self.columns.caption {
            Some(column) => caption.texts.push(std::mem::take(&mut cells[column])),
            None if self.wants.text.is_read() => {
                caption.texts.extend(row.label.and_then(|label| self.classes.get(label as usize)).cloned());
            }
            None => {}
        }
        caption.texts.retain(|text| !text.trim().is_empty());
        if self.wants.label.is_read() {
            caption.labels.extend(row.label.map(i64::from));
        }
        let mut picture = None;
        if let Some(column) = self.columns.image.filter(|column| !cells[*column].trim().is_empty()) {
            let path = self.folder.join(cells[column].trim());
            let bytes = picture_file::read(&path, &self.key(index)).map_err(|bad| Bad {
                detail: format!("{} {}", path.display(), bad.detail).trim_end().to_owned(),
                place: self.key(index),
                ..bad
            })?;
            picture = Some(Picture::Encoded(bytes));
        }
        if self.wants.meta.is_read() {
            let others = self.header.iter().zip(cells).enumerate().filter(|(column, _)| Some(*column) != self.columns.caption);
            caption.meta.extend(others.map(|(_, (name, cell))| (name.clone(), cell)));
        }
        Ok(Raw { key: self.key(index), picture, caption })
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn labelled(&self) -> bool {
        self.columns.label.is_some()
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
