//! A slim distribution: the program with the named plugins and no others.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::paths::{Project, cargo, human};
use crate::quickstart::status;
use crate::{Outcome, setup};

/// Options of `cargo vlhub build`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Plugin crates, as in `plugins/`: `vit,clip,zeroshot`.
    #[arg(long, value_delimiter = ',', required = true)]
    plugins: Vec<String>,
    /// Folder for the program; `dist` in the target folder when not given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// `cargo vlhub build`.
pub fn run(args: &Args) -> Outcome {
    let project = Project::checkout("build")?;
    let known = plugin_crates(&project)?;
    for name in &args.plugins {
        if !known.contains(name) {
            return Err(format!("no plugin crate is called `{name}`; there are: {}", known.join(" ")).into());
        }
    }
    setup::ensure(&project)?;
    let features = args.plugins.join(",");
    status(cargo(Some(&project.root)).args([
        "build",
        "--release",
        "--package",
        "vlhub",
        "--no-default-features",
        "--features",
        &features,
    ]))?;
    let out = args.out.clone().unwrap_or_else(|| project.target.join("dist"));
    let program = out.join("vlhub");
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    // A copy over a program that is running would fail; a new file in its place does not.
    fs::remove_file(&program).ok();
    let bytes = fs::copy(project.program("release"), &program).map_err(|error| format!("{}: {error}", program.display()))?;
    println!("{} · {} · with {features}", program.display(), human(bytes));
    status(Command::new(&program).args(["plugins", "list"]))
}

/// The folders in `plugins/` that are crates.
fn plugin_crates(project: &Project) -> Outcome<Vec<String>> {
    let folder = project.root.join("plugins");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let crates = entries.flatten().filter(|entry| entry.path().join("Cargo.toml").exists());
    let mut names: Vec<_> = crates.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}
