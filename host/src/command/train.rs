//! `vlhub train`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};

use super::{documents, screen};
use crate::cli::{Shared, TrainArgs};
use crate::compat::refuse_foreign_checkpoint;
use crate::config::RunConfig;
use crate::config::document::flat;
use crate::data::skipped::SkipLog;
use crate::engine::step_memory::StepMemory;
use crate::failure::{Failure, Outcome};
use crate::run::loggers::{Loggers, RunAbout, RunEnding};
use crate::run::{self, ProgressDisplay, Recorder, RunFolder};
use crate::training::{Ending, Output, Resume, Training};

/// Trains what a run file describes.
pub fn train(shared: &Shared, args: &TrainArgs) -> Outcome {
    // `--resume train.steps=4`: the word after a flag without a value is an override.
    let (resume, mut overrides) = (args.resume.clone(), args.overrides.clone());
    let resume = resume.map(|value| match value.contains('=') && !Path::new(&value).exists() {
        true => {
            overrides.push(value);
            "latest".to_owned()
        }
        false => value,
    });
    let translated = documents::of_training(shared, args, &overrides, resume.as_deref())?;
    if args.print_config {
        return documents::print(shared, translated);
    }
    let notes = translated.notes;
    // `--fine-tune` takes the weights alone.
    let resume = resume.filter(|_| !args.given.on("fine-tune"));
    resume.as_deref().map_or(Ok(()), refuse_foreign_checkpoint)?;
    let mut config = documents::checked(shared, translated.document)?;
    let resume = match resume.as_deref() {
        None => Resume::No,
        Some("latest") => Resume::Latest,
        Some("auto") => Resume::Auto,
        Some(path) => Resume::At(PathBuf::from(path)),
    };
    if args.dry_run {
        documents::tell(&notes);
        let mut training = Training::prepare(&config, SkipLog::none())?;
        for line in training.banner() {
            say!("{line}");
        }
        for warning in training.warnings() {
            say!("warning: {warning}");
        }
        let (peak, time) = training.first_batch(say_memory)?;
        say!(
            "one batch was read and its gradients computed in {:.2} s, with at most {:.1} MiB of tensors beside weights and batch; nothing was written",
            time.as_secs_f64(),
            peak as f64 / f64::from(1 << 20)
        );
        return Ok(());
    }
    if config.top.name.is_empty() {
        if resume != Resume::No {
            return Err(Failure::usage(
                "`--resume` needs the name of the run: set `name` in the run file, or `name=NAME` on the command line",
            ));
        }
        config.top.name = default_name(&config);
        config.resolved.insert("name".into(), config.top.name.clone().into());
    }
    let name = config.top.name.clone();
    let stop = signals()?;
    let wanted = match resume {
        Resume::No => run::ExistingRun::Never,
        Resume::Auto => run::ExistingRun::Auto,
        Resume::Latest | Resume::At(_) => run::ExistingRun::Required,
    };
    // Everything that can be refused is, before anything is written.
    let logs = Path::new(&config.top.logs);
    RunFolder::check(logs, &name, wanted)?;
    Loggers::check(&config)?;
    let skipped = SkipLog::none();
    let mut training = Training::prepare(&config, skipped.clone())?;
    let folder = RunFolder::create(logs, &name, wanted)?;
    skipped.write_to(&folder.skipped())?;
    let store = folder.checkpoints()?.keeping(config.train.keep_last, Some(config.train.keep_every).filter(|every| *every > 0));
    let resumed = training.resume(&store, &resume, args.allow_changed)?;
    let first = training.first_step();
    skipped.resume(first)?;
    let resolved = training.resolved();
    let toml = config.portable_toml(resolved.clone());
    folder.write_config(&toml)?;
    folder.write_params(&flat(&resolved))?;
    folder.write_parameters(&training.parameters())?;
    folder.write_about(&training.facts())?;
    documents::tell(&notes);
    for line in training.banner() {
        tracing::info!("{line}");
    }
    for warning in training.warnings() {
        tracing::warn!("{warning}");
    }
    if let Some(text) = &resumed {
        tracing::info!("{text}");
    }
    tracing::info!("writing to {}", folder.path().display());
    let progress =
        ProgressDisplay::new(training.total, config.train.batch as u64, training.steps_per_epoch()).every(config.train.log_every);
    let begun = resumed.is_some().then_some(first);
    let recorder = Recorder::open(&folder, progress, begun)?;
    let about = RunAbout::new(&name, folder.path(), &resolved, &toml, begun)?;
    let mut recorder = recorder.report_to(Loggers::open(&config, &about));
    let ending = training.run(&mut Output { folder: &folder, recorder: &mut recorder, store: &store }, &stop);
    recorder.finish(match &ending {
        Ok(Ending::Finished) => RunEnding::Finished,
        Ok(Ending::Stopped(_)) => RunEnding::Stopped,
        Err(_) => RunEnding::Failed,
    });
    for (reason, count) in skipped.counts() {
        tracing::warn!("{count} samples not used: {reason} (see {})", folder.skipped().display());
    }
    let ending = ending?;
    let page = run::write_report(folder.path(), None)?;
    match ending {
        Ending::Finished => {
            screen::show_run(folder.path())?;
            say!("{}", run::compare(&[folder.path().to_path_buf()], None)?.to_text());
            say!("report: {}", page.display());
            Ok(())
        }
        Ending::Stopped(step) => Err(Failure::new(
            Failure::PREEMPTED,
            format!("by a signal, at step {step}, with everything saved; go on with the same command and `name={name} --resume`"),
        )),
    }
}

/// The memory of a step, told before it is taken.
fn say_memory(memory: &StepMemory) {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let line = |name: &str, bytes: u64| say!("  {name:<72} {:>9.1}", mib(bytes));
    say!("memory of a step in MiB, told from a few rows of the first batch:");
    memory.standing.iter().chain(&memory.passing).for_each(|(name, bytes)| line(name, *bytes));
    memory.graphs.iter().for_each(|(name, bytes)| line(&format!("graphs, {name}"), *bytes));
    say!("  at most {:.1} MiB at once beside weights, states and batch", mib(memory.peak));
}

/// The name in open_clip's pattern: date and time, model, rates.
fn default_name(config: &RunConfig) -> String {
    let model = match (&config.top.model, &config.image, &config.text) {
        (model, ..) if !model.is_empty() => model.clone(),
        (_, Some(tower), _) | (_, None, Some(tower)) => tower.chosen.plugin.clone(),
        _ => "none".into(),
    };
    run::default_name(&model, config.optimizer.lr, config.train.batch, config.train.workers, config.train.precision.name())
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
