//! `base = "FILE"`: a run file that is laid over others, so that what several runs share is written once.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::document::Document;
use crate::failure::{Failure, Outcome};

/// The key.
pub(super) const BASE: &str = "base";

impl Document {
    /// Reads a run file, lays it over its bases, and the `key=value` overrides over all of them.
    ///
    /// Of several bases, the later go over the earlier. Tables are merged key by key, but one that names another plugin replaces what it
    /// lies on. A base's path starts at the file that names it, or, on the command line, at the run file; all other paths of the run start
    /// at the run file's folder, those in bases too.
    ///
    /// # Errors
    /// A file that cannot be read, is not TOML, or is its own base; an override that is none.
    pub fn read(path: &Path, overrides: &[String]) -> Outcome<Self> {
        let mut document = Self::alone(path)?;
        let (bases, others): (Vec<&String>, Vec<&String>) =
            overrides.iter().partition(|argument| argument.split_once('=').is_some_and(|(key, _)| key.trim() == BASE));
        for argument in bases {
            document.set(argument)?;
        }
        document.lay_over_bases(&[path.to_path_buf()])?;
        for argument in others {
            document.set(argument)?;
        }
        Ok(document)
    }

    /// `chain` are the files that led here, this one last.
    fn lay_over_bases(&mut self, chain: &[PathBuf]) -> Outcome {
        let Some(value) = self.tree.remove(BASE) else { return Ok(()) };
        let place = self.place(BASE);
        let names: Option<Vec<String>> = match &value {
            Value::String(name) => Some(vec![name.clone()]),
            Value::Array(names) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let wrong = || Failure::usage(format!("{place}: `{BASE}` is the name of a run file, or a list of names, not `{value}`"));
        let mut below: Option<Self> = None;
        for name in names.ok_or_else(wrong)? {
            let path = self.folder.join(&name);
            let mut base = Self::alone(&path).map_err(|failure| Failure { message: format!("{place}: {}", failure.message), ..failure })?;
            let same = |known: &PathBuf| {
                known == &path || known.canonicalize().ok().is_some_and(|known| path.canonicalize().is_ok_and(|path| path == known))
            };
            let chain = [chain, std::slice::from_ref(&path)].concat();
            if chain[..chain.len() - 1].iter().any(same) {
                let chain: Vec<String> = chain.iter().map(|path| path.display().to_string()).collect();
                return Err(Failure::usage(format!("{place}: a run file cannot be its own base: {}", chain.join(" → "))));
            }
            base.lay_over_bases(&chain)?;
            if let Some(below) = below.take() {
                base.lay_over(below);
            }
            below = Some(base);
        }
        if let Some(below) = below {
            self.lay_over(below);
        }
        self.lines.retain(|key, _| key != BASE && !key.starts_with("base."));
        Ok(())
    }

    /// Takes what is only in `below`.
    fn lay_over(&mut self, below: Self) {
        let Self { tree, lines, .. } = self;
        let mut taken = |path: &str| {
            let under = format!("{path}.");
            let found = below.lines.iter().filter(|(key, _)| *key == path || key.starts_with(&under));
            lines.extend(found.map(|(key, line)| (key.clone(), line.clone())));
        };
        merge(tree, below.tree, "", &mut taken);
    }
}

/// `taken` is told of every path that comes whole from `below`.
fn merge(over: &mut Map<String, Value>, below: Map<String, Value>, path: &str, taken: &mut dyn FnMut(&str)) {
    for (key, value) in below {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (over.get_mut(&key), value) {
            (None, value) => {
                taken(&path);
                over.insert(key, value);
            }
            (Some(Value::Object(over)), Value::Object(below)) if same_plugin(&key, over, &below) => merge(over, below, &path, taken),
            (Some(_), _) => {}
        }
    }
}

/// Whether options of the one mean something to the other. A table without `use` may take its plugin's name from its key.
fn same_plugin(key: &str, over: &Map<String, Value>, below: &Map<String, Value>) -> bool {
    match (over.get("use"), below.get("use")) {
        (Some(over), Some(below)) => over == below,
        (Some(over), None) => below.is_empty() || over == key,
        (None, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        folder
    }

    #[test]
    fn bases_lie_below_the_file_and_the_command_line_above() {
        let folder = folder(&[
            (
                "run.toml",
                "base = [\"on/first.toml\", \"on/second.toml\"]\nseed = 1\n[train]\nbatch = 8\n[data.train]\nuse = \"csv\"\npath = \"x\"\n",
            ),
            ("on/first.toml", "name = \"first\"\nembed = 4\n[train]\nbatch = 1\nsteps = 2\n[data.train]\nuse = \"shapes\"\nsize = 9\n"),
            ("on/second.toml", "base = \"third.toml\"\nname = \"second\"\n[optimizer]\nlr = 1.0\n"),
            ("on/third.toml", "name = \"third\"\n[optimizer]\nlr = 2.0\nwd = 3.0\n"),
        ]);
        let read = Document::read(&folder.path().join("run.toml"), &["train.steps=7".into()]).expect("it is read");
        let wanted = serde_json::json!({
            "seed": 1, "name": "second", "embed": 4,
            "train": {"batch": 8, "steps": 7},
            "optimizer": {"lr": 1.0, "wd": 3.0},
            "data": {"train": {"use": "csv", "path": "x"}},
        });
        assert_eq!(Value::Object(read.tree.clone()), wanted, "another plugin's options do not carry over");
        let at = |name: &str, line: usize| format!("{}:{line}", folder.path().join(name).display());
        for (key, place) in [
            ("train.batch", at("run.toml", 4)),
            ("train.steps", "command line".into()),
            ("embed", at("on/first.toml", 2)),
            ("optimizer.lr", at("on/second.toml", 4)),
            ("optimizer.wd", at("on/third.toml", 4)),
            ("data.train.size", at("run.toml", 5)),
        ] {
            assert_eq!(read.place(key), place, "{key}");
        }
        assert_eq!(read.folder, folder.path(), "where paths start");
        let other = Document::read(&folder.path().join("run.toml"), &["base=on/third.toml".into()]).expect("it is read");
        assert_eq!((&other.tree["name"], other.tree.get("embed")), (&Value::from("third"), None), "the command line chooses the base");
    }

    #[test]
    fn a_key_names_its_plugin() {
        let folder = folder(&[
            ("run.toml", "base = \"base.toml\"\n[objective.clip]\nuse = \"clip\"\n[objective.main]\nuse = \"siglip\"\n"),
            ("base.toml", "[objective.clip]\nweight = 0.5\n[objective.main]\nuse = \"clip\"\ntile = 8\n"),
        ]);
        let read = Document::read(&folder.path().join("run.toml"), &[]).expect("it is read");
        let wanted = serde_json::json!({"objective": {"clip": {"use": "clip", "weight": 0.5}, "main": {"use": "siglip"}}});
        assert_eq!(Value::Object(read.tree), wanted);
    }

    #[test]
    fn wrong_bases_are_told_with_their_place() {
        for (text, base, wanted) in [
            ("base = 3\n", "", "run.toml:1: `base` is the name of a run file"),
            ("seed = 1\nbase = [\"bass.toml\"]\n", "", "run.toml:2: cannot read the run file"),
            ("base = \"bass.toml\"\n", "", "did you mean"),
            ("base = \"base.toml\"\n", "base = \"./run.toml\"\n", "base.toml:1: a run file cannot be its own base"),
            ("base = \"base.toml\"\n", "seed = = 1\n", "run.toml:1: "),
        ] {
            let folder = folder(&[("run.toml", text), ("base.toml", base)]);
            let error = Document::read(&folder.path().join("run.toml"), &[]).expect_err(wanted).message;
            assert!(error.contains(wanted), "{error} lacks {wanted}");
        }
    }
}
