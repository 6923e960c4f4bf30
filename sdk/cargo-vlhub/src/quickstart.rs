//! From a fresh checkout to a trained and evaluated model.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};

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
    let mut meanwhile = None;
    let set_up = setup::ensure_and(&project, || meanwhile = Meanwhile::start(&project));
    drop(meanwhile);
    set_up?;
    println!("building (the first time takes some minutes: libtorch's wrapper is C++)");
    status(cargo(Some(&project.root)).args(SMALL))?;
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
const SMALL: &[&str] = &["build", "--package", "vlhub", "--no-default-features", "--features", "quickstart"];

/// A build of everything that needs no libtorch, while libtorch is being fetched: half of a first build, on cores that would wait for the
/// network. It cannot finish, and what it says is of no use; it is ended when it is dropped.
struct Meanwhile(Child);

impl Meanwhile {
    fn start(project: &Project) -> Option<Self> {
        let mut build = cargo(Some(&project.root));
        build.args(SMALL).args(["--keep-going", "--quiet"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own, so that compilers end with it.
        build.process_group(0).spawn().ok().map(Self)
    }
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        // Cargo takes a crate whose compiler was ended for one that is still to be compiled.
        if let Some(group) = Pid::from_raw(self.0.id() as i32) {
            rustix::process::kill_process_group(group, Signal::TERM).ok();
        }
        self.0.wait().ok();
    }
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
