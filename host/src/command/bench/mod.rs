//! `vlhub bench`: one file for each part that it measures.

mod data;
mod eval;
mod loss;
mod memory;
mod start;
mod tokens;
mod train;

use std::path::{Path, PathBuf};

use super::{load, print_json};
use crate::cli::{BenchCommand, Shared};
use crate::config::RunConfig;
use crate::failure::{Failure, Outcome};
use crate::measuring::{SIDE, TimeShare};

/// Measures a part of a run.
pub fn bench(shared: &Shared, command: BenchCommand) -> Outcome {
    match command {
        BenchCommand::Train(args) => train::train(shared, &args),
        BenchCommand::Loss(args) => loss::loss(shared, &args),
        BenchCommand::Data(args) => data::data(shared, &args),
        BenchCommand::Eval(args) => eval::eval(shared, &args),
        BenchCommand::Start(args) => start::start(shared, &args),
        BenchCommand::Memory(args) => memory::memory(shared, &args),
        BenchCommand::Tokens(args) => tokens::tokens(&args),
    }
}

/// The run file that is meant: a run's folder, or one of its checkpoints, has one.
fn run_file(run: &Path) -> Outcome<PathBuf> {
    let inside = run.join("config.toml");
    match (run.is_dir(), inside.is_file()) {
        (false, _) => Ok(run.to_owned()),
        (true, true) => Ok(inside),
        (true, false) => {
            Err(Failure::usage(format!("`{}` is no run: it has no `config.toml`; name a run's folder, or a run file", run.display())))
        }
    }
}

/// The options of a run or run file.
fn config_of(shared: &Shared, run: &Path, overrides: &[String]) -> Outcome<RunConfig> {
    load(shared, &run_file(run)?, overrides)
}

fn seconds_above_zero(seconds: f64) -> Outcome<f64> {
    if seconds > 0.0 && seconds.is_finite() { Ok(seconds) } else { Err(Failure::usage(format!("--seconds {seconds}: it must be above 0"))) }
}

/// Operations that a table shows.
const SHOWN: usize = 12;

/// Prints parts, each with its share of `whole` seconds.
fn say_parts(parts: &[TimeShare], whole: f64) {
    for part in parts {
        say!("  {:<28}  {:>7.3} s  {:>5.1} %", part.name, part.seconds, 100.0 * part.seconds / whole);
    }
}

/// Prints the longest operations, each with its share of `whole` seconds.
fn say_operations(operations: &[TimeShare], whole: f64) {
    say!("its operations, each without those within it:");
    for operation in operations.iter().take(SHOWN) {
        let TimeShare { name, seconds, calls } = operation;
        say!("  {name:<44}  {seconds:>7.3} s  {:>5.1} %  {calls:>6} calls", 100.0 * seconds / whole);
    }
}

/// Prints what a product reaches.
fn say_limit(limit: f64) {
    say!("a product of {SIDE} x {SIDE} matrices here and now: {limit:.0} GFLOP/s");
}

/// Bytes in MiB.
fn mib(bytes: i64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
