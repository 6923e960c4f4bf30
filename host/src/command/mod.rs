//! One file for each command. Only these files print.
#![allow(clippy::print_stderr, reason = "a command's business is to print")]

/// `println!` that survives a reader who has had enough, as `head` does: then the program ends quietly.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::command::say_text(&format!("{}\n", format_args!($($text)*)))
    };
}

pub mod check;
pub mod compare;
pub mod data;
pub mod embed;
pub mod eval;
pub mod internal;
pub mod models;
pub mod plugins;
pub mod train;
pub mod try_plugin;

use std::path::{Path, PathBuf};

use serde::Serialize;

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
fn load(libraries: &[PathBuf], file: &Path, overrides: &[String]) -> Outcome<RunConfig> {
    let mut document = Document::read(file)?;
    for argument in overrides {
        document.set(argument)?;
    }
    RunConfig::of(&document, &registry_of(libraries, &document)?)
}

/// The plugins for a document: those of its own `libraries` too, relative to its folder.
fn registry_of(libraries: &[PathBuf], document: &Document) -> Outcome<vlhub_core::Registry> {
    let named = document.tree.get("libraries").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    let mut all = libraries.to_vec();
    for name in named.iter().filter_map(serde_json::Value::as_str) {
        let path = document.folder.join(name);
        if !all.contains(&path) {
            all.push(path);
        }
    }
    crate::registry(&all)
}

/// Whether `name` fits a pattern with `*` and `?`; a pattern without either fits as part of the name.
fn fits(pattern: &str, name: &str) -> bool {
    if !pattern.contains(['*', '?', '[']) {
        return name.contains(pattern);
    }
    glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(name))
}

/// The safetensors file that a checkpoint folder, a run folder or a plain path stands for.
fn weights_file(path: &Path) -> Outcome<PathBuf> {
    if path.is_file() {
        return Ok(path.to_path_buf());
    }
    let missing = |why: &str| Failure::new(Failure::RESUME, format!("no weights at `{}`: {why}", path.display()));
    if !path.exists() {
        return Err(missing("there is no such file or folder"));
    }
    let file = path.join("rank-0.safetensors");
    if file.is_file() {
        return Ok(file);
    }
    let checkpoints = if path.join("checkpoints").is_dir() { path.join("checkpoints") } else { path.to_path_buf() };
    let found = crate::checkpoint::Store::open(&checkpoints)?.latest().map_err(|error| missing(&error.to_string()))?;
    found.map(|found| found.path.join("rank-0.safetensors")).ok_or_else(|| missing("it holds no valid checkpoint"))
}
