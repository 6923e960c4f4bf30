//! `per_sample/SUITE.csv`: what was found for each sample.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use vlhub_core::{Error, MeanOf, Result, SampleTable, ScoreColumn};

use super::super::folder::plain;

/// Columns in front of the scores.
const OWN: [&str; 3] = ["key", "class", "predicted"];
/// The column behind them, in tables of which rows share a sampling unit. Without it each row is a unit of its own.
const UNIT: &str = "unit";

/// Bytes of a table that is read: tens of millions of samples.
const LARGEST: u64 = 1 << 30;

/// What `results.jsonl` says about a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFile {
    /// What its rows are, where a suite has several; else empty.
    pub name: String,
    /// Its path in the folder.
    pub file: String,
    /// Metrics that are a mean of the means of each class; the others are means of all rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean_of_classes: Vec<String>,
}

/// Writes a table as `per_sample/STEM.csv`, or `per_sample/STEM.TABLE.csv` for one that has a name.
///
/// # Errors
/// A column that is not as long as the keys; the file and why it cannot be written.
pub fn write(folder: &Path, stem: &str, table: &SampleTable, classes: &[String]) -> Result<TableFile> {
    let file = if table.name.is_empty() { format!("{stem}.csv") } else { format!("{stem}.{}.csv", plain(&table.name)) };
    let bytes = to_csv(table, classes).map_err(|error| error.within(format!("per_sample/{file}")))?;
    super::put(folder, "per_sample", &file, &bytes)?;
    let of_classes = table.columns.iter().filter(|column| column.mean == MeanOf::Classes);
    Ok(TableFile {
        name: table.name.clone(),
        file: format!("per_sample/{file}"),
        mean_of_classes: of_classes.map(|column| column.metric.clone()).collect(),
    })
}

/// A table as CSV, with the names of its classes.
///
/// # Errors
/// A column that is not as long as the keys, or a class without a name.
pub fn to_csv(table: &SampleTable, classes: &[String]) -> Result<Vec<u8>> {
    let rows = table.keys.len();
    let fits = |length: usize| length == rows;
    let optional = |length: usize| length == 0 || fits(length);
    let lengths = [table.classes.len(), table.predicted.len(), table.units.len()];
    if !lengths.into_iter().all(optional) || !table.columns.iter().all(|column| fits(column.values.len())) {
        return Err(Error::invalid(format!("its columns have not the {rows} rows of its keys")));
    }
    let name = |class: Option<&u32>| match class {
        None => Ok(""),
        Some(class) => classes.get(*class as usize).map(String::as_str).ok_or_else(|| Error::invalid(format!("class {class} has no name"))),
    };
    let unit = (!table.units.is_empty()).then_some(UNIT);
    let head = OWN.into_iter().chain(unit).chain(table.columns.iter().map(|column| column.metric.as_str()));
    let mut lines = vec![head.map(str::to_owned).collect::<Vec<String>>()];
    for (row, key) in table.keys.iter().enumerate() {
        let mut line = vec![key.clone(), name(table.classes.get(row))?.to_owned(), name(table.predicted.get(row))?.to_owned()];
        line.extend(table.units.get(row).cloned());
        line.extend(table.columns.iter().map(|column| column.values[row].to_string()));
        lines.push(line);
    }
    super::csv_of(lines)
}

/// Reads a table of a folder back, and the names of its classes in the order in which they first stand there.
///
/// # Errors
/// The file and its line that is no row of such a table.
pub fn read(folder: &Path, about: &TableFile) -> Result<(SampleTable, Vec<String>)> {
    let file = NamedFile::find(folder, Path::new(&about.file))?;
    let name = file.path.display().to_string();
    if file.size > LARGEST {
        return Err(Error::invalid(format!("{name}: it has {} bytes; at most {LARGEST} are read", file.size)));
    }
    from_csv(&file.read()?, about).map_err(|error| error.within(name))
}

