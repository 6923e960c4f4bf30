//! The source `parquet`: a table whose rows are read at random.

use std::path::Path;

use arrow_array::RecordBatch;
use vlhub_sdk::prelude::*;
use vlhub_sdk::sources::{ClassNames, ColumnKeys, Files, LabelColumn, find_files, picture_file};
use xxhash_rust::xxh3::Xxh3;

use crate::blocks::Blocks;
use crate::cells::{self, ImageCell, LabelCell};
use crate::columns::{Columns, class_names};
use crate::file::{Block, TableFile};

/// A Parquet table, such as an export of Hugging Face `datasets`: pictures in the table or in files of their own, captions, labels.
///
/// Only the footers are read at the start. Rows are read at random as they are needed: for a row of a shuffled pass the pages that it lies in are
/// decoded, about 1 MiB as `datasets` writes them, far more as pandas and pyarrow do, who put 1024 rows into one page unless `write_batch_size`
/// says otherwise (a warning tells, above 8 MiB). Each page is decoded about once where rows are read in order, or all of it fits `cache_mb`. For a
/// table that is much larger, tar shards are faster: `vlhub data pack` writes them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ParquetConfig {
    /// Files: a pattern such as `"data/train-*.parquet"` or `"train-{00000..00002}-of-00003.parquet"`, several joined by `::`, a list, or a folder.
    /// All have the same columns.
    pub path: Files,
    /// Column of the pictures: a struct of `bytes` and `path` (Hugging Face's `Image`), bytes of a picture's file, or paths, which start at the
    /// folder of their table unless they are absolute. Empty: texts without pictures.
    pub img_key: String,
    /// Column of the captions: a text, or a list of texts. Empty, or where the default is not there: the names of classes for captions.
    pub caption_key: String,
    /// Column of the class labels: a number, a name, or a list of them; a number below 0 is no label, as in `datasets`. Empty: no labels.
    pub label_key: String,
    /// Class names: a list, or a file with one a line. Without them those that `datasets` left in the file; else names in the label column count in
    /// the order in which they first stand there.
    pub classes: Option<ClassNames>,
    /// Decoded rows that are kept in memory, in MiB.
    pub cache_mb: u32,
}

impl Default for ParquetConfig {
    fn default() -> Self {
        Self {
            path: Files::default(),
            img_key: DEFAULTS.image.into(),
            caption_key: DEFAULTS.caption.into(),
            label_key: DEFAULTS.label.into(),
            classes: None,
            cache_mb: 256,
        }
    }
}

/// What Hugging Face calls these columns where it makes a data set of a folder.
const DEFAULTS: ColumnKeys<'static> = ColumnKeys { image: "image", caption: "text", label: "label" };
/// Bytes that are decoded for one row before somebody has to hear of it.
const DEAR: u64 = 8 << 20;

register!(dyn Source, "parquet", ParquetConfig);

impl Config<dyn Source> for ParquetConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        let paths = find_files(&self.path, cx.folder, ".parquet", "path")?;
        Ok(Box::new(ParquetTable::open(self, &paths, None, cx)?))
    }
}

/// Consecutive rows of one row group that are samples.
#[derive(Clone, Copy, Debug)]
struct Rows {
    /// Number of the first sample.
    first: usize,
    file: u32,
    group: u32,
    /// The first row, from the row group's first, and from the file's first.
    start: u64,
    of_file: u64,
}

/// An opened table.
#[derive(Debug)]
pub(crate) struct ParquetTable {
    files: Vec<TableFile>,
    /// Of each file: they need not be in one order.
    columns: Vec<Columns>,
    rows: Vec<Rows>,
    len: usize,
    labels: LabelColumn,
    classes: Vec<String>,
    problems: Vec<Bad>,
    notes: Vec<String>,
    fingerprint: String,
    wants: Wants,
    blocks: Blocks,
}

impl ParquetTable {
    /// Reads the footers of files. `only`: a column and what a row must have there to be a sample; it is read as a whole.
    ///
    /// # Errors
    /// A file that is not whole, a column that is required or named and is missing, files with different columns, or no row.
    pub(crate) fn open(config: &ParquetConfig, paths: &[impl AsRef<Path>], only: Option<(&str, &str)>, cx: &SourceCx<'_>) -> Result<Self> {
        let mut this = Self {
            files: Vec::new(),
            columns: Vec::new(),
            rows: Vec::new(),
            len: 0,
            labels: LabelColumn::new(&[]),
            classes: config.classes.as_ref().map(|names| names.read(cx.folder)).transpose()?.unwrap_or_default(),
            problems: Vec::new(),
            notes: Vec::new(),
            fingerprint: String::new(),
            wants: cx.wants,
            blocks: Blocks::new(config.cache_mb as usize * (1 << 20)),
        };
        let mut hash = Xxh3::new();
        let options = ParquetConfig { cache_mb: 0, ..config.clone() };
        hash.update(vlhub_sdk::serde_json::to_string(&options).unwrap_or_default().as_bytes());
        for path in paths.iter().map(AsRef::as_ref) {
            let name = path.strip_prefix(cx.folder).unwrap_or(path).display().to_string();
            this.add(TableFile::open(path, name)?, config, only, &mut hash)?;
            if cx.extent == Extent::Glance && this.len > 0 {
                break;
            }
        }
        if this.len == 0 {
            let first = this.problems.first().map(|bad| format!("; the first problem is {bad}")).unwrap_or_default();
            return Err(Error::invalid(format!("{}: no row{first}", this.names())));
        }
        this.name_classes(cx.extent)?;
        this.classes.iter().for_each(|class| hash.update(class.as_bytes()));
        if let Some(cost) = this.cost().filter(|cost| *cost > DEAR && cx.extent == Extent::Whole) {
            this.notes.push(format!(
                "each row that is read of {} decodes about {} MiB, because its pages are as large; `vlhub data pack` makes shards of it that are read at random",
                this.names(),
                cost >> 20
            ));
        }
        this.fingerprint = format!("parquet:{}:{:032x}", this.len, hash.digest128());
        Ok(this)
    }

