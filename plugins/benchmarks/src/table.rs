//! Tables of comma-separated values that name pictures.

use std::path::Path;

use vlhub_sdk::prelude::*;
use vlhub_sdk::suggest;

/// A table in memory.
#[derive(Debug)]
pub(crate) struct CsvTable {
    /// For people.
    name: String,
    header: Vec<String>,
    /// The rows with as many cells as the header, with their lines.
    pub rows: Vec<(u64, csv::StringRecord)>,
    /// The other rows.
    pub problems: Vec<Bad>,
}

impl CsvTable {
    /// Reads a table.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let broken = |error: csv::Error| Error::invalid(format!("{} is no table of comma-separated values: {error}", path.display()));
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path).map_err(broken)?;
        let header: Vec<String> =
            reader.headers().map_err(broken)?.iter().map(|name| name.trim_start_matches('\u{feff}').trim().to_owned()).collect();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut table = Self { name, header, rows: Vec::new(), problems: Vec::new() };
        for row in reader.records() {
            match row {
                Ok(row) if row.len() == table.header.len() => table.rows.push((row.position().map_or(0, csv::Position::line), row)),
                Ok(row) => {
                    let line = row.position().map_or(0, csv::Position::line);
                    let detail = format!("it has {} columns, the header {}", row.len(), table.header.len());
                    table.problems.push(table.bad(line, "ragged row", detail));
                }
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    table.problems.push(table.bad(line, "unreadable row", error.to_string()));
                }
            }
        }
        Ok(table)
    }

    /// The place of the first of several columns that is there.
    ///
    /// # Errors
    /// None is.
    pub fn column(&self, names: &[&str]) -> Result<usize> {
        let found = names.iter().find_map(|name| self.header.iter().position(|column| column == name));
        found.ok_or_else(|| {
            let wanted = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
            let near = names.iter().find_map(|name| suggest(name, self.header.iter().map(String::as_str)));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            Error::invalid(format!("{} has no column {wanted}{near}; it has: {}", self.name, self.header.join(", ")))
        })
    }

    /// A row that cannot be used.
    pub fn bad(&self, line: u64, reason: &'static str, detail: String) -> Bad {
        let place = format!("{}:{line}", self.name);
        Bad { key: place.clone(), place, reason, detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_cannot_be_used_are_listed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.csv");
        std::fs::write(&path, "\u{feff}path,class\na.jpg,\"cat, small\"\nb.jpg\n\"c\nd.jpg\",dog\n").expect("room");
        let table = CsvTable::read(&path).expect("a table");
        assert_eq!(table.rows.iter().map(|(line, row)| (*line, &row[1])).collect::<Vec<_>>(), [(2, "cat, small"), (4, "dog")]);
        assert_eq!((table.problems.len(), table.problems[0].place.as_str()), (1, "t.csv:3"));
        assert_eq!((table.column(&["path"]).expect("there"), table.column(&["cls", "class"]).expect("there")), (0, 1));
        let error = table.column(&["clas"]).expect_err("misspelt").to_string();
        assert!(error.contains("did you mean `class`? it has: path, class") || error.contains("did you mean `class`?; it has"), "{error}");
        assert!(CsvTable::read(&folder.path().join("gone.csv")).is_err());
    }
}