/// Back from CSV.
///
/// # Errors
/// The line that is no row of such a table.
pub fn from_csv(bytes: &[u8], about: &TableFile) -> Result<(SampleTable, Vec<String>)> {
    let fail = |error: csv::Error| Error::invalid(error.to_string());
    let mut csv = csv::Reader::from_reader(bytes);
    let head = csv.headers().map_err(fail)?.clone();
    if !OWN.iter().enumerate().all(|(at, name)| head.get(at) == Some(name)) {
        return Err(Error::invalid("its first columns are not key, class and predicted"));
    }
    let mean = |metric: &str| if about.mean_of_classes.iter().any(|name| name == metric) { MeanOf::Classes } else { MeanOf::Rows };
    let column = |metric: &str| ScoreColumn { metric: metric.to_owned(), values: Vec::new(), mean: mean(metric) };
    let has_units = head.get(OWN.len()) == Some(UNIT);
    let own = OWN.len() + usize::from(has_units);
    let mut table =
        SampleTable { name: about.name.clone(), columns: head.iter().skip(own).map(column).collect(), ..SampleTable::default() };
    let (mut names, mut places) = (Vec::new(), HashMap::new());
    let mut place = |name: &str| -> u32 {
        *places.entry(name.to_owned()).or_insert_with(|| {
            names.push(name.to_owned());
            names.len() as u32 - 1
        })
    };
    for (row, record) in csv.records().enumerate() {
        let record = record.map_err(fail)?;
        table.keys.push(record[0].to_owned());
        for (name, into) in [(&record[1], &mut table.classes), (&record[2], &mut table.predicted)] {
            if !name.is_empty() {
                into.push(place(name));
            }
        }
        table.units.extend(has_units.then(|| record[OWN.len()].to_owned()));
        for (column, cell) in table.columns.iter_mut().zip(record.iter().skip(own)) {
            let value = cell.parse().map_err(|_| Error::invalid(format!("line {}: `{cell}` is no number", row + 2)))?;
            column.values.push(value);
        }
    }
    let rows = table.keys.len();
    if [&table.classes, &table.predicted].iter().any(|classes| !classes.is_empty() && classes.len() != rows) {
        return Err(Error::invalid("some of its rows have a class, and others have none"));
    }
    Ok((table, names))
}

/// A file that a list in a run's folder names. The folder may come from somebody else, so it must lie there: a page or a table shows nothing of the
/// reader's own files.
#[derive(Debug)]
pub struct NamedFile {
    path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
}

impl NamedFile {
    /// Finds the file without opening it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a path that is absolute or leads out of the folder (by `..` or a link), and for what is no regular file, such as a
    /// device; [`Error::Io`] for what is not there.
    pub fn find(folder: &Path, file: &Path) -> Result<Self> {
        let named = folder.join(file);
        let refuse = |why: &str| Error::invalid(format!("{}: {why}; it is not read", named.display()));
        let io = |error| Error::io(&named, error);
        if !file.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(refuse("files of a run are named by plain paths below its folder"));
        }
        let path = named.canonicalize().map_err(io)?;
        if !path.starts_with(folder.canonicalize().map_err(io)?) {
            return Err(refuse("a link leads out of the run's folder"));
        }
        let about = path.metadata().map_err(io)?;
        if !about.is_file() {
            return Err(refuse("it is no regular file"));
        }
        Ok(Self { path, size: about.len() })
    }

    /// Its bytes, no more than were found.
    ///
    /// # Errors
    /// The file and why it cannot be read.
    pub fn read(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|file| file.take(self.size).read_to_end(&mut bytes));
        read.map_err(|error| Error::io(&self.path, error))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_table_outside_the_folder_is_refused() {
        let folder = tempfile::tempdir().expect("a directory");
        let run = folder.path().join("run");
        std::fs::create_dir_all(run.join("per_sample")).expect("made");
        let table = "key,class,predicted,top1\na,,,1\n";
        std::fs::write(folder.path().join("own.csv"), table).expect("written");
        std::fs::write(run.join("per_sample/s.csv"), table).expect("written");
        symlink(folder.path().join("own.csv"), run.join("per_sample/link.csv")).expect("a link");
        symlink(folder.path(), run.join("up")).expect("a link");
        symlink("s.csv", run.join("per_sample/inner.csv")).expect("a link");
        let named = |file: &str| read(&run, &TableFile { file: file.into(), ..TableFile::default() });
        for file in ["per_sample/s.csv", "per_sample/inner.csv"] {
            assert_eq!(named(file).expect(file).0.keys, ["a"], "{file}");
        }
        let absolute = folder.path().join("own.csv").display().to_string();
        for (file, why) in [
            (absolute.as_str(), "plain paths"),
            ("../own.csv", "plain paths"),
            ("per_sample/../../own.csv", "plain paths"),
            ("per_sample/link.csv", "a link"),
            ("up/own.csv", "a link"),
            ("per_sample", "no regular file"),
            ("", "no regular file"),
        ] {
            let error = named(file).expect_err(file).to_string();
            assert!(error.contains(why), "{file}: {error}");
        }
    }

    #[test]
    fn a_table_that_is_too_large_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().expect("a directory");
        // Sparse: it takes no room on the disk.
        File::create(folder.path().join("s.csv")).and_then(|file| file.set_len(LARGEST + 1)).expect("made");
        let error = read(folder.path(), &TableFile { file: "s.csv".into(), ..TableFile::default() }).expect_err("too large");
        assert!(error.to_string().contains("at most 1073741824"), "{error}");
    }
}
