//! One file for each command. Only these files print.
#![allow(clippy::print_stderr, reason = "a command's business is to print")]

/// `println!` that survives a reader who has had enough, as `head` does: then the program ends quietly.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::command::say_text(&format!("{}\n", format_args!($($text)*)))
    };
}

pub mod bench;
pub mod caption;
pub mod check;
pub mod compare;
pub mod convert;
pub mod data;
mod data_index;
mod data_match;
mod documents;
pub mod embed;
pub mod eval;
mod eval_plan;
pub mod internal;
mod model;
pub mod models;
mod named_pictures;
pub mod plugin_list;
pub mod plugins;
mod screen;
pub mod serve;
pub mod tokenize;
pub mod train;
pub mod try_plugin;

use std::path::Path;

use serde::Serialize;

use crate::cli::Shared;
use crate::config::RunConfig;
use crate::config::document::Document;
use crate::failure::{Failure, Outcome};

/// Writes to standard output. A closed pipe ends the program with 0, anything else that cannot be written with 1.
fn say_text(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        eprintln!("error: cannot write to standard output: {error}");
        std::process::exit(i32::from(Failure::RUN));
    }
}

/// Prints why a command ended.
pub fn complain(failure: &Failure) {
    let word = if failure.code == Failure::PREEMPTED { "stopped" } else { "error" };
    eprintln!("{word}: {}", failure.message);
}

/// Prints a value as JSON.
fn print_json(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(Failure::RUN, error.to_string()))?;
    say!("{text}");
    Ok(())
}

/// Reads a run file, loads the libraries that it and the command line name, and checks it.
fn load(shared: &Shared, file: &Path, overrides: &[String]) -> Outcome<RunConfig> {
    let mut document = Document::read(file, overrides)?;
    lay_shared(shared, &mut document)?;
    RunConfig::of(&document, &registry_of(shared, &document)?)
}

/// Lays what the flags of every command say over a document.
fn lay_shared(shared: &Shared, document: &mut Document) -> Outcome {
    if !shared.model_configs.is_empty() {
        document.add_model_configs(&shared.model_configs);
    }
    if shared.allow_pipe { document.set("store.pipe.allow=true") } else { Ok(()) }
}

/// The plugins for a document: those of its own `libraries` too, relative to its folder.
fn registry_of(shared: &Shared, document: &Document) -> Outcome<vlhub_core::Registry> {
    let named = document.tree.get("libraries").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    let mut all = shared.libraries.clone();
    for name in named.iter().filter_map(serde_json::Value::as_str) {
        let path = document.folder.join(name);
        if !all.contains(&path) {
            all.push(path);
        }
    }
    crate::libraries::registry(&all)
}

/// Whether `name` fits a pattern with `*` and `?`; a pattern without either fits as part of the name.
fn fits(pattern: &str, name: &str) -> bool {
    if !pattern.contains(['*', '?', '[']) {
        return name.contains(pattern);
    }
    glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(name))
}
