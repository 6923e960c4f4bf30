//! Everything that is wrong with a run file, in one report.

use serde::Serialize;
use serde_json::{Map, Value};

use super::document::Document;
use crate::failure::Failure;

/// `; did you mean `x`? known: x y z`: what to say after a name that nobody knows.
pub fn hint(typed: &str, known: &[&str]) -> String {
    let near = vlhub_core::suggest(typed, known.iter().copied()).map(|near| format!(" did you mean `{near}`?")).unwrap_or_default();
    format!(";{near} known: {}", if known.is_empty() { "none".to_owned() } else { known.join(" ") })
}

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

    /// Lays a user's table over defaults. Unknown keys are noted with the nearest known one, and each wrong type at its own key.
    pub fn lay_over(
        &mut self,
        key: &str,
        defaults: &Value,
        user: &Map<String, Value>,
        what: &str,
        parse: &dyn Fn(&Value) -> Result<(), String>,
    ) -> Value {
        let before = self.list.len();
        let empty = Map::new();
        let known = defaults.as_object().unwrap_or(&empty);
        let mut merged = known.clone();
        for (name, value) in user {
            let path = format!("{key}.{name}");
            if !known.contains_key(name) {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                self.add(path, format!("{what} has no option `{name}`{}", hint(name, &names)));
                continue;
            }
            let mut alone = known.clone();
            alone.insert(name.clone(), value.clone());
            match parse(&Value::Object(alone)) {
                Ok(()) => {
                    merged.insert(name.clone(), value.clone());
                }
                Err(message) => self.add(path, message),
            }
        }
        let merged = Value::Object(merged);
        // Options that are right one by one may still contradict each other.
        if self.list.len() == before
            && let Err(message) = parse(&merged)
        {
            self.add(key, message);
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
        Some(Failure::usage(text))
    }
}
