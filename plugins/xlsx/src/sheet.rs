//! The cells of a sheet as texts, row by row.
//!
//! Cells are read as they stand in the file: a sheet whose last cell is far away takes no memory for the empty ones before it.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use calamine::{DataRef, Reader, Xlsx, XlsxError, open_workbook};
use vlhub_sdk::prelude::*;
use vlhub_sdk::suggest;

/// A row with at least one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SheetRow {
    /// Its number as a spreadsheet shows it, from 1.
    pub number: u32,
    /// Column, from 0, and what stands there; without empty cells, in order.
    pub cells: Vec<(u32, SheetCell)>,
}

/// What stands in a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SheetCell {
    Text(String),
    /// A formula that failed: `#N/A`, `#DIV/0!`.
    Failed(String),
}

/// The rows of a sheet. `name` is the sheet's; empty means the first. No more than `most` rows are read.
///
/// # Errors
/// The file is no workbook of this format, or has no such sheet.
pub(crate) fn rows(path: &Path, name: &str, most: usize) -> Result<(String, Vec<SheetRow>)> {
    let broken = |error: XlsxError| Error::invalid(format!("{} is no workbook that can be read (.xlsx, .xlsm): {error}", path.display()));
    if let Err(error) = std::fs::metadata(path) {
        return Err(Error::io(path, error));
    }
    let mut book: Xlsx<BufReader<File>> = open_workbook(path).map_err(broken)?;
    let sheets = book.sheet_names();
    let sheet = if name.is_empty() { sheets.first() } else { sheets.iter().find(|sheet| *sheet == name) };
    let sheet = sheet.cloned().ok_or_else(|| {
        let near = suggest(name, sheets.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        Error::invalid(format!("{} has no sheet `{name}`; {near}it has: {}", path.display(), sheets.join(", ")))
    })?;
    let mut cells = book.worksheet_cells_reader(&sheet).map_err(broken)?;
    let mut rows: Vec<SheetRow> = Vec::new();
    while let Some(cell) = cells.next_cell().map_err(broken)? {
        let (row, column) = cell.get_position();
        let Some(content) = content(cell.get_value()) else { continue };
        if rows.last().is_none_or(|last| last.number != row + 1) {
            if rows.len() == most {
                break;
            }
            rows.push(SheetRow { number: row + 1, cells: Vec::new() });
        }
        if let Some(last) = rows.last_mut() {
            last.cells.push((column, content));
        }
    }
    drop(cells);
    Ok((sheet, rows))
}

/// A cell as a person reads it: numbers without a fraction are whole, because a spreadsheet knows no others.
fn content(cell: &DataRef<'_>) -> Option<SheetCell> {
    let text = match cell {
        DataRef::Empty => return None,
        DataRef::Error(error) => return Some(SheetCell::Failed(error.to_string())),
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => (*number as i64).to_string(),
        DataRef::Float(number) => number.to_string(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(value) => value.to_string(),
        DataRef::DateTime(time) => {
            let (year, month, day, hour, minute, second, _) = time.to_ymd_hms_milli();
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
        }
    };
    Some(SheetCell::Text(text)).filter(|_| !matches!(cell, DataRef::String(text) if text.is_empty()))
}
