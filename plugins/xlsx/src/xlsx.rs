//! The source `xlsx`.

use vlhub_sdk::prelude::*;
use vlhub_sdk::sources::{ClassNames, ColumnKeys, LabelColumn, PictureTable, TableHeader};
use xxhash_rust::xxh3::Xxh3;

use crate::sheet::{SheetCell, SheetRow, rows};

/// A sheet of an Excel workbook (`.xlsx`, `.xlsm`) with a column of picture files and a column of captions.
///
/// Its first row that is not empty names the columns; columns without a name are not read. What is read of it is held in memory. A formula counts as
/// the value that was saved with it; where it had failed, its row is listed as unusable.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct XlsxConfig {
    /// The workbook, which may be elsewhere (`https://…`, `s3://…`). Pictures' paths start at its folder unless they are absolute; of a workbook that
    /// is elsewhere, at the run file's.
    pub path: String,
    /// The sheet's name. Empty: the first.
    pub sheet: String,
    /// Column of the pictures' files. Empty: texts without pictures.
    pub img_key: String,
    /// Column of the captions. Empty: pictures without captions, or with the names of their classes for captions.
    pub caption_key: String,
    /// Column of the class labels: numbers, or names. Empty: no labels.
    pub label_key: String,
    /// Class names: a list, or a file with one a line. Without them names in the label column count in the order in which they first stand there.
    pub classes: Option<ClassNames>,
}

impl Default for XlsxConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            sheet: String::new(),
            img_key: DEFAULTS.image.into(),
            caption_key: DEFAULTS.caption.into(),
            label_key: String::new(),
            classes: None,
        }
    }
}

/// As in a CSV.
const DEFAULTS: ColumnKeys<'static> = ColumnKeys { image: "filepath", caption: "title", label: "" };
/// Rows that a glance at a sheet reads.
const GLANCE: usize = 256;

register!(dyn Source, "xlsx", XlsxConfig);

impl Config<dyn Source> for XlsxConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        Ok(Box::new(SheetTable::open(self, cx)?))
    }
}

/// A row that can be used.
#[derive(Clone, Debug)]
struct UsableRow {
    number: u32,
    cells: Vec<String>,
    label: Option<u32>,
}

/// A sheet in memory.
#[derive(Debug)]
struct SheetTable {
    /// For people.
    name: String,
    table: PictureTable,
    /// Number of each column in the sheet.
    places: Vec<u32>,
    rows: Vec<UsableRow>,
    problems: Vec<Bad>,
    fingerprint: String,
}

impl SheetTable {
    /// Reads a sheet.
    ///
    /// # Errors
    /// No such file or sheet, a column that is required or named and is missing, a header with a name twice, or no usable row.
    fn open(config: &XlsxConfig, cx: &SourceCx<'_>) -> Result<Self> {
        if config.path.is_empty() {
            return Err(Error::invalid("`path` is missing: a workbook with a sheet of pictures and captions"));
        }
        let local = cx.host.local(std::slice::from_ref(&config.path), cx)?.pop().ok_or_else(|| Error::invalid("no file"))?;
        // For people.
        let path = local.shown();
        let most = if cx.extent == Extent::Glance { GLANCE } else { usize::MAX };
        let (sheet, rows) = rows(&local.path, &config.sheet, most)?;
        let name = local.name;
        let mut rows = rows.into_iter();
        let head = rows.next().ok_or_else(|| Error::invalid(format!("sheet `{sheet}` of {} is empty", path.display())))?;
        let (mut places, mut header) = (Vec::new(), Vec::new());
        for (column, cell) in head.cells {
            if let SheetCell::Text(text) = cell
                && !text.trim().is_empty()
            {
                places.push(column);
                header.push(text.trim().to_owned());
            }
        }
        let mut problems: Vec<Bad> = local.damage.into_iter().collect();
        let columns = TableHeader {
            names: &header,
            keys: ColumnKeys { image: &config.img_key, caption: &config.caption_key, label: &config.label_key },
            defaults: DEFAULTS,
            place: &format!("sheet `{sheet}` of {}, row {}", path.display(), head.number),
            short: &format!("{name}:{}", head.number),
            hint: "",
        }
        .columns(cx.wants, &mut problems)?;
        let classes = config.classes.as_ref().map(|names| names.read(cx.folder)).transpose()?.unwrap_or_default();
        let mut labels = LabelColumn::new(&classes);
        let mut hash = Xxh3::new();
        hash.update(vlhub_sdk::serde_json::to_string(config).unwrap_or_default().as_bytes());
        let folder = local.folder.unwrap_or_else(|| cx.folder.to_owned());
        let table = PictureTable { header, columns, folder, classes, wants: cx.wants };
        let mut this = Self { name, table, places, rows: Vec::new(), problems, fingerprint: String::new() };
        for row in rows {
            let number = row.number;
            let checked = this.cells(row).and_then(|cells| this.table.check(&cells, &mut labels).map(|label| (cells, label)));
            match checked {
                Ok((cells, label)) => {
                    hash.update(&number.to_le_bytes());
                    cells.iter().for_each(|cell| hash.update(&[cell.as_bytes(), b"\0"].concat()));
                    this.rows.push(UsableRow { number, cells, label });
                }
                Err((reason, detail)) => {
                    let place = format!("{}:{number}", this.name);
                    this.problems.push(Bad { key: place.clone(), place, reason, detail });
                }
            }
        }
        if this.rows.is_empty() {
            let first = this.problems.first().map(|bad| format!("; the first problem is {bad}")).unwrap_or_default();
            return Err(Error::invalid(format!("sheet `{sheet}` of {} holds no usable row{first}", path.display())));
        }
        this.table.classes = labels.finish(std::mem::take(&mut this.table.classes));
        this.fingerprint = format!("xlsx:{}:{:032x}", this.rows.len(), hash.digest128());
        Ok(this)
    }

    /// The cells of a row, one for each column: text where they are read, empty where they are not.
    fn cells(&self, row: SheetRow) -> Result<Vec<String>, (&'static str, String)> {
        let mut cells = vec![String::new(); self.places.len()];
        for (column, cell) in row.cells {
            let Ok(at) = self.places.binary_search(&column) else { continue };
            match cell {
                _ if !self.table.reads(at) => {}
                SheetCell::Text(text) => cells[at] = text,
                SheetCell::Failed(why) => return Err(("failed formula", format!("{why} in column `{}`", self.table.header[at]))),
            }
        }
        Ok(cells)
    }
}

impl Source for SheetTable {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn key(&self, index: usize) -> String {
        format!("{}:{}", self.name, self.rows[index].number)
    }

    fn read(&self, index: usize) -> Result<Raw, Bad> {
        let row = &self.rows[index];
        self.table.sample(self.key(index), row.cells.clone(), row.label)
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
#[path = "xlsx_tests.rs"]
mod tests;
