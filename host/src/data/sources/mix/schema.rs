//! VL Hub's schema files: named data sets with their shards and numbers of samples.

use std::path::Path;

use serde_json::{Map, Value};
use vlhub_core::{Error, Result};

use super::{MixPart, Rate, literal};

/// The sources of a schema: TOML in a file that ends in `.toml`, else JSON or a literal of Python.
///
/// An entry holds `train_data`, shards of `webdataset` or a table of any source, and perhaps `train_num_samples`. Relative paths start at the run
/// file's folder, as everywhere.
///
/// # Errors
/// A file that cannot be read or is no schema; the entry and the key that are wrong.
pub(super) fn read(path: &Path) -> Result<Vec<MixPart>> {
    let at = |what: String| Error::invalid(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    let tree = if is_toml { toml::from_str(&text).map_err(|error| error.to_string()) } else { literal::parse(&text) };
    let Value::Object(entries) = tree.map_err(&at)? else { return Err(at("a schema is a dictionary of data sets".into())) };
    if entries.is_empty() {
        return Err(at("it names no data set".into()));
    }
    entries.iter().map(|(name, entry)| part(name, entry).map_err(|what| at(format!("`{name}`: {what}")))).collect()
}

fn part(name: &str, entry: &Value) -> Result<MixPart, String> {
    let entry = entry.as_object().ok_or("an entry is a dictionary with `train_data`")?;
    if let Some(unknown) = entry.keys().find(|key| !["train_data", "train_num_samples"].contains(&key.as_str())) {
        return Err(format!("`{unknown}` is not read; an entry has `train_data` and `train_num_samples`"));
    }
    let table = match entry.get("train_data") {
        Some(Value::Object(table)) => Value::Object(table.clone()),
        Some(shards @ (Value::String(_) | Value::Array(_))) => {
            Value::Object(Map::from_iter([("use".to_owned(), "webdataset".into()), ("shards".to_owned(), shards.clone())]))
        }
        _ => return Err("`train_data` names its shards".into()),
    };
    let rate = match entry.get("train_num_samples") {
        None | Some(Value::Null) => Rate::Times(1.0),
        Some(count) => Rate::Samples(count.as_u64().filter(|count| *count > 0).ok_or("`train_num_samples` is a whole number above 0")?),
    };
    Ok(MixPart { name: name.to_owned(), table, rate })
}
