//! Scripts that hold our numbers, files and speed against other programs, in a Python environment of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::fetch::TORCH;
use crate::paths::{self, Project};
use crate::quickstart::status;
use crate::{Outcome, Stop};

/// What the scripts import, besides [`TORCH`]. Pinned: a number that changes must have changed here.
const PACKAGES: &[(&str, &str)] = &[
    ("open_clip_torch", "3.3.0"),
    ("torchvision", "0.26.0"),
    ("timm", "1.0.31"),
    ("pillow", "12.3.0"),
    ("webdataset", "1.0.2"),
    ("clip-benchmark", "1.6.2"),
    // What it imports and does not ask for.
    ("requests", "2.34.2"),
    ("tensorboard", "2.21.0"),
    ("scikit-learn", "1.9.1"),
    ("safetensors", "0.8.0"),
    // open_clip's Hugging Face text towers, and its trainer.
    ("transformers", "5.23.0"),
    ("sentencepiece", "0.2.3"),
    ("pandas", "3.1.1"),
    // The lemmatiser of VL Hub's caption functions.
    ("nltk", "3.10.4"),
    // Tables as data; img2dataset has an environment of its own (tests/peers/data/tables.py).
    ("datasets", "5.2.0"),
    ("openpyxl", "3.1.5"),
    // Other implementations of the objectives.
    ("x-clip", "0.14.4"),
    ("coca-pytorch", "0.1.0"),
    ("lightly", "1.6.0"),
    ("byol-pytorch", "0.9.1"),
    // Gradient caching by its author.
    ("gradcache", "0.0.1"),
    // It drives a Chromium that the machine has (tests/peers/pages.py).
    ("playwright", "1.65.2"),
    // A server of S3, and what asks it; its extra `server` would bring servers of everything else.
    ("moto", "5.2.5"),
    ("flask", "3.1.3"),
    ("flask-cors", "6.0.5"),
    ("PyYAML", "6.0.4"),
    ("py-partiql-parser", "0.6.3"),
    ("boto3", "1.44.8"),
];

/// Runs the scripts in `folder` whose name contains `name`, with the program of a profile.
pub fn run(project: &Project, folder: &str, profile: &str, name: &str) -> Outcome {
    let folder = project.root.join(folder);
    let scripts = scripts(&folder, name)?;
    let python = environment(&paths::cache()?.join("peers"))?;
    let mut failed = Vec::new();
    for script in &scripts {
        let label = label(&folder, script);
        println!("--- {label}");
        let start = Instant::now();
        let mut child = Command::new(&python);
        child.arg(script).current_dir(&project.root).env("VLHUB_BIN", project.program(profile));
        let ended = child.env("PYTHONDONTWRITEBYTECODE", "1").status();
        let passed = ended.map_err(|error| format!("cannot run {}: {error}", python.display()))?.success();
        println!("--- {label} {} ({:.0} s)", if passed { "passed" } else { "FAILED" }, start.elapsed().as_secs_f64());
        if !passed {
            failed.push(label);
        }
    }
    if !failed.is_empty() {
        println!("failed: {}", failed.join(" "));
    }
    println!("{} passed, {} failed", scripts.len() - failed.len(), failed.len());
    if failed.is_empty() { Ok(()) } else { Err(Stop::silent(Some(1))) }
}

/// The scripts of a folder and of the folders in it, sorted; those that begin with `_` are imported by others.
fn scripts(folder: &Path, name: &str) -> Outcome<Vec<PathBuf>> {
    let entries = |folder: &Path| -> Outcome<Vec<PathBuf>> {
        let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(entries.flatten().map(|entry| entry.path()).collect())
    };
    let mut all = entries(folder)?;
    for inner in all.clone().iter().filter(|path| path.is_dir()) {
        all.extend(entries(inner)?);
    }
    let is_script = |path: &PathBuf| {
        let shared = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('_'));
        !shared && path.extension().is_some_and(|end| end == "py")
    };
    all.retain(is_script);
    all.sort();
    let known: Vec<_> = all.iter().map(|path| label(folder, path)).collect();
    all.retain(|path| label(folder, path).contains(name));
    if all.is_empty() {
        return Err(format!("no script in {} has `{name}` in its name; there are: {}", folder.display(), known.join(" ")).into());
    }
    Ok(all)
}

/// What a script is called: its path in the folder, without the suffix. So the name of a folder stands for all in it.
fn label(folder: &Path, script: &Path) -> String {
    script.strip_prefix(folder).unwrap_or(script).with_extension("").to_string_lossy().into_owned()
}

/// The Python of an environment that has the packages, made when it is not there.
fn environment(folder: &Path) -> Outcome<PathBuf> {
    let python = folder.join("bin/python");
    let wanted: Vec<_> = [("torch", TORCH)].iter().chain(PACKAGES).map(|(name, version)| format!("{name}=={version}")).collect();
    if has(&python, &wanted) {
        return Ok(python);
    }
    println!("making a Python environment in {} (about 6 GB, once)", folder.display());
    if !python.exists() {
        status(Command::new(paths::python()).args(["-m", "venv"]).arg(folder))?;
    }
    status(Command::new(&python).args(["-m", "pip", "install", "--disable-pip-version-check"]).args(&wanted))?;
    if has(&python, &wanted) {
        Ok(python)
    } else {
        Err(format!("{} still lacks packages after pip; remove it and try again", folder.display()).into())
    }
}

fn has(python: &Path, wanted: &[String]) -> bool {
    let code = "import sys, importlib.metadata as m\nfor w in sys.argv[1:]:\n    n, v = w.split('==')\n    assert m.version(n).split('+')[0] == v, w";
    Command::new(python).args(["-c", code]).args(wanted).output().is_ok_and(|out| out.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_found_by_a_part_of_their_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("data")).expect("a folder");
        for name in ["open_clip.py", "tensorboard.py", "_shared.py", "notes.md", "data/resize.py", "data/shards.py", "data/_shared.py"] {
            fs::write(folder.path().join(name), "").expect("a file");
        }
        for (name, wanted) in [("", 4), ("open", 1), ("board", 1), ("data", 2), ("shards", 1)] {
            assert_eq!(scripts(folder.path(), name).expect(name).len(), wanted, "`{name}`");
        }
        let stop = scripts(folder.path(), "wandb").expect_err("there is none");
        assert!(stop.message.contains("data/resize data/shards open_clip tensorboard"), "{}", stop.message);
    }
}
