//! `cargo vlhub`: what has to happen around a build. In the checkout an alias runs it; elsewhere it is installed as a Cargo subcommand.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program for a terminal")]

mod bench;
mod build;
mod doctor;
mod fetch;
mod identity;
mod new;
mod new_kinds;
mod next_steps;
mod paths;
mod peers;
mod probe;
mod quickstart;
mod setup;
mod test;
mod test_selection;
mod wheel;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Sets up libtorch for VL Hub, runs its quick start and tests, and makes plugins and slim distributions.
#[derive(Parser)]
#[command(name = "cargo vlhub", bin_name = "cargo vlhub", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find libtorch, or fetch it once with pip, and link it into this project.
    Setup(setup::Args),
    /// Set up, build, train a small CLIP on the embedded pictures, evaluate it and write a report.
    Quickstart(quickstart::Args),
    /// Set up, build and run every test, or those that a name means.
    Test(test::Args),
    /// Build for release, and measure speed against other programs on this machine.
    Bench(bench::Args),
    /// Look at everything that a build and a run need; one line each, and what to do about it.
    Doctor(doctor::Args),
    /// Write the crate of a new plugin of any kind, with the tests that every plugin of the kind passes.
    New(new::Args),
    /// Build a program with only the plugins you name.
    Build(build::Args),
    /// Load libtorch and end.
    #[command(hide = true)]
    InternalProbeLibtorch {
        /// The folder of `libtorch_cpu.so`.
        lib: PathBuf,
    },
}

/// Why a command ends early: an exit status, and a message unless a child process has said it already.
#[derive(Debug)]
struct Stop {
    code: u8,
    message: String,
}

impl Stop {
    /// The status of a child that has told its own story.
    fn silent(code: Option<i32>) -> Self {
        Self { code: code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1), message: String::new() }
    }
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Self { code: 1, message }
    }
}

impl From<&str> for Stop {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

/// What a command returns.
type Outcome<T = ()> = Result<T, Stop>;

fn main() -> ExitCode {
    // Cargo passes the name of a subcommand as the first argument; the alias of the checkout does not.
    let mut args: Vec<_> = std::env::args_os().collect();
    if args.get(1).is_some_and(|first| first == "vlhub") {
        args.remove(1);
    }
    let outcome = match Cli::parse_from(args).command {
        Command::Setup(args) => setup::run(&args),
        Command::Quickstart(args) => quickstart::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::New(args) => new::run(&args),
        Command::Build(args) => build::run(&args),
        Command::InternalProbeLibtorch { lib } => probe::load(&lib),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            if !stop.message.is_empty() {
                eprintln!("error: {}", stop.message);
            }
            ExitCode::from(stop.code)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_status_of_a_child_is_kept_and_is_never_success() {
        for (child, wanted, why) in [
            (Some(101), 101, "cargo's own"),
            (Some(75), 75, "a host that was pre-empted"),
            (Some(0), 1, "a stop is no success"),
            (Some(256), 1, "more than a status holds"),
            (None, 1, "a signal"),
        ] {
            assert_eq!(Stop::silent(child).code, wanted, "{why}");
        }
    }
}
