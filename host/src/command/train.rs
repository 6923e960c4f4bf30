//! `vlhub train`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};

use super::load;
use crate::checkpoint::{RunLock, Store};
use crate::cli::TrainArgs;
use crate::config::RunConfig;
use crate::data::skipped::SkipLog;
use crate::engine::train::{Ending, Resume, Training};
use crate::failure::{Failure, Outcome};
use crate::run::{self, RunFolder};

/// Trains what a run file describes.
pub fn train(libraries: &[PathBuf], args: &TrainArgs) -> Outcome {
    let (config, _registry) = load(libraries, &args.file, &args.overrides)?;
    let resume = match args.resume.as_deref() {
        None => Resume::No,
        Some("latest") => Resume::Latest,
        Some("auto") => Resume::Auto,
        Some(path) => Resume::At(PathBuf::from(path)),
    };
    if args.dry_run {
        let training = Training::prepare(&config, SkipLog::none())?;
        for line in training.banner() {
            println!("{line}");
        }
        training.first_batch()?;
        println!("one batch was read; nothing was written");
        return Ok(());
    }
    if resume != Resume::No && config.top.name.is_empty() {
        return Err(Failure::usage("`--resume` needs the name of the run: set `name` in the run file, or `name=NAME` on the command line"));
    }
    let name = if config.top.name.is_empty() { default_name(&config) } else { config.top.name.clone() };
    let stop = signals()?;
    let mut folder = RunFolder::create(Path::new(&config.top.logs), &name, resume != Resume::No)?;
    let _lock = RunLock::acquire(folder.path())?;
    let store = Store::open(folder.path().join("checkpoints"))?.keeping(config.train.keep_last, Some(config.train.keep_every).filter(|every| *every > 0));
    let skipped = SkipLog::open(&folder.path().join("skipped.jsonl"))?;
    let mut training = Training::prepare(&config, skipped.clone())?;
    let resumed = training.resume(&store, &resume, args.allow_changed)?;
    skipped.resume(training.first_step())?;
    folder.begin(&config.to_toml(), &config.resolved, training.first_step(), training.total, training.steps_per_epoch())?;
    for line in training.banner() {
        folder.info(&line);
    }
    if let Some(text) = resumed {
        folder.info(&text);
    }
    folder.info(&format!("writing to {}", folder.path().display()));
    let ending = training.run(&store, &mut folder, &stop);
    folder.note_skipped(&skipped);
    match ending? {
        Ending::Finished => {
            let page = run::write_report(folder.path())?;
            folder.finish(&page);
            Ok(())
        }
        Ending::Stopped(step) => {
            Err(Failure::new(Failure::PREEMPTED, format!("by a signal, at step {step}, with everything saved; go on with the same command and `--resume`")))
        }
    }
}

/// The name in open_clip's pattern: date and time, model, rates.
fn default_name(config: &RunConfig) -> String {
    let model = match (&config.top.model, &config.image, &config.text) {
        (model, ..) if !model.is_empty() => model.clone(),
        (_, Some(tower), _) | (_, None, Some(tower)) => tower.chosen.plugin.clone(),
        _ => "none".into(),
    };
    format!(
        "{}-model_{}-lr_{}-b_{}-j_{}-p_fp32",
        run::timestamp(),
        model.replace('/', "-"),
        config.optimizer.lr,
        config.train.batch,
        config.train.workers
    )
}

/// A flag that the first SIGTERM, SIGINT or SIGUSR1 sets. A second one ends the process at once.
fn signals() -> Outcome<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGUSR1] {
        let hooked = signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)));
        hooked.map_err(|error| Failure::new(Failure::RUN, format!("cannot listen for signal {signal}: {error}")))?;
    }
    Ok(stop)
}
