//! `vlhub bench loss`.

use std::path::Path;

use serde::Serialize;
use vlhub_core::{Error, Objective};

use super::{config_of, mib, print_json, say_limit};
use crate::cli::{BenchLossArgs, Shared};
use crate::command::try_plugin;
use crate::device;
use crate::failure::{Failure, Outcome};
use crate::measuring::limit;
use crate::session;
use crate::training::loss_speed::{self, LossPoint, LossSpeed, LossTrial, plain_towers};

/// Width of features where no run says it.
const WIDTH: i64 = 512;

/// What is printed as JSON.
#[derive(Serialize)]
struct LossSpeeds {
    /// Device, threads, library of products.
    device: String,
    /// Passes of which each time is the median.
    repeat: u32,
    objectives: Vec<LossSpeed>,
    /// What a product of square matrices reaches in the same minute, in 10⁹ operations a second.
    limit: f64,
}

/// Measures objectives without towers.
pub(super) fn loss(shared: &Shared, args: &BenchLossArgs) -> Outcome {
    let (overrides, names): (Vec<String>, Vec<String>) =
        args.what.iter().cloned().partition(|word| word.contains('=') && !Path::new(word).exists());
    let (objectives, trial) = match &names[..] {
        [] => {
            return Err(Failure::usage(
                "name objectives, or a run whose objectives are measured: `vlhub bench loss clip siglip`, `vlhub bench loss run.toml`",
            ));
        }
        [run] if is_run(run) => of_run(shared, args, Path::new(run), &overrides)?,
        names => match names.iter().find(|name| is_run(name)) {
            Some(run) => return Err(Failure::usage(format!("`{run}` is a run: name it alone, or objectives without it"))),
            None => of_names(shared, args, names, &overrides)?,
        },
    };
    let speeds = LossSpeeds { device: device::in_words(trial.device), repeat: trial.repeat, objectives, limit: trial.limit };
    if args.json {
        return print_json(&speeds);
    }
    say!("{}, loss and gradients, median of {} passes:", speeds.device, speeds.repeat);
    speeds.objectives.iter().for_each(say_objective);
    say_limit(speeds.limit);
    Ok(())
}

/// Whether a word names a run, and not an objective.
fn is_run(word: &str) -> bool {
    let path = word.strip_prefix(OBJECTIVE).unwrap_or(word);
    path.ends_with(".toml") || path.contains('/') || Path::new(path).join("config.toml").is_file()
}

/// What may stand before the name of an objective, as in `vlhub plugins try`.
const OBJECTIVE: &str = "objective/";

/// The objectives of a run, which says how wide their features are.
fn of_run(shared: &Shared, args: &BenchLossArgs, run: &Path, overrides: &[String]) -> Outcome<(Vec<LossSpeed>, LossTrial)> {
    if args.width.is_some() {
        return Err(Failure::usage(format!(
            "--width: `{}` says how wide its features are; leave it out, or name objectives",
            run.display()
        )));
    }
    let config = config_of(shared, run, overrides)?;
    if config.objectives.is_empty() {
        return Err(Failure::usage(format!("`{}` has no objective; add a table such as `[objective.clip]`", run.display())));
    }
    let towers = session::tower_facts(&config)?;
    let trial = trial(args, &config.top.device, config.train.torch_threads)?;
    let speed = config.objectives.iter().map(|term| loss_speed::measure(&term.key, term.chosen.config.as_ref(), &towers, &trial));
    Ok((speed.collect::<Outcome<_>>()?, trial))
}

/// Objectives by their names, for towers of one width.
fn of_names(shared: &Shared, args: &BenchLossArgs, names: &[String], overrides: &[String]) -> Outcome<(Vec<LossSpeed>, LossTrial)> {
    let registry = crate::libraries::registry(&shared.libraries)?;
    let names: Vec<&str> = names.iter().map(|name| name.strip_prefix(OBJECTIVE).unwrap_or(name)).collect();
    let configs = names.iter().map(|name| try_plugin::config::<dyn Objective>(&registry, name, overrides));
    // All of them are there before the first is measured.
    let configs = configs.collect::<Outcome<Vec<_>>>()?;
    let towers = plain_towers(args.width.unwrap_or(WIDTH), args.tokens);
    let trial = trial(args, "auto", 0)?;
    let speed = names.iter().zip(&configs).map(|(name, config)| loss_speed::measure(name, config.as_ref(), &towers, &trial));
    Ok((speed.collect::<Outcome<_>>()?, trial))
}

/// Makes ready as training does.
fn trial(args: &BenchLossArgs, device: &str, threads: i32) -> Outcome<LossTrial> {
    let device = device::device(args.device.as_deref().unwrap_or(device))?;
    if threads > 0 {
        tch::set_num_threads(threads);
    }
    vlhub_torch_ext::keep_memory();
    vlhub_torch_ext::deterministic(true).map_err(Error::from)?;
    Ok(LossTrial { rows: args.rows.clone(), tokens: args.tokens, repeat: args.repeat, device, limit: limit(device) })
}

fn say_objective(speed: &LossSpeed) {
    say!("{}, width {}, reads {}", speed.objective, speed.width, speed.reads.join(", "));
    say!("  {:>8}  {:>10}  {:>9}  {:>8}  {:>13}  {:>11}", "rows", "seconds", "GFLOP", "of limit", "gradients MiB", "besides MiB");
    for point in &speed.points {
        let LossPoint { rows, seconds, gflop, of_limit, .. } = *point;
        let (gradients, beside) = (mib(point.gradients), mib(point.beside));
        say!("  {rows:>8}  {seconds:>10.4}  {gflop:>9.2}  {:>6.1} %  {gradients:>13.1}  {beside:>11.1}", 100.0 * of_limit);
    }
    if let Some(exponent) = speed.exponent {
        let memory =
            speed.memory_exponent.map(|exponent| format!(", memory besides gradients to the power {exponent:.2}")).unwrap_or_default();
        say!("  time grows with rows to the power {exponent:.2}{memory}");
    }
}
