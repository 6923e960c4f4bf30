//! `vlhub bench start`.

use std::ffi::OsString;
use std::path::Path;

use super::{config_of, mib, print_json, run_file};
use crate::cli::{BenchStartArgs, Shared};
use crate::failure::Outcome;
use crate::training::start::{self, StagePoint};

/// Measures the start of a run, in processes of their own.
pub(super) fn start(shared: &Shared, args: &BenchStartArgs) -> Outcome {
    // What is wrong with the file is told before any process is started.
    config_of(shared, &args.run, &args.overrides)?;
    let speed = start::measure(&arguments(shared, &run_file(&args.run)?, &args.overrides), args.repeat)?;
    if args.json {
        return print_json(&speed);
    }
    say!("{}, batch {}, median of {} processes:", speed.device, speed.batch, speed.repeat);
    say!("  {:<22}  {:>8}  {:>8}  {:>20}  {:>10}", "until", "s", "alone", "fastest to slowest", "MiB");
    let mut before = 0.0;
    for StagePoint { stage, seconds, fastest, slowest, resident } in &speed.stages {
        let span = format!("{fastest:.3} to {slowest:.3}");
        let memory = resident.map_or_else(|| "unknown".to_owned(), |bytes| format!("{:.1}", mib(bytes as i64)));
        say!("  {:<22}  {seconds:>8.3}  {:>8.3}  {span:>20}  {memory:>10}", stage.words(), seconds - before);
        before = *seconds;
    }
    Ok(())
}

/// What each process is called with: the run file, and what lies over it.
fn arguments(shared: &Shared, file: &Path, overrides: &[String]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec![file.into()];
    arguments.extend(overrides.iter().map(OsString::from));
    let named = |flag: &'static str, path: &Path| [OsString::from(flag), path.into()];
    arguments.extend(shared.libraries.iter().flat_map(|path| named("--library", path)));
    arguments.extend(shared.model_configs.iter().flat_map(|path| named("--model-configs", path)));
    if shared.allow_pipe {
        arguments.push("--allow-pipe".into());
    }
    arguments
}
