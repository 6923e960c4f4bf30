//! From flags of open_clip and VL Hub to a run file.

mod captions;
mod classes;
mod data;
mod evaluation;
mod model;
mod objectives;
mod pictures;
mod request;
mod training;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub use request::{FlagTranslation, Purpose, Request, only_measures, refuse_foreign_checkpoint};

use super::flag::{FlagEffect, FlagValue};
use super::given::GivenFlag;
use crate::config::document::Document;
use crate::failure::{Failure, Outcome};

/// What a command line without a run file is called in messages.
const NAME: &str = "the command line";

/// What stands before a folder that holds a published model.
const LOCAL_FOLDER: &str = "local-dir:";

/// Translates flags into a run file.
///
/// # Errors
/// Every flag that is refused or wrong, each with its reason, in one report.
pub fn translate(request: Request<'_>) -> Outcome<FlagTranslation> {
    let mut document = Document::parse("", NAME, PathBuf::from("."))?;
    if let Some(below) = &request.below {
        document.folder.clone_from(&below.folder);
        document.name.clone_from(&below.name);
    }
    let mut translator = Translator { request, document, notes: Vec::new(), problems: Vec::new() };
    translator.single();
    translator.model();
    translator.pictures();
    translator.data();
    translator.captions();
    translator.training();
    translator.objectives();
    translator.evaluation();
    translator.finish()
}

/// A run file in the making.
struct Translator<'a> {
    request: Request<'a>,
    document: Document,
    notes: Vec<String>,
    problems: Vec<(String, String)>,
}

impl Translator<'_> {
    /// Flags that need no other: values of options, and what is refused or without effect.
    fn single(&mut self) {
        for given in self.request.given.iter() {
            let name = given.flag.name;
            match given.flag.effect {
                FlagEffect::Option(path) => match value_of(given) {
                    Some(value) => self.set(path, value, name),
                    None => self.problem(name, "has no value"),
                },
                FlagEffect::Refused(why) if given.values != ["false"] => self.problem(name, why),
                FlagEffect::Told(why) if given.values != ["false"] => self.notes.push(format!("`--{name}` has no effect: {why}")),
                // The weights to measure: whoever builds the model reads it.
                FlagEffect::Own if name == "resume" => {}
                FlagEffect::Own => self.notes.push(format!("`--{name}` has no effect: {}", given.flag.difference)),
                _ => {}
            }
        }
    }

    /// Whether the flags alone are the run file, so that open_clip's defaults hold.
    fn defaults_hold(&self) -> bool {
        self.request.below.is_none() && self.request.purpose == Purpose::Train
    }

    /// What the run file over which the flags go says at a dotted path.
    fn of_file(&self, path: &str) -> Option<&Value> {
        find(self.request.below.as_ref()?, path)
    }

    /// The text at a path of the run file; an empty one says nothing.
    fn text_of_file(&self, path: &str) -> Option<&str> {
        self.of_file(path).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// The number at a path of the run file; 0 says nothing.
    fn count_of_file(&self, path: &str) -> Option<i64> {
        self.of_file(path).and_then(Value::as_i64).filter(|count| *count > 0)
    }

    /// Sets an option that a flag asks for.
    fn set(&mut self, path: &str, value: impl Into<Value>, flag: &str) {
        self.document.put(path, value.into(), &format!("--{flag}"));
    }

    /// Sets a list of which each item comes from a flag of its own.
    fn set_list(&mut self, path: &str, items: Vec<(&str, Value)>) {
        let Some((first, _)) = items.first() else { return };
        let (first, flags): (&str, Vec<&str>) = (first, items.iter().map(|(flag, _)| *flag).collect());
        self.set(path, items.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), first);
        for (at, flag) in flags.into_iter().enumerate() {
            self.document.says(&format!("{path}.{at}"), &format!("--{flag}"));
        }
    }

    /// Sets an option to the default that open_clip has for a flag and this program has not, where nothing else was said.
    fn default(&mut self, path: &str, value: impl Into<Value>, flag: &str) {
        if self.defaults_hold() && self.request.given.get(flag).is_none() {
            self.document.put(path, value.into(), &format!("default of --{flag}"));
        }
    }

    /// Notes what is wrong with a flag.
    fn problem(&mut self, flag: &str, message: impl Into<String>) {
        self.problems.push((format!("--{flag}"), message.into()));
    }

    /// A path, or a list of paths joined by `::`, that starts where the program was started, as seen from where the run's paths start.
    fn path(&self, text: &str) -> String {
        if self.request.below.is_none() && !self.request.of_run {
            return text.to_owned();
        }
        let absolute = |part: &str| {
            let (scheme, place) = part.strip_prefix(LOCAL_FOLDER).map_or(("", part), |place| (LOCAL_FOLDER, place));
            let elsewhere = place.contains("://") || ["pipe:", "hf-hub:"].iter().any(|start| place.starts_with(start));
            let path = if elsewhere { None } else { std::path::absolute(place).ok() };
            path.map_or_else(|| part.to_owned(), |path| format!("{scheme}{}", path.display()))
        };
        text.split("::").map(absolute).collect::<Vec<_>>().join("::")
    }

    /// Weights, as seen from where the run's paths start. They are a path only where there is one: otherwise they are a tag of the model.
    fn weights_path(&self, text: &str) -> String {
        if text.starts_with(LOCAL_FOLDER) || Path::new(text).exists() { self.path(text) } else { text.to_owned() }
    }

    /// A model, as seen from where the run's paths start: a file or folder, or a name, which is none.
    fn model_path(&self, name: &str) -> String {
        if name.starts_with(LOCAL_FOLDER) || name.ends_with(".json") { self.path(name) } else { name.to_owned() }
    }

    /// The flags over the run file, or everything that is wrong with them.
    fn finish(self) -> Outcome<FlagTranslation> {
        let Self { request, mut document, notes, problems } = self;
        if !problems.is_empty() {
            let width = problems.iter().map(|(flag, _)| flag.len()).max().unwrap_or(0);
            let count = problems.len();
            let mut text = format!("{count} problem{} in {NAME}", if count == 1 { "" } else { "s" });
            for (flag, message) in problems {
                text += &format!("\n  {flag:width$}  {message}");
            }
            return Err(Failure::usage(text));
        }
        if let Some(mut below) = request.below {
            // Objectives that are named take the place of the file's; weights of its own objectives are laid over them.
            if objectives::MAIN.iter().any(|(flag, _)| request.given.on(flag)) {
                below.tree.remove("objective");
            }
            document.lay_over(below);
        }
        Ok(FlagTranslation { document, notes })
    }
}

/// What followed a flag, as a value of a run file.
fn value_of(given: &GivenFlag) -> Option<Value> {
    let text = given.values.first()?;
    match given.flag.takes {
        FlagValue::Switch => Some((text == "true").into()),
        FlagValue::Whole => text.parse::<i64>().ok().map(Into::into),
        FlagValue::Number => text.parse::<f64>().ok().map(Into::into),
        _ => Some(text.as_str().into()),
    }
}

/// The value at a dotted path of a run file.
fn find<'a>(document: &'a Document, path: &str) -> Option<&'a Value> {
    let mut keys = path.split('.');
    let first = document.tree.get(keys.next()?)?;
    keys.try_fold(first, |value, key| value.get(key))
}

#[cfg(test)]
mod tests;
