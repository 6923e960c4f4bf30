//! Samples: where they are, in which order they are read, and how they become batches.
//!
//! A [`Source`] gives random access to samples and knows nothing of order; it is a plugin, and [`sources`] holds those of the program.
//! [`loader`] draws the order, reads with several threads and hands out the same batches whatever their number. Whatever cannot be used is a
//! [`Bad`](vlhub_core::Bad), with its place and its class of reason; nothing is lost silently.

pub(crate) mod batch;
pub mod check;
pub mod dataset;
pub mod decode;
pub mod loader;
pub(crate) mod normalise;
pub mod ordered;
pub mod pack;
pub mod philox;
pub mod pictures;
pub mod skipped;
pub mod sources;
pub mod stream;
#[cfg(test)]
pub(crate) mod testing;
pub mod tokens;
pub mod views;

use std::sync::Arc;

use serde_json::{Map, Value};
use vlhub_core::{Config, Error, Registry, Result, Source, SourceCx, suggest};

/// Parses a `[data.NAME]` table without touching the data: the source that it names, laid over that source's defaults.
///
/// # Errors
/// An unknown `use`, unknown options and values of the wrong type, all of them, each with what is known or near.
pub fn parse(registry: &Registry, options: &Value) -> Result<Box<dyn Config<dyn Source>>> {
    let table = options.as_object().ok_or_else(|| Error::Options("a data source is a table with `use = \"…\"`".into()))?;
    let Some(name) = table.get("use").and_then(Value::as_str) else {
        let known = registry.names::<dyn Source>().join(" ");
        return Err(Error::Options(format!("a data source needs `use = \"…\"`; known: {known}")));
    };
    let listed = registry.get::<dyn Source>(name)?;
    let defaults = listed.defaults().as_object().cloned().unwrap_or_default();
    let known: Vec<&str> = defaults.keys().map(String::as_str).collect();
    let mut problems = Vec::new();
    let mut all = defaults.clone();
    for (option, value) in table.iter().filter(|(option, _)| *option != "use") {
        let near = || suggest(option, known.iter().copied()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_else(|| ";".into());
        if !defaults.contains_key(option) {
            problems.push(format!("`{name}` has no option `{option}`{} it has: {}", near(), known.join(" ")));
            continue;
        }
        // One option at a time, so that every problem is found and each is known to belong to its option.
        let mut alone: Map<String, Value> = defaults.clone();
        alone.insert(option.clone(), value.clone());
        if let Err(error) = listed.parse(&Value::Object(alone)) {
            problems.push(format!("`{name}` option `{option}`: {error}"));
        }
        all.insert(option.clone(), value.clone());
    }
    if !problems.is_empty() {
        return Err(Error::Options(problems.join("\n")));
    }
    listed.parse(&Value::Object(all)).map_err(|error| Error::Options(format!("`{name}`: {error}")))
}

/// Opens the source that a `[data.NAME]` table describes, and logs what it remarks on the data.
///
/// # Errors
/// As [`parse`], and what keeps the source from being opened.
pub fn open(registry: &Registry, options: &Value, cx: &SourceCx<'_>) -> Result<Arc<dyn Source>> {
    let source: Arc<dyn Source> = parse(registry, options)?.build(cx)?.into();
    for note in source.notes() {
        tracing::warn!("{note}");
    }
    Ok(source)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use serde_json::json;

    #[test]
    fn a_wrong_table_is_refused_with_what_is_known() {
        for (options, wanted, why) in [
            (json!([]), vec!["is a table"], "a list is no table"),
            (json!({"shards": "a.tar"}), vec!["needs `use", "webdataset"], "`use` is missing"),
            (json!({"use": "webdatset"}), vec!["no source is called `webdatset`", "did you mean `webdataset`?"], "one letter is missing"),
            (json!({"use": "parquet"}), vec!["known: csv imagefolder"], "nothing is near, so the known are listed"),
            (
                json!({"use": "csv", "seperator": ",", "path": 3}),
                vec!["no option `seperator`; did you mean `separator`?", "caption_key", "option `path`: invalid type"],
                "every problem is found at once",
            ),
        ] {
            let error = testing::open(&options, Path::new(".")).expect_err(why).to_string();
            for wanted in wanted {
                assert!(error.contains(wanted), "{why}: {error}");
            }
        }
    }

    #[test]
    fn a_source_is_written_back_as_it_was_read() {
        let registry = Registry::linked().expect("no duplicates");
        let config = parse(&registry, &json!({"use": "webdataset", "shards": ["a.tar"]})).expect("it is right");
        let back = serde_json::to_value(&*config as &dyn erased_serde::Serialize).expect("it serialises");
        assert_eq!(back["shards"], json!(["a.tar"]), "{back}");
        assert_eq!(back["text_key"], "txt", "defaults are written too");
    }
}
