//! The host of VL Hub: the only crate that knows files, flags, run files, tokenizers, libraries and processes.

pub mod catalog;
pub mod checkpoint;
mod cli;
mod command;
pub mod compat;
pub mod config;
pub mod data;
pub mod device;
pub mod engine;
pub mod evaluation;
pub mod failure;
mod files;
pub mod formats;
pub mod hub;
pub mod identity;
pub mod inspect;
pub mod libraries;
mod linked;
pub mod measuring;
pub mod models;
pub mod run;
pub mod section;
pub mod serve;
pub mod session;
pub mod training;
pub mod weights;

use std::process::ExitCode;

use cli::Command;
use failure::Outcome;

/// What a distribution calls: reads the command line, runs the command, and turns a failure into a message and an exit status.
pub fn main() -> ExitCode {
    let cli = match cli::read(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(cli::LineError::Refused(failure)) => {
            command::complain(&failure);
            return ExitCode::from(failure.code);
        }
        Err(cli::LineError::Parser(error)) => {
            // Clap prints help to standard output and mistakes to standard error, with exit status 2.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { failure::Failure::USAGE } else { 0 });
        }
    };
    run::log::start(tracing::Level::INFO);
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            command::complain(&failure);
            ExitCode::from(failure.code)
        }
    }
}

fn dispatch(cli: cli::Cli) -> Outcome {
    device::choose_products()?;
    let shared = cli.shared;
    match cli.command {
        Command::Train(args) => command::train::train(&shared, &args),
        Command::Eval(args) => command::eval::eval(&shared, &args),
        Command::Check(args) => command::check::check(&shared, &args),
        Command::Serve(args) => command::serve::serve(&shared, &args),
        Command::Embed(args) => command::embed::embed(&shared, &args),
        Command::Caption(args) => command::caption::caption(&shared, &args),
        Command::Tokenize(args) => command::tokenize::tokenize(&args),
        Command::Plugins(command) => command::plugins::plugins(&shared, command),
        Command::Models(command) => command::models::models(&shared, command),
        Command::Data(command) => command::data::data(&shared, command),
        Command::Bench(command) => command::bench::bench(&shared, command),
        Command::Compare(args) => command::compare::compare(&args),
        Command::Report(args) => command::compare::report(&args),
        Command::InternalProbeBf16 => command::internal::probe(tch::Kind::BFloat16),
        Command::InternalProbeFp16 => command::internal::probe(tch::Kind::Half),
        Command::InternalHash { run } => command::internal::hash(&run),
        Command::InternalStart { file, overrides } => command::internal::start(&shared, &file, &overrides),
    }
}
