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
pub mod matches;
pub mod natural;
pub(crate) mod normalise;
mod order;
pub mod ordered;
pub mod pack;
pub mod philox;
pub mod pictures;
pub mod places;
pub mod skipped;
pub mod sources;
pub mod speed;
pub mod stats;
pub mod stream;
#[cfg(test)]
pub(crate) mod testing;
pub mod tokens;
pub mod views;

use std::sync::Arc;

use serde_json::Value;
use vlhub_core::{Config, Error, Kind, LocalFile, Registry, Result, Source, SourceCx, SourceHost};

use places::Places;

/// Opens a source, and logs what it remarks on the data.
///
/// # Errors
/// What keeps the source from being opened.
pub fn open(config: &dyn Config<dyn Source>, cx: &SourceCx<'_>) -> Result<Arc<dyn Source>> {
    let source: Arc<dyn Source> = config.build(cx)?.into();
    for note in source.notes() {
        tracing::warn!("{note}");
    }
    Ok(source)
}

/// [`open`] for a `[data.NAME]` table, laid over the defaults of the source that it names. Tables of a run file were checked when it was read.
///
/// # Errors
/// No `use`, or one that no source has; options that the source refuses; and as [`open`].
pub fn open_table(registry: &Registry, table: &Value, cx: &SourceCx<'_>) -> Result<Arc<dyn Source>> {
    open(options_of(registry, table)?.as_ref(), cx)
}

/// The complete options that a `[data.NAME]` table stands for.
fn options_of(registry: &Registry, table: &Value) -> Result<Box<dyn Config<dyn Source>>> {
    named(registry, table, "a data source")
}

/// The complete options of a plugin that suites or sources name: a table with `use`, or, without options, its name.
pub fn named<K: Kind + ?Sized>(registry: &Registry, table: &Value, what: &str) -> Result<Box<dyn Config<K>>> {
    let name = table.as_str().or_else(|| table.get("use").and_then(Value::as_str)).ok_or_else(|| {
        let known = registry.names::<K>().join(" ");
        Error::Options(format!("{what} is a table with `use = \"…\"`; known: {known}"))
    })?;
    let listed = registry.get::<K>(name)?;
    let mut options = listed.defaults();
    if let (Some(all), Some(given)) = (options.as_object_mut(), table.as_object()) {
        all.extend(given.iter().filter(|(option, _)| *option != "use").map(|(option, value)| (option.clone(), value.clone())));
    }
    listed.parse(&options).map_err(|error| Error::Options(format!("`{name}`: {error}")))
}

/// What sources may ask of this host: other sources, and files from wherever they are.
pub struct Opener<'a> {
    /// The plugins.
    pub registry: &'a Registry,
    /// The stores of the run.
    pub places: &'a Places,
}

impl SourceHost for Opener<'_> {
    fn open(&self, table: &Value, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        options_of(self.registry, table)?.build(cx)
    }

    fn local(&self, places: &[String], cx: &SourceCx<'_>) -> Result<Vec<LocalFile>> {
        self.places.local(self.registry, places, cx.folder, cx.extent)
    }

    fn names(&self, pattern: &str, cx: &SourceCx<'_>) -> Result<Vec<String>> {
        self.places.names(self.registry, pattern, cx.folder, cx.extent)
    }
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
            (json!({"shards": "a.tar"}), vec!["with `use", "webdataset"], "`use` is missing"),
            (json!({"use": "webdatset"}), vec!["no source is called `webdatset`", "did you mean `webdataset`?"], "one letter is missing"),
            (json!({"use": "hdf5"}), vec!["; known: ", " csv ", " imagefolder "], "nothing is near, so the known are listed"),
            (json!({"use": "csv", "seperator": ","}), vec!["`csv`: unknown field `seperator`", "caption_key"], "an unknown option"),
        ] {
            let error = testing::open(&options, Path::new(".")).expect_err(why).to_string();
            for wanted in wanted {
                assert!(error.contains(wanted), "{why}: {error}");
            }
        }
    }
}
