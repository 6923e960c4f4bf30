//! `base = "FILE"`: a run file that is laid over others, so that what several runs share is written once.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::document::Document;
use crate::failure::{Failure, Outcome};

/// The key.
pub(super) const BASE: &str = "base";

/// What describes a model, with the weights that it begins with.
const MODEL: [&str; 7] = ["model", "pretrained", "embed", "custom_text", "tokenizer", "preprocess", "backbone"];

/// The overrides that name bases, and the others.
pub fn apart(overrides: &[String]) -> (Vec<String>, Vec<String>) {
    overrides.iter().cloned().partition(|argument| argument.split_once('=').is_some_and(|(key, _)| key.trim() == BASE))
}

impl Document {
    /// Reads a run file, lays it over its bases, and the `key=value` overrides over all of them.
    ///
    /// Of several bases the later, with all that they lie on, go over the earlier. Tables are merged key by key, but one that names another
    /// plugin replaces what it lies on, and a file that names a model takes nothing of the towers below. A base's path starts at the file that
    /// names it, or, on the command line, at the run file; all other paths of the run start at the run file's folder, those in bases too, or
    /// at the one that `folder` names.
    ///
    /// # Errors
    /// A file that cannot be read, is not TOML, or is its own base; an override that is none.
    pub fn read(path: &Path, overrides: &[String]) -> Outcome<Self> {
        let mut document = Self::alone(path)?;
        let (bases, others) = apart(overrides);
        for argument in &bases {
            document.set(argument)?;
        }
        document.lay_over_bases(&[path.to_path_buf()])?;
        document.set_all(&others)?;
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
            let again = chain.iter().any(same);
            let chain = [chain, std::slice::from_ref(&path)].concat();
            if again {
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
        Ok(())
    }

    /// Takes what is only in `below`: as a run file over its base, or flags of the command line over a run file.
    pub fn lay_over(&mut self, mut below: Self) {
        // The tables of another model's towers would be laid over this one's.
        if self.tree.get("model").is_some_and(|model| below.tree.get("model") != Some(model)) {
            below.tree.retain(|key, _| !MODEL.contains(&key.as_str()));
        }
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
            (Some(Value::Object(over)), Value::Object(below)) if belong_together(&path, over, &below) => merge(over, below, &path, taken),
            (Some(_), _) => {}
        }
    }
}

/// Whether the options of one table mean something beside those of the other: not when they name different plugins, or different teachers.
fn belong_together(path: &str, over: &Map<String, Value>, below: &Map<String, Value>) -> bool {
    // These two are no plugins: their options are the same whatever they use.
    if path == "schedule" || path == "optimizer" {
        return true;
    }
    let key = match path.split_once('.') {
        Some(("objective" | "eval", key)) if !key.contains('.') => Some(key),
        _ => None,
    };
    let plugin = |table: &Map<String, Value>| table.get("use").and_then(Value::as_str).or(key).map(str::to_owned);
    let differ = |a: Option<String>, b: Option<String>| a.is_some() && b.is_some() && a != b;
    let model = |table: &Map<String, Value>| table.get("model").map(Value::to_string);
    !differ(plugin(over), plugin(below)) && !differ(model(over), model(below))
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

    /// `over` laid over `below`.
    #[track_caller]
    fn laid(over: &str, below: &str) -> Value {
        let folder = folder(&[("run.toml", &format!("base = \"base.toml\"\n{over}")), ("base.toml", below)]);
        Value::Object(Document::read(&folder.path().join("run.toml"), &[]).expect("it is read").tree)
    }

    #[test]
    fn options_carry_over_to_the_same_plugin_and_to_no_other() {
        for (over, below, wanted) in [
            (
                "[objective.clip]\nuse = \"clip\"",
                "[objective.clip]\nweight = 0.5",
                r#"{"objective": {"clip": {"use": "clip", "weight": 0.5}}}"#,
            ),
            (
                "[objective.clip]\nweight = 2.0",
                "[objective.clip]\nuse = \"siglip\"\ntile = 8",
                r#"{"objective": {"clip": {"weight": 2.0}}}"#,
            ),
            (
                "[objective.main]\nuse = \"siglip\"",
                "[objective.main]\nuse = \"clip\"\ntile = 8",
                r#"{"objective": {"main": {"use": "siglip"}}}"#,
            ),
            (
                "[eval.x.data]\nuse = \"csv\"",
                "[eval.x]\nuse = \"knn\"\n[eval.x.data]\nuse = \"shapes\"\nsize = 9",
                r#"{"eval": {"x": {"data": {"use": "csv"}}}}"#,
            ),
            // Elsewhere the key names no plugin.
            (
                "[eval.x.data]\nseed = 5",
                "[eval.x.data]\nuse = \"shapes\"\nsize = 9",
                r#"{"eval": {"x": {"data": {"use": "shapes", "size": 9, "seed": 5}}}}"#,
            ),
            (
                "[backbone.image]\nuse = \"vit\"",
                "[backbone.image]\nfreeze = \"all\"",
                r#"{"backbone": {"image": {"use": "vit", "freeze": "all"}}}"#,
            ),
            ("[backbone.image]\nwidth = 4", "[backbone.image]\nuse = \"vit\"", r#"{"backbone": {"image": {"use": "vit", "width": 4}}}"#),
            // These are no plugins.
            ("[schedule]\nuse = \"cosine\"", "[schedule]\nwarmup = 50", r#"{"schedule": {"use": "cosine", "warmup": 50}}"#),
            (
                "[schedule]\nuse = \"constant\"",
                "[schedule]\nuse = \"cosine\"\nwarmup = 5",
                r#"{"schedule": {"use": "constant", "warmup": 5}}"#,
            ),
            ("[optimizer]\nuse = \"adamw\"", "[optimizer]\nwd = 0.1", r#"{"optimizer": {"use": "adamw", "wd": 0.1}}"#),
            // Nor do towers and weights carry over to another model.
            ("model = \"ViT-B-32\"", "embed = 4\nseed = 1\n[backbone.image]\nuse = \"vit\"", r#"{"model": "ViT-B-32", "seed": 1}"#),
            ("[teacher.t]\nmodel = \"a\"", "[teacher.t]\nmodel = \"b\"\npretrained = \"b.pt\"", r#"{"teacher": {"t": {"model": "a"}}}"#),
        ] {
            let wanted: Value = serde_json::from_str(wanted).expect("JSON");
            assert_eq!(laid(over, below), wanted, "{over}\nover\n{below}");
        }
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