    fn add(&mut self, file: TableFile, config: &ParquetConfig, only: Option<(&str, &str)>, hash: &mut Xxh3) -> Result<()> {
        let keys = ColumnKeys { image: &config.img_key, caption: &config.caption_key, label: &config.label_key };
        let columns = Columns::of(file.schema(), keys, DEFAULTS, self.wants, &file.name, &mut self.problems)?;
        if let (Some(first), Some(about)) = (self.files.first(), self.columns.first())
            && (about.image, about.has()) != (columns.image, columns.has())
        {
            return Err(Error::invalid(format!(
                "{} has other columns than {}: {} against {}; read them as two sources of a `mix`",
                file.name,
                first.name,
                columns.names.join(" "),
                about.names.join(" ")
            )));
        }
        if config.classes.is_none() && columns.read.label.is_some() {
            let names = file.metadata("huggingface").and_then(|about| class_names(about, &config.label_key)).unwrap_or_default();
            match self.files.first() {
                None => self.classes = names,
                // One number would be two classes, or one class two numbers.
                Some(first) if names != self.classes => {
                    return Err(Error::invalid(format!(
                        "{} numbers its classes otherwise than {}; read them as two sources of a `mix`, which matches classes by name, or give `classes`",
                        file.name, first.name
                    )));
                }
                Some(_) => {}
            }
        }
        file.fingerprint(hash);
        let number = self.files.len() as u32;
        let chosen = only.map(|(column, value)| file.rows_with(column, value)).transpose()?;
        let mut of_file = 0;
        for (group, rows) in file.groups().enumerate() {
            let group = group as u32;
            let mut push = |start: u64, count: u64| {
                self.rows.push(Rows { first: self.len, file: number, group, start, of_file: of_file + start });
                self.len += count as usize;
            };
            match &chosen {
                None if rows > 0 => push(0, rows),
                None => {}
                Some(chosen) => chosen[group as usize].iter().for_each(|(start, count)| push(*start, *count)),
            }
            of_file += rows;
        }
        self.files.push(file);
        self.columns.push(columns);
        Ok(())
    }

    /// Names of files, for people.
    fn names(&self) -> String {
        match self.files.as_slice() {
            [] => "no file".into(),
            [file] => file.name.clone(),
            [first, .., last] => format!("{} to {}", first.name, last.name),
        }
    }

    /// Gives names that stand in the label column their numbers, where nothing else says what the classes are.
    fn name_classes(&mut self, extent: Extent) -> Result<()> {
        if self.classes.is_empty() && extent == Extent::Whole {
            let mut labels = LabelColumn::new(&[]);
            for (file, columns) in self.files.iter().zip(&self.columns) {
                let Some(label) = columns.read.label.filter(|label| Columns::named_labels(file.schema(), *label)) else { continue };
                file.scan(label, |batch| {
                    for row in 0..batch.num_rows() {
                        for cell in cells::labels(batch.column(0), row) {
                            if let LabelCell::Name(name) = cell {
                                // What is no label is told when its row is read.
                                drop(labels.of(&name));
                            }
                        }
                    }
                })?;
            }
            self.classes = labels.finish(Vec::new());
        }
        self.labels = LabelColumn::new(&self.classes);
        Ok(())
    }

    /// What the pages of a row take, as a mean over the files, unless the whole table fits the cache.
    fn cost(&self) -> Option<u64> {
        let costs: Vec<u64> = self.files.iter().zip(&self.columns).filter_map(|(file, columns)| file.cost(&columns.all())).collect();
        let all: u64 = self.files.iter().zip(&self.columns).map(|(file, columns)| file.decoded(&columns.all())).sum();
        let mean = costs.iter().sum::<u64>() / (costs.len() as u64).max(1);
        (all > self.blocks.most() as u64).then_some(mean)
    }

    /// The rows that a sample is in, and how many rows after their first it is.
    fn place(&self, index: usize) -> (&Rows, u64) {
        let at = self.rows.partition_point(|rows| rows.first <= index) - 1;
        (&self.rows[at], (index - self.rows[at].first) as u64)
    }

