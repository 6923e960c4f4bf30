//! The whole test suite, and the comparison with the programs of others.

use crate::paths::{Project, cargo};
use crate::quickstart::{build, status};
use crate::{Outcome, peers, setup};

/// Options of `cargo vlhub test`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Instead, run what open_clip, TensorBoard and others say of our files: `tests/peers/*.py`, all of them or those with NAME in their name.
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    peers: Option<String>,
    /// More arguments for `cargo test`, such as the name of a test.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, conflicts_with = "peers")]
    rest: Vec<String>,
}

/// `cargo vlhub test`.
pub fn run(args: &Args) -> Outcome {
    let project = Project::checkout("test")?;
    setup::ensure(&project)?;
    if let Some(name) = &args.peers {
        build(&project)?;
        return peers::run(&project, name);
    }
    // Tests start the programs, which `cargo test` alone would not build.
    status(cargo(Some(&project.root)).args(["build", "--workspace"]))?;
    status(cargo(Some(&project.root)).args(["test", "--workspace"]).args(&args.rest))
}
