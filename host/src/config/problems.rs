//! Everything that is wrong with a run file, in one report.

use serde::Serialize;
use serde_json::{Map, Value};

use super::document::Document;
use crate::failure::{Failure, hint};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// File and line, or `command line`.
    pub place: String,
    /// Dotted path of the key.
    pub key: String,
    /// What is wrong, and what was near.
    pub message: String,
}

/// Options of one table, to lay a user's over.
pub struct Layer<'a> {
    /// Dotted path of the table; empty for the top level.
    pub key: &'a str,
    /// Default values by option.
    pub defaults: &'a Value,
    /// Options that have no default, or tables that stand beside the options.
    pub known: &'a [&'a str],
    /// What is said before the name of an unknown option: `` `clip` has no option ``.
    pub lacks: &'a str,
    /// Whether a whole table can be read, or why not.
    pub parse: &'a dyn Fn(&Value) -> Result<(), String>,
}

/// A list of problems that grows while the file is read.
#[derive(Debug)]
pub struct Problems<'a> {
    document: &'a Document,
    /// What was found so far.
    pub list: Vec<Problem>,
}

impl<'a> Problems<'a> {
    /// None yet.
    pub fn new(document: &'a Document) -> Self {
        Self { document, list: Vec::new() }
    }

    /// What was found earlier.
    pub fn found(document: &'a Document, list: Vec<Problem>) -> Self {
        Self { document, list }
    }

    /// Notes a problem.
    pub fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        let key = key.into();
        self.list.push(Problem { place: self.document.place(&key), key, message: message.into() });
    }

    /// Lays a user's options over defaults, one at a time: unknown keys are noted with the nearest known one, and each wrong type at its own
    /// key. The one place that does so, for every table.
    pub fn lay_over(&mut self, layer: &Layer<'_>, user: &Map<String, Value>) -> Map<String, Value> {
        let before = self.list.len();
        let path = |name: &str| if layer.key.is_empty() { name.to_owned() } else { format!("{}.{name}", layer.key) };
        let mut merged = layer.defaults.as_object().cloned().unwrap_or_default();
        for (name, value) in user {
            if !merged.contains_key(name) && !layer.known.contains(&name.as_str()) {
                let mut names: Vec<&str> = layer.defaults.as_object().into_iter().flat_map(|map| map.keys()).map(String::as_str).collect();
                names.extend(layer.known.iter().filter(|known| !names.contains(known)).copied().collect::<Vec<_>>());
                self.add(path(name), format!("{} `{name}`{}", layer.lacks, hint(name, &names)));
                continue;
            }
            let mut alone = layer.defaults.as_object().cloned().unwrap_or_default();
            alone.insert(name.clone(), value.clone());
            match (layer.parse)(&Value::Object(alone)) {
                Ok(()) => {
                    merged.insert(name.clone(), value.clone());
                }
                Err(message) => self.add(path(name), message),
            }
        }
        // Options that are right one by one may still contradict each other.
        if self.list.len() == before
            && let Err(message) = (layer.parse)(&Value::Object(merged.clone()))
        {
            self.add(layer.key, message);
        }
        merged
    }

    /// The failure that lists everything, if there is anything.
    pub fn failure(&self) -> Option<Failure> {
        if self.list.is_empty() {
            return None;
        }
        let place = self.list.iter().map(|problem| problem.place.len()).max().unwrap_or(0);
        let key = self.list.iter().map(|problem| problem.key.len()).max().unwrap_or(0);
        let count = self.list.len();
        let name = if self.document.name.is_empty() { "the options" } else { &self.document.name };
        let mut text = format!("{count} problem{} in {name}", if count == 1 { "" } else { "s" });
        for problem in &self.list {
            text += &format!("\n  {:place$}  {:key$}  {}", problem.place, problem.key, problem.message);
        }
        if self.document.is_of_an_older_run() {
            text += "\n  this run was made before its options said where its relative paths start; say it: `folder=PATH`";
        }
        Some(Failure::usage(text))
    }
}
