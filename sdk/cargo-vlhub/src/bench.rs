//! The benchmarks: ours and the programs of others in turns.

use crate::paths::{Project, cargo};
use crate::quickstart::status;
use crate::{Outcome, peers, setup};

/// Options of `cargo vlhub bench`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run the scripts in `tests/bench`, all of them (hours) or those with NAME in their path, against open_clip and others. Each writes its
    /// section of the `RESULTS.md` there.
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "", required = true)]
    peers: Option<String>,
}

/// `cargo vlhub bench`.
pub fn run(args: &Args) -> Outcome {
    let project = Project::checkout("bench")?;
    setup::ensure(&project)?;
    status(cargo(Some(&project.root)).args(["build", "--release", "--bin", "vlhub"]))?;
    peers::run(&project, "tests/bench", "release", args.peers.as_deref().unwrap_or_default())
}
