//! `vlhub eval`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::eval_plan::{EvalPlan, ModelNames};
use super::model::{ChosenModel, ModelRequest, WithoutWeights, choose, is_run, weights_name};
use super::{documents, lay_shared, print_json, registry_of};
use crate::cli::{EvalArgs, Shared};
use crate::compat::FlagTranslation;
use crate::config::RunConfig;
use crate::config::document::{Document, leaves};
use crate::device;
use crate::evaluation::suites::{self, Measured};
use crate::evaluation::{ClassifierCache, EncodeOnce, EvalModel, class_names};
use crate::failure::{Failure, Outcome, hint};
use crate::run::EvaluationFolder;

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
    let (mut config, chosen) = match run {
        Some(run) => of_run(shared, args, asked, run, translated)?,
        None => {
            let mut document = translated.document;
            lay_shared(shared, &mut document)?;
            let config = RunConfig::of(&document, &registry_of(shared, &document)?)?;
            if !args.benchmark.names_data() {
                check_suites(&args.suite, &config, &document.name)?;
            }
            (config, choose(shared, ModelRequest { model: Some(&document.name), document: Some(&document), ..asked })?)
        }
    };
    let mut plan = EvalPlan::new(args, &mut config)?;
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
    let mut model = EvalModel::of_session(&session, class_names);
    model.classifiers = classifiers(args, &chosen.config);
    let once = EncodeOnce::new(&model);
    // A model of flags alone is called by its weights.
    let target = args.target.as_deref().or(run).or(checkpoint.map(Path::new)).unwrap_or(Path::new("flags")).to_owned();
    let names = names_of(&chosen, loaded, args, &target);
    let measured_path = loaded.map_or_else(|| "random weights".to_owned(), |path| path.display().to_string());
    let folder = args.out.as_deref().map(|out| evaluation_folder(out, &measured_path, which, device, &config)).transpose()?;
    let mut results = Vec::new();
    for planned in std::mem::take(&mut plan.all) {
        let (key, mut why, mut report) = (&planned.key, plan.is_there(&planned, args, &names)?, None);
        match &planned.suite {
            Err(none) => why = Some(none.clone()),
            Ok(_) if why.is_some() => {}
            Ok(suite) => {
                let built = suites::build(&config, suite, session.towers.pictures)?;
                suites::check(key, &built, &model)?;
                let measured = suites::evaluate(key, &built, &once)?;
                why = measured.why_not();
                report = if let Measured::Report(report) = measured { Some(report) } else { None };
            }
        }
        // What was measured is written at once: a later suite may fail.
        if let Some(report) = &report {
            plan.write(&planned, report, args, &names, &config)?;
            if let Some(folder) = &folder {
                folder.add(key, json!({"weights": which}), report)?;
            }
            if let Some(table) = &args.save_results_to_csv {
                crate::run::append_results(table, &name_of(&target), &measured_path, &[(key.as_str(), &**report)])?;
            }
        }
        if !args.json {
            match &report {
                Some(report) => super::say_text(&crate::run::result_table(key, report)),
                None => say!("{key}: {}", why.as_deref().unwrap_or_default()),
            }
        }
        let plugin = planned.suite.as_ref().map(|suite| suite.chosen.plugin.as_str()).ok();
        results.push(json!({"name": key, "plugin": plugin, "report": report, "why_not": why}));
    }
    if let Some(out) = &args.out {
        let page = crate::run::write_report(out, None)?;
        tracing::info!("report: {}", page.display());
    }
    let scores = plan.scores();
    if args.json {
        let differences = chosen.all_differences(&session);
        let mut all = json!({"checkpoint": loaded, "weights": which, "differences": differences, "results": results});
        if args.benchmark.datacomp.is_some() {
            all["datacomp"] = json!(scores);
        }
        return print_json(&all);
    }
    scores.iter().for_each(|score| say!("{score}"));
    Ok(())
}

/// Where classifiers of this model are kept, unless that is not wanted.
fn classifiers(args: &EvalArgs, model: &RunConfig) -> Option<ClassifierCache> {
    let folder = ClassifierCache::folder().filter(|_| !args.no_classifier_cache)?;
    ClassifierCache::of_model(folder, model)
}

