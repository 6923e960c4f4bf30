//! One file: its footer, and blocks of its rows.

use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use parquet::basic::PageType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, RowGroupMetaData};
use vlhub_sdk::prelude::*;
use xxhash_rust::xxh3::Xxh3;

use crate::cells;
use crate::placed::Placed;

/// What is aimed at for a block: 1 MiB, the size of a page as most programs write it. A random read then costs about two pages.
const BLOCK_BYTES: u64 = 1 << 20;
/// Most rows of a block.
const BLOCK_ROWS: u64 = 4096;

/// A file whose footer was read.
#[derive(Debug)]
pub(crate) struct TableFile {
    pub path: PathBuf,
    /// For people: its path as the user named it.
    pub name: String,
    about: ArrowReaderMetadata,
}

/// Rows that are read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Block {
    /// The row group.
    pub group: u32,
    /// The first row, from the row group's first.
    pub start: u32,
    /// How many.
    pub rows: u32,
}

impl TableFile {
    /// Reads a footer.
    ///
    /// # Errors
    /// There is no such file, or it is no whole Parquet file.
    pub fn open(path: &Path, name: String) -> Result<Self> {
        let file = Placed::open(path).map_err(|error| Error::io(path, error))?;
        // What Arrow wrote of its own types is left aside: a file then has few kinds of columns, whatever wrote it.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_encoding_stats_as_mask(false);
        // Where pages are: a row is then read without those before it, and a damaged page does not hide those behind it.
        let options = options.with_offset_index_policy(PageIndexPolicy::Optional);
        let about = ArrowReaderMetadata::load(&file, options).map_err(|error| {
            Error::invalid(format!("{} is no whole Parquet file: {}; copy or write it again", path.display(), told(&error)))
        })?;
        Ok(Self { path: path.to_owned(), name, about })
    }

    /// Its columns.
    pub fn schema(&self) -> &arrow_schema::Schema {
        self.about.schema()
    }

