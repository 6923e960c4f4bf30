//! The tests: all of them, those that a name means, and the comparison with the programs of others.

use crate::paths::{Project, cargo};
use crate::quickstart::{build, status};
use crate::test_selection::{Selection, WHOLE_PRODUCT, WHOLE_PRODUCT_TARGET, select};
use crate::{Outcome, peers, setup};

/// Options of `cargo vlhub test`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Instead, run what open_clip, TensorBoard and others say of our files: the scripts in `tests/peers`, all of them or those with NAME in their path: `data` is a folder of them.
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    peers: Option<String>,
    /// Only the tests that NAME means, and only what they need is built: a crate (`clip`, `plugins/clip`), a file, a module of `tests/it`, laws of
    /// a plugin (`objective::clip`), or a part of the names of tests. More arguments go to `cargo test`. Without NAME everything is tested.
    #[arg(value_name = "NAME", trailing_var_arg = true, allow_hyphen_values = true, conflicts_with = "peers")]
    rest: Vec<String>,
}

/// `cargo vlhub test`.
pub fn run(args: &Args) -> Outcome {
    let project = Project::checkout("test")?;
    if let Some(name) = args.rest.first().filter(|word| !word.starts_with('-')) {
        let selection = select(&project, name)?;
        setup::ensure(&project)?;
        return only(&project, &selection, &args.rest[1..]);
    }
    setup::ensure(&project)?;
    if let Some(name) = &args.peers {
        build(&project)?;
        return peers::run(&project, "tests/peers", "debug", name);
    }
    // Tests start the programs, which `cargo test` alone would not build.
    status(cargo(Some(&project.root)).args(["build", "--workspace"]))?;
    status(cargo(Some(&project.root)).args(["test", "--workspace"]).args(&args.rest))
}

/// Builds and runs what was selected.
fn only(project: &Project, selection: &Selection, rest: &[String]) -> Outcome {
    let mut test = cargo(Some(&project.root));
    test.arg("test");
    if selection.packages.contains(WHOLE_PRODUCT) {
        // These tests start the programs.
        status(cargo(Some(&project.root)).args(["build", "--workspace", "--bins"]))?;
    }
    if selection.packages.len() == 1 && selection.targets.contains(WHOLE_PRODUCT_TARGET) {
        // With the whole workspace, crates have the features with which the programs were built, and nothing is compiled twice; no other
        // crate has a target of this name.
        test.arg("--workspace");
    } else {
        test.args(selection.packages.iter().map(|name| format!("--package={name}")));
    }
    // Cargo takes one name before `--`, the test program any number behind it.
    let (ours, theirs) = rest.split_at(rest.iter().position(|word| word == "--").unwrap_or(rest.len()));
    test.args(&selection.targets).args(ours).arg("--").args(&selection.filters).args(theirs.iter().skip(1));
    let words: Vec<_> = test.get_args().map(|word| word.to_string_lossy()).collect();
    println!("cargo {}", words.join(" "));
    status(&mut test)
}