    /// The rows that hold a sample, and its number among them. A block that is damaged is read again for this row alone: its pages may be whole.
    fn row(&self, index: usize) -> Result<(std::sync::Arc<RecordBatch>, usize), String> {
        let (rows, after) = self.place(index);
        let (file, columns) = (&self.files[rows.file as usize], self.columns[rows.file as usize].all());
        let row = rows.start + after;
        let block = file.block(rows.group as usize, row, &columns);
        match self.blocks.get((rows.file, block), || file.read(block, &columns)) {
            Ok(batch) => Ok((batch, (row - u64::from(block.start)) as usize)),
            Err(_) if block.rows > 1 => {
                let alone = Block { start: row as u32, rows: 1, ..block };
                self.blocks.get((rows.file, alone), || file.read(alone, &columns)).map(|batch| (batch, 0))
            }
            Err(why) => Err(why),
        }
    }

    /// The labels of a row, as numbers of classes.
    fn numbers(&self, cells: Vec<LabelCell>) -> Result<Vec<i64>, String> {
        let mut numbers = Vec::new();
        for cell in cells {
            match cell {
                // `datasets` has -1 for a label that is not known.
                LabelCell::Number(number) if number < 0 => {}
                LabelCell::Number(number) if self.classes.is_empty() || (number as u64) < self.classes.len() as u64 => numbers.push(number),
                LabelCell::Number(number) => return Err(format!("{number} is out of range; there are {} classes", self.classes.len())),
                LabelCell::Name(name) if name.trim().is_empty() => {}
                LabelCell::Name(name) => {
                    let number =
                        self.labels.get(&name)?.ok_or_else(|| format!("`{}` is no class", name.chars().take(40).collect::<String>()))?;
                    numbers.push(number.into());
                }
                LabelCell::Wrong(why) => return Err(format!("{why} is no class")),
            }
        }
        Ok(numbers)
    }

    fn sample(&self, index: usize) -> Result<Raw, Bad> {
        let key = self.key(index);
        let bad = |reason, detail: String| Bad { key: key.clone(), place: key.clone(), reason, detail };
        let (batch, row) = self.row(index).map_err(|why| bad("corrupt table", why))?;
        let file = self.place(index).0.file as usize;
        let columns = &self.columns[file];
        let all = columns.all();
        let array = |column: Option<usize>| column.and_then(|column| all.binary_search(&column).ok()).map(|at| batch.column(at));
        let Wants { picture, text, label, .. } = self.wants;

        let mut caption = Caption::default();
        let numbers = array(columns.read.label).map(|array| self.numbers(cells::labels(array, row))).transpose();
        let numbers = numbers.map_err(|why| bad("bad label", why))?.unwrap_or_default();
        if label == Want::Required && numbers.is_empty() {
            return Err(bad("no label", String::new()));
        }
        match array(columns.read.caption) {
            Some(array) => caption.texts = cells::texts(array, row),
            None if text.is_read() => {
                let name = numbers.first().and_then(|number| self.classes.get(usize::try_from(*number).ok()?));
                caption.texts.extend(name.cloned());
            }
            None => {}
        }
        caption.texts.retain(|text| !text.trim().is_empty());
        if text == Want::Required && caption.texts.is_empty() {
            return Err(bad("no caption", String::new()));
        }
        if label.is_read() {
            caption.labels = numbers;
        }
        let ImageCell { bytes, path } = match (array(columns.read.image), columns.image) {
            (Some(array), Some(image)) => cells::image(array, row, image),
            _ => ImageCell::default(),
        };
        for column in &columns.meta {
            let cell = array(Some(*column)).and_then(|array| cells::plain(array, row));
            caption.meta.extend(cell.map(|cell| (columns.names[*column].clone(), cell)));
        }
        if let (true, Some(column), Some(path)) = (self.wants.meta.is_read(), columns.read.image, &path) {
            caption.meta.insert(columns.names[column].clone(), path.clone());
        }
        let bytes = match (bytes, path.filter(|path| !path.trim().is_empty())) {
            (Some(bytes), _) => Some(bytes),
            (None, Some(path)) => {
                let folder = self.files[file].path.parent().unwrap_or(Path::new(""));
                Some(picture_file::read_named_by(&folder.join(path.trim()), &key)?)
            }
            (None, None) => None,
        };
        if picture == Want::Required && bytes.is_none() {
            return Err(bad("no image", "it is null".into()));
        }
        Ok(Raw { key, picture: bytes.map(Picture::Encoded), caption })
    }
}

impl Source for ParquetTable {
    fn len(&self) -> usize {
        self.len
    }

    fn key(&self, index: usize) -> String {
        let (rows, after) = self.place(index);
        format!("{}:{}", self.files[rows.file as usize].name, rows.of_file + after)
    }

    fn read(&self, index: usize) -> Result<Raw, Bad> {
        self.sample(index)
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn labelled(&self) -> bool {
        self.columns.iter().any(|columns| columns.read.label.is_some())
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn problems(&self) -> &[Bad] {
        &self.problems
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