/// The folder that `--out` names, with what is known before anything is measured.
fn evaluation_folder(out: &Path, measured: &str, weights: &str, device: tch::Device, config: &RunConfig) -> Outcome<EvaluationFolder> {
    let facts = [
        ("weights", weights.to_owned()),
        ("device", device::in_words(device)),
        ("version", format!("vlhub {}, libtorch {}", env!("CARGO_PKG_VERSION"), device::TORCH)),
    ];
    let config = config.portable_toml(config.resolved.clone());
    EvaluationFolder::open(out, measured, &facts, &config).map_err(|error| Failure::usage(error.to_string()))
}

/// What a table calls the target: the name of a run's folder, or of a run file.
fn name_of(target: &Path) -> String {
    let full = std::path::absolute(target).unwrap_or_else(|_| target.to_owned());
    let name = if full.is_dir() { full.file_name() } else { full.file_stem() };
    name.unwrap_or_default().to_string_lossy().into_owned()
}

/// The suites of a run, with those that flags ask for, and its own model, unless another checkpoint is named.
fn of_run(
    shared: &Shared,
    args: &EvalArgs,
    asked: ModelRequest<'_>,
    run: &Path,
    translated: FlagTranslation,
) -> Outcome<(RunConfig, ChosenModel)> {
    let (own, mut document) = described(shared, asked, run)?;
    if !args.given.is_empty() {
        document = with_suites(translated.document, document)?;
    }
    document.set_all(&args.overrides)?;
    lay_shared(shared, &mut document)?;
    let config = RunConfig::of(&document, &registry_of(shared, &document)?)?;
    if !args.benchmark.names_data() {
        check_suites(&args.suite, &config, &run.display().to_string())?;
    }
    let chosen = if asked.checkpoint.is_some() { choose(shared, asked)? } else { own };
    Ok((config, chosen))
}

/// A run's own model, and its options without what belongs to its training alone.
///
/// # Errors
/// A folder that is no run; and as [`choose`].
pub(super) fn described(shared: &Shared, asked: ModelRequest<'_>, run: &Path) -> Outcome<(ChosenModel, Document)> {
    let name = run.display().to_string();
    let own = choose(shared, ModelRequest { checkpoint: Some(&name), ..asked })?;
    let Some(described) = &own.run else {
        return Err(Failure::usage(format!("`{name}` is no run: name a run's folder, one of its checkpoints, or a run file")));
    };
    let mut document = described.document.clone();
    document.forget_training();
    Ok((own, document))
}

/// What result files call the model and its weights.
fn names_of(chosen: &ChosenModel, loaded: Option<&PathBuf>, args: &EvalArgs, target: &Path) -> ModelNames {
    let top = &chosen.config.top;
    let model = [&top.model, &top.name].into_iter().find(|name| !name.is_empty()).map_or("vlhub", |name| name);
    let model = model.strip_suffix(".json").unwrap_or(model).to_owned();
    let named = args.checkpoint.clone().unwrap_or_else(|| match chosen.config.weights() {
        Some(named) if chosen.run.is_none() => named.to_owned(),
        _ => target.display().to_string(),
    });
    ModelNames { model, pretrained: if loaded.is_some() { named } else { "random".into() } }
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

/// Whether `config` has suites, and those that are `wanted`: found before anything is built.
pub(super) fn check_suites(wanted: &[String], config: &RunConfig, name: &str) -> Outcome {
    let known: Vec<&str> = config.suites.iter().map(|suite| suite.key.as_str()).collect();
    if known.is_empty() {
        return Err(Failure::usage(format!("{name} has no `[eval.…]` table")));
    }
    match wanted.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Failure::usage(format!("no suite is called `{name}`{}", hint(name, &known)))),
        None => Ok(()),
    }
}

/// The folder of the run that is named by itself or by its `config.toml`.
pub(super) fn run_of(target: &Path) -> Option<&Path> {
    if target.is_dir() {
        return Some(target);
    }
    let folder = target.parent().filter(|_| target.file_name().is_some_and(|name| name == "config.toml"))?;
    is_run(folder).then_some(folder)
}
