//! `vlhub eval`.

use serde_json::json;

use super::{load, print_json};
use crate::cli::{EvalArgs, Shared};
use crate::device;
use crate::evaluation::{EvalModel, class_names, suites};
use crate::failure::{Failure, Outcome, hint};
use crate::session::{self, initial_weights};
use crate::weights::fit::Part;

/// Runs the suites of a run file on trained weights.
pub fn eval(shared: &Shared, args: &EvalArgs) -> Outcome {
    let config = load(shared, &args.file, &args.overrides)?;
    let known: Vec<&str> = config.suites.iter().map(|suite| suite.key.as_str()).collect();
    if known.is_empty() {
        return Err(Failure::usage(format!("{} has no `[eval.…]` table", args.file.display())));
    }
    for name in &args.suite {
        if !known.contains(&name.as_str()) {
            return Err(Failure::usage(format!("no suite is called `{name}`{}", hint(name, &known))));
        }
    }
    // Found before anything is built.
    let file = crate::weights::locate::locate(&args.checkpoint, std::path::Path::new("."), &config.top.model)?;
    let device = device::device(&config.top.device)?;
    if config.train.torch_threads > 0 {
        tch::set_num_threads(config.train.torch_threads);
    }
    let session = session::build(&config, device)?;
    initial_weights::load_file(&session.towers, &file, Part::Whole, config.top.pretrained_partial)?;
    let of_checkpoint = class_names::of_checkpoint(&file);
    let class_names = if of_checkpoint.is_empty() { &config.top.class_names } else { &of_checkpoint };
    let model = EvalModel { towers: &session.towers, terms: &session.terms, tokenizer: session.tokenizer.clone(), class_names };
    let mut results = Vec::new();
    for suite in config.suites.iter().filter(|suite| args.suite.is_empty() || args.suite.contains(&suite.key)) {
        let built = suites::build(&config, suite)?;
        suites::check(&suite.key, built.as_ref(), &model)?;
        let report = suites::evaluate(&suite.key, built.as_ref(), &model)?;
        if !args.json {
            match &report {
                Some(report) => super::say_text(&crate::run::result_table(&suite.key, report)),
                None => say!("{}: skipped, the model lacks what it needs", suite.key),
            }
        }
        results.push(json!({"name": suite.key, "plugin": suite.chosen.plugin, "report": report}));
    }
    if args.json {
        return print_json(&json!({"checkpoint": file, "results": results}));
    }
    Ok(())
}
