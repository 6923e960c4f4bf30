//! `vlhub eval`.

use std::path::Path;

use serde_json::json;

use super::model::{ChosenModel, ModelRequest, WithoutWeights, choose, is_run, weights_name};
use super::{documents, lay_shared, print_json, registry_of};
use crate::cli::{EvalArgs, Shared};
use crate::compat::FlagTranslation;
use crate::config::RunConfig;
use crate::config::document::{Document, leaves};
use crate::device;
use crate::evaluation::suites::{self, Measured};
use crate::evaluation::{EncodeOnce, EvalModel, class_names};
use crate::failure::{Failure, Outcome, hint};

/// Runs suites on trained weights.
pub fn eval(shared: &Shared, args: &EvalArgs) -> Outcome {
    let without = if args.random_weights { WithoutWeights::Random } else { WithoutWeights::Refuse };
    let resumed = args.given.text("resume");
    // A run that `--resume` names describes its model, unless another is named beside it.
    let resumed_run = resumed.filter(|path| args.target.is_none() && args.given.get("model").is_none() && is_run(Path::new(path)));
    let run = args.target.as_deref().and_then(run_of).or(resumed_run.map(Path::new));
    let translated = documents::of_evaluation(shared, args, run.is_some())?;
    if args.print_config {
        return documents::print(shared, translated);
    }
    documents::tell(&translated.notes);
    let checkpoint = args.checkpoint.as_deref().or(resumed.filter(|_| resumed_run.is_none()));
    let asked = ModelRequest { model: None, document: None, overrides: &args.overrides, checkpoint, weights: &args.weights, without };
    let (config, chosen) = match run {
        Some(run) => of_run(shared, args, asked, run, translated)?,
        None => {
            let mut document = translated.document;
            lay_shared(shared, &mut document)?;
            let config = RunConfig::of(&document, &registry_of(shared, &document)?)?;
            check_suites(args, &config, &document.name)?;
            (config, choose(shared, ModelRequest { model: Some(&document.name), document: Some(&document), overrides: &[], ..asked })?)
        }
    };
    let device = device::device(&config.top.device)?;
    if config.train.torch_threads > 0 {
        tch::set_num_threads(config.train.torch_threads);
    }
    let session = chosen.build(device, true)?;
    let which = weights_name(&session);
    let loaded = session.loaded.first().map(|loaded| &loaded.path);
    if let Some(path) = loaded {
        tracing::info!("measured: the {which} weights of {}", path.display());
    }
    let of_checkpoint = loaded.map(|path| class_names::of_checkpoint(path)).unwrap_or_default();
    let class_names = if of_checkpoint.is_empty() { &config.top.class_names } else { &of_checkpoint };
    let model = EvalModel::of_session(&session, class_names);
    let once = EncodeOnce::new(&model);
    let mut results = Vec::new();
    for suite in config.suites.iter().filter(|suite| args.suite.is_empty() || args.suite.contains(&suite.key)) {
        let built = suites::build(&config, suite, session.towers.pictures)?;
        suites::check(&suite.key, &built, &model)?;
        let measured = suites::evaluate(&suite.key, &built, &once)?;
        let (why, report) = (measured.why_not(), if let Measured::Report(report) = measured { Some(report) } else { None });
        if !args.json {
            match &report {
                Some(report) => super::say_text(&crate::run::result_table(&suite.key, report)),
                None => say!("{}: {}", suite.key, why.as_deref().unwrap_or_default()),
            }
        }
        results.push(json!({"name": suite.key, "plugin": suite.chosen.plugin, "report": report, "why_not": why}));
    }
    if args.json {
        let differences = chosen.all_differences(&session);
        return print_json(&json!({"checkpoint": loaded, "weights": which, "differences": differences, "results": results}));
    }
    Ok(())
}

/// The suites of a run, with those that flags ask for, and its own model, unless another checkpoint is named.
fn of_run(
    shared: &Shared,
    args: &EvalArgs,
    asked: ModelRequest<'_>,
    run: &Path,
    translated: FlagTranslation,
) -> Outcome<(RunConfig, ChosenModel)> {
    let name = run.display().to_string();
    let own = choose(shared, ModelRequest { checkpoint: Some(&name), ..asked })?;
    let Some(described) = &own.run else {
        return Err(Failure::usage(format!("`{name}` is no run: name a run's folder, one of its checkpoints, or a run file")));
    };
    let mut document = described.document.clone();
    document.forget_training();
    if !args.given.is_empty() {
        document = with_suites(translated.document, document)?;
    }
    document.set_all(&args.overrides)?;
    lay_shared(shared, &mut document)?;
    let config = RunConfig::of(&document, &registry_of(shared, &document)?)?;
    check_suites(args, &config, &name)?;
    let chosen = if asked.checkpoint.is_some() { choose(shared, asked)? } else { own };
    Ok((config, chosen))
}

/// The suites and batches that flags ask for, over the options of a run. Its model is its own.
fn with_suites(mut flags: Document, run: Document) -> Outcome<Document> {
    let of_model = |key: &&String| !["eval", "train", "device", "logs", "report_to"].contains(&key.as_str());
    if let Some(table) = flags.tree.keys().find(of_model) {
        let options = leaves(&flags.tree);
        let option = options.keys().find(|path| path.split('.').next() == Some(table)).unwrap_or(table);
        return Err(Failure::usage(format!(
            "{}: the run describes its model; leave the flag out, or name no run and give the weights by `--checkpoint`",
            flags.place(option)
        )));
    }
    flags.folder.clone_from(&run.folder);
    flags.name.clone_from(&run.name);
    flags.lay_over(run);
    Ok(flags)
}

/// Found before anything is built.
fn check_suites(args: &EvalArgs, config: &RunConfig, name: &str) -> Outcome {
    let known: Vec<&str> = config.suites.iter().map(|suite| suite.key.as_str()).collect();
    if known.is_empty() {
        return Err(Failure::usage(format!("{name} has no `[eval.…]` table")));
    }
    match args.suite.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Failure::usage(format!("no suite is called `{name}`{}", hint(name, &known)))),
        None => Ok(()),
    }
}

/// The folder of the run that is named by itself or by its `config.toml`.
fn run_of(target: &Path) -> Option<&Path> {
    if target.is_dir() {
        return Some(target);
    }
    let folder = target.parent().filter(|_| target.file_name().is_some_and(|name| name == "config.toml"))?;
    is_run(folder).then_some(folder)
}
