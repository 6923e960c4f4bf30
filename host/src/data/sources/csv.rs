//! A table of picture files and captions, strictly read: every row that cannot be used is reported with its line.
//!
//! The table is not held in memory. One pass checks it and remembers where each good row begins.

use std::fs::File;
use std::path::Path;

use serde::{Deserialize, Serialize};
use vlhub_core::{Bad, Config, Error, Extent, Raw, Result, Source, SourceCx};
use vlhub_sdk::register;
use vlhub_sdk::schemars::JsonSchema;
use vlhub_sdk::sources::{ClassNames, ColumnKeys, LabelColumn, PictureTable, TableHeader};
use xxhash_rust::xxh3::Xxh3;

use super::records::Records;
use super::tar_index::read_full;

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
            img_key: DEFAULTS.image.into(),
            caption_key: DEFAULTS.caption.into(),
            label_key: String::new(),
            classes: None,
        }
    }
}

/// What open_clip calls these columns.
const DEFAULTS: ColumnKeys<'static> = ColumnKeys { image: "filepath", caption: "title", label: "" };

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
    separator: u8,
    table: PictureTable,
    rows: Vec<CsvRow>,
    problems: Vec<Bad>,
    fingerprint: String,
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
        let path = local.shown();
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
        let other = if separator == b'\t' { "," } else { "\\t" };
        let hint = if header.len() == 1 { format!("; is another `separator` right, such as \"{other}\"?") } else { String::new() };
        let columns = TableHeader {
            names: &header,
            keys: ColumnKeys { image: &config.img_key, caption: &config.caption_key, label: &config.label_key },
            defaults: DEFAULTS,
            place: &format!("{}:1", path.display()),
            short: &format!("{name}:1"),
            hint: &hint,
        }
        .columns(cx.wants, &mut problems)?;
        let mut this = Self {
            file,
            name,
            separator,
            table: PictureTable {
                header,
                columns,
                folder: local.folder.unwrap_or_else(|| cx.folder.to_owned()),
                classes: config.classes.as_ref().map(|names| names.read(cx.folder)).transpose()?.unwrap_or_default(),
                wants: cx.wants,
            },
            rows: Vec::new(),
            problems,
            fingerprint: String::new(),
        };
        let mut hash = Xxh3::new();
        hash.update(serde_json::to_string(config).unwrap_or_default().as_bytes());
        let mut labels = LabelColumn::new(&this.table.classes);
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
        this.table.classes = labels.finish(this.table.classes);
        this.fingerprint = format!("csv:{}:{:032x}", this.rows.len(), hash.digest128());
        Ok(this)
    }

    /// Whether a row can be used, and its label.
    fn check(&self, bytes: &[u8], labels: &mut LabelColumn) -> Result<Option<u32>, (&'static str, String)> {
        let cells = self.cells(bytes).ok_or(("not UTF-8", String::new()))?;
        self.table.check(&cells, labels)
    }

    /// The cells of a record: text where they are read, empty where they are not. `None` if one that is read is not UTF-8.
    fn cells(&self, bytes: &[u8]) -> Option<Vec<String>> {
        let cell =
            |(column, cell): (usize, Vec<u8>)| if self.table.reads(column) { String::from_utf8(cell).ok() } else { Some(String::new()) };
        fields(bytes, self.separator)?.into_iter().enumerate().map(cell).collect()
    }

    fn bad(&self, row: &CsvRow, reason: &'static str, detail: impl Into<String>) -> Bad {
        let place = format!("{}:{}", self.name, row.line);
        Bad { key: place.clone(), place, reason, detail: detail.into() }
    }
}

fn separator(config: &CsvConfig, path: &Path) -> Result<u8> {
    // What a shell hands on of `separator=\t` is a backslash and a letter.
    match config.separator.replace("\\t", "\t").as_bytes() {
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
        let cells = self.cells(&bytes[..count]).filter(|cells| cells.len() == self.table.header.len());
        let cells = cells.ok_or_else(|| self.bad(&row, "table changed", "the row is no longer what was indexed; start again"))?;
        self.table.sample(self.key(index), cells, row.label)
    }

    fn classes(&self) -> &[String] {
        &self.table.classes
    }

    fn labelled(&self) -> bool {
        self.table.columns.label.is_some()
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
