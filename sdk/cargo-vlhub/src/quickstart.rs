//! From a fresh checkout to a trained and evaluated model.

use std::process::Command;

use crate::next_steps::Run;
use crate::paths::{Project, cargo};
use crate::{Outcome, Stop, setup};

/// The run file of the quick start.
const RUN_FILE: &str = "examples/configs/quickstart.toml";

/// Options of `cargo vlhub quickstart`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// More arguments for `vlhub train`, such as `train.steps=20`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// `cargo vlhub quickstart`.
pub fn run(args: &Args) -> Outcome {
    let project = Project::checkout("quickstart")?;
    setup::ensure(&project)?;
    println!("building (the first time takes some minutes: libtorch's wrapper is C++)");
    build_small(&project)?;
    let program = project.program("debug");
    let run = Run::of(&project.root, &args.rest);
    let mut train = Command::new(&program);
    train.arg("train").arg(RUN_FILE).current_dir(&project.root);
    if !run.named {
        train.arg(format!("name={}", run.name));
    }
    status(train.args(&args.rest))?;
    let program = program.strip_prefix(&project.root).unwrap_or(&program);
    if let Some(words) = run.next_steps(&project.root, program, RUN_FILE) {
        println!("{words}");
    }
    println!("The same by hand: {} train {RUN_FILE}", program.display());
    Ok(())
}

/// Builds `vlhub` with the plugins that the quick start uses, in the profile of the tests. `cargo build` makes the whole one in its place.
fn build_small(project: &Project) -> Outcome {
    let small = ["build", "--package", "vlhub", "--no-default-features", "--features", "quickstart"];
    status(cargo(Some(&project.root)).args(small))
}

/// Builds `vlhub` as the tests do: in their profile, and with the features that crates have in the whole workspace. So nothing is compiled
/// twice by the tests and the libraries that they build.
pub fn build(project: &Project) -> Outcome {
    status(cargo(Some(&project.root)).args(["build", "--workspace", "--bin", "vlhub"]))
}

/// Runs a child that talks to the user itself.
pub fn status(command: &mut Command) -> Outcome {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("cannot run {name}: {error}"))?;
    if status.success() { Ok(()) } else { Err(Stop::silent(status.code())) }
}