    /// A value that its writer left in the footer.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let pairs = self.about.metadata().file_metadata().key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
    }

    /// Rows of each row group.
    pub fn groups(&self) -> impl Iterator<Item = u64> + '_ {
        self.about.metadata().row_groups().iter().map(|group| group.num_rows().max(0) as u64)
    }

    /// What its footer says of where its rows are and how large.
    pub fn fingerprint(&self, hash: &mut Xxh3) {
        hash.update(self.name.as_bytes());
        for group in self.about.metadata().row_groups() {
            hash.update(&group.num_rows().to_le_bytes());
            for column in group.columns() {
                hash.update(column.column_path().string().as_bytes());
                for number in [column.data_page_offset(), column.compressed_size(), column.uncompressed_size(), column.num_values()] {
                    hash.update(&number.to_le_bytes());
                }
                if let Some(statistics) = column.statistics() {
                    [statistics.min_bytes_opt(), statistics.max_bytes_opt()].into_iter().flatten().for_each(|bytes| hash.update(bytes));
                }
            }
        }
    }

    /// Uncompressed bytes of a row group's columns that are read.
    fn bytes(&self, group: &RowGroupMetaData, columns: &[usize]) -> u64 {
        let schema = self.about.parquet_schema();
        let is_read = |leaf: &usize| columns.contains(&schema.get_column_root_idx(*leaf));
        (0..group.num_columns()).filter(is_read).map(|leaf| group.column(leaf).uncompressed_size().max(0) as u64).sum()
    }

    /// Bytes that are decoded when one row is read, as a mean over the row groups. `None` where the footer does not tell.
    pub fn cost(&self, columns: &[usize]) -> Option<u64> {
        let groups = self.about.metadata().row_groups();
        let all = groups.iter().map(|group| self.pages(group, columns)).sum::<Option<u64>>()?;
        all.checked_div(groups.len() as u64)
    }

    /// Bytes of the pages that one row lies in: of each column its dictionary, and a page of data.
    fn pages(&self, group: &RowGroupMetaData, columns: &[usize]) -> Option<u64> {
        let schema = self.about.parquet_schema();
        let mut bytes = 0;
        for leaf in (0..group.num_columns()).filter(|leaf| columns.contains(&schema.get_column_root_idx(*leaf))) {
            let column = group.column(leaf);
            let data = column.page_encoding_stats()?.iter();
            let data = data.filter(|pages| matches!(pages.page_type, PageType::DATA_PAGE | PageType::DATA_PAGE_V2));
            let count: u64 = data.map(|pages| pages.count.max(0) as u64).sum();
            let all = column.uncompressed_size().max(0) as u64;
            let dictionary = column.dictionary_page_offset().map_or(0, |start| (column.data_page_offset() - start).max(0) as u64).min(all);
            bytes += dictionary + (all - dictionary) / count.max(1);
        }
        Some(bytes)
    }

    /// Uncompressed bytes of columns.
    pub fn decoded(&self, columns: &[usize]) -> u64 {
        self.about.metadata().row_groups().iter().map(|group| self.bytes(group, columns)).sum()
    }

    /// Reads one column from its beginning to its end.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn scan(&self, column: usize, mut each: impl FnMut(&RecordBatch)) -> Result<()> {
        let file = Placed::open(&self.path).map_err(|error| Error::io(&self.path, error))?;
        let damaged = |why: String| Error::invalid(format!("{}, column {column}: {why}", self.path.display()));
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.about.clone())
            .with_projection(ProjectionMask::roots(self.about.parquet_schema(), [column]))
            .build()
            .map_err(|error| damaged(told(&error)))?;
        for batch in reader {
            each(&batch.map_err(|error| damaged(error.to_string()))?);
        }
        Ok(())
    }

    /// For each row group, the runs of rows (first and number) whose text in a column is `value`.
    ///
    /// # Errors
    /// There is no such column of texts, or the file is damaged.
    pub fn rows_with(&self, column: &str, value: &str) -> Result<Vec<Vec<(u64, u64)>>> {
        let number =
            self.schema().index_of(column).map_err(|_| Error::invalid(format!("{} has no column `{column}`", self.path.display())))?;
        let mut fits = Vec::new();
        self.scan(number, |batch| {
            fits.extend((0..batch.num_rows()).map(|row| cells::text(batch.column(0), row) == Some(value)));
        })?;
        let mut fits = fits.into_iter();
        let mut runs = Vec::new();
        for rows in self.groups() {
            let mut found: Vec<(u64, u64)> = Vec::new();
            for row in (0..rows).zip(&mut fits).filter(|(_, fits)| *fits).map(|(row, _)| row) {
                match found.last_mut() {
                    Some((start, count)) if *start + *count == row => *count += 1,
                    _ => found.push((row, 1)),
                }
            }
            runs.push(found);
        }
        Ok(runs)
    }

    /// The block that a row of a row group is in.
    pub fn block(&self, group: usize, row: u64, columns: &[usize]) -> Block {
        let about = self.about.metadata().row_group(group);
        let all = about.num_rows().max(1) as u64;
        let each = (self.bytes(about, columns) / all).max(1);
        // Large pages are decoded whole, so what they hold is kept together.
        let bytes = self.pages(about, columns).unwrap_or_default().max(BLOCK_BYTES);
        let rows = (bytes / each).clamp(1, BLOCK_ROWS);
        let start = row / rows * rows;
        Block { group: group as u32, start: start as u32, rows: rows.min(all.saturating_sub(start)) as u32 }
    }

    /// Reads rows. Pages before them are passed over, not decoded.
    ///
    /// # Errors
    /// The file is damaged there, or is no longer what it was.
    pub fn read(&self, block: Block, columns: &[usize]) -> Result<RecordBatch, String> {
        let file = Placed::open(&self.path).map_err(|error| error.to_string())?;
        let mask = ProjectionMask::roots(self.about.parquet_schema(), columns.iter().copied());
        let rows = block.rows as usize;
        let selection = RowSelection::from(vec![RowSelector::skip(block.start as usize), RowSelector::select(rows)]);
        let mut reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.about.clone())
            .with_row_groups(vec![block.group as usize])
            .with_projection(mask)
            .with_row_selection(selection)
            .with_batch_size(rows)
            .build()
            .map_err(|error| told(&error))?;
        let batch = reader.next().ok_or("it ends before the rows that its footer promises")?.map_err(|error| error.to_string())?;
        if batch.num_rows() != rows {
            return Err(format!("{} rows where its footer promises {rows}", batch.num_rows()));
        }
        Ok(batch)
    }
}

fn told(error: &ParquetError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
