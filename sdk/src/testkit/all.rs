//! Laws of every kind: options and documentation.

use serde::Serialize;
use serde_json::Value;
use vlhub_core::{Config, Kind, PluginEntry};

use super::{Law, Verdict, ensure};

/// The laws that hold for each kind.
pub fn laws<K: Kind + ?Sized>() -> [Law<K>; 5] {
    [
        ("name", |entry| name(entry.name).into()),
        ("toml", |entry| toml_round_trip(entry).into()),
        ("json", |entry| json_round_trip(entry).into()),
        ("unknown_key", |entry| unknown_key(entry).into()),
        ("documented", |entry| documented(entry).into()),
    ]
}

/// Options as something that serde can write.
struct Written<'a, K: Kind + ?Sized>(&'a dyn Config<K>);

impl<K: Kind + ?Sized> Serialize for Written<'_, K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        erased_serde::serialize(self.0, serializer)
    }
}

/// Default options as JSON.
pub fn defaults<K: Kind + ?Sized>(entry: &PluginEntry<K>) -> Result<Value, String> {
    serde_json::to_value((entry.defaults)()).map_err(|error| format!("the defaults cannot be written: {error}"))
}

/// Parses options that are JSON.
pub fn parse<K: Kind + ?Sized>(entry: &PluginEntry<K>, options: &Value) -> Result<Box<dyn Config<K>>, String> {
    (entry.parse)(&mut <dyn erased_serde::Deserializer<'_>>::erase(options)).map_err(|error| error.to_string())
}

/// Default options, parsed.
pub fn default_config<K: Kind + ?Sized>(entry: &PluginEntry<K>) -> Result<Box<dyn Config<K>>, String> {
    parse(entry, &defaults(entry)?).map_err(|error| format!("the defaults do not parse: {error}"))
}

/// A name is `[a-z][a-z0-9_]*`: it is typed on command lines and is a key of a run file.
pub fn name(name: &str) -> Verdict {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    let good = name.starts_with(|letter: char| letter.is_ascii_lowercase()) && name.chars().all(plain);
    ensure(good, || format!("`{name}` is not of the form [a-z][a-z0-9_]*"))
}

/// Defaults, written as TOML, parsed and written again, are the same text.
pub fn toml_round_trip<K: Kind + ?Sized>(entry: &PluginEntry<K>) -> Verdict {
    let first = toml::to_string(&(entry.defaults)()).map_err(|error| format!("the defaults cannot be written as TOML: {error}"))?;
    let table: toml::Table = first.parse().map_err(|error| format!("the defaults are not TOML: {error}"))?;
    let config = (entry.parse)(&mut <dyn erased_serde::Deserializer<'_>>::erase(toml::Value::Table(table)))
        .map_err(|error| format!("the defaults do not parse from TOML: {error}"))?;
    let again = toml::to_string(&Written(&*config)).map_err(|error| format!("parsed options cannot be written: {error}"))?;
    ensure(first == again, || format!("the defaults change on their way through TOML:\n{first}\nbecomes\n{again}"))
}

/// Defaults, written as JSON, parsed and written again, are the same.
pub fn json_round_trip<K: Kind + ?Sized>(entry: &PluginEntry<K>) -> Verdict {
    let first = defaults(entry)?;
    ensure(first.is_object(), || format!("the options are not a table: {first}"))?;
    let again =
        serde_json::to_value(Written(&*default_config(entry)?)).map_err(|error| format!("parsed options cannot be written: {error}"))?;
    ensure(first == again, || format!("the defaults change on their way through JSON: {first} becomes {again}"))
}

/// An unknown key is refused, and the error names it.
pub fn unknown_key<K: Kind + ?Sized>(entry: &PluginEntry<K>) -> Verdict {
    const KEY: &str = "no_such_option";
    let mut options = defaults(entry)?;
    if let Some(table) = options.as_object_mut() {
        table.insert(KEY.into(), Value::from(1));
    }
    match parse(entry, &options) {
        Ok(_) => Err(format!("the unknown option `{KEY}` is accepted; derive with `#[serde(deny_unknown_fields)]`")),
        Err(error) => ensure(error.contains(KEY), || format!("the error does not name `{KEY}`: {error}")),
    }
}

/// The options and each of their fields have a description, and the defaults show every field.
pub fn documented<K: Kind + ?Sized>(entry: &PluginEntry<K>) -> Verdict {
    let schema: Value = serde_json::from_str(&(entry.schema)()).map_err(|error| format!("the schema is not JSON: {error}"))?;
    described(&schema).then_some(()).ok_or("the options type has no doc comment; its first paragraph is the plugin's summary")?;
    let defaults = defaults(entry)?;
    let fields = schema["properties"].as_object().cloned().unwrap_or_default();
    for field in fields.keys() {
        ensure(defaults.get(field).is_some(), || format!("the field `{field}` is missing from the written defaults"))?;
    }
    let parts = schema["$defs"].as_object().into_iter().flatten().map(|(name, part)| (name.as_str(), part));
    for (owner, part) in std::iter::once(("options", &schema)).chain(parts) {
        for (field, about) in part["properties"].as_object().into_iter().flatten() {
            ensure(described(about), || format!("the field `{field}` of {owner} has no doc comment"))?;
        }
    }
    Ok(())
}

fn described(schema: &Value) -> bool {
    schema["description"].as_str().is_some_and(|text| !text.trim().is_empty())
}
