//! `vlhub check`.

use serde_json::json;
use vlhub_core::{Error, Extent, SourceCx};

use super::{print_json, registry_of};
use crate::cli::{CheckArgs, Shared};
use crate::config::RunConfig;
use crate::config::document::Document;
use crate::config::problems::{Problem, Problems};
use crate::failure::{Failure, Outcome};
use crate::session;

/// Checks a run file: nothing is allocated, and of the data no more is read than whether its first samples have what the objectives read.
pub fn check(shared: &Shared, args: &CheckArgs) -> Outcome {
    let mut document = Document::read(&args.file, &args.overrides)?;
    super::lay_shared(shared, &mut document)?;
    let registry = registry_of(shared, &document)?;
    let checked = RunConfig::resolve(&document, &registry).and_then(|config| {
        let mut problems = steps(&document, &config);
        // What is read of the data is known once the views can be made.
        if problems.is_empty() {
            problems.extend(glance(&document, &config));
        }
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    });
    match checked {
        Ok(config) if args.json => {
            let warnings = session::early_warnings(&config);
            print_json(&json!({"ok": true, "problems": [], "warnings": warnings, "resolved": config.resolved}))
        }
        Ok(config) => {
            if args.resolved {
                super::say_text(&config.to_toml());
            } else {
                let terms: Vec<String> = config.objectives.iter().map(|term| format!("{} × {}", term.weight, term.key)).collect();
                say!("{} is right: {}", args.file.display(), if terms.is_empty() { "no objective".into() } else { terms.join(" + ") });
                for warning in session::early_warnings(&config) {
                    say!("warning: {warning}");
                }
            }
            Ok(())
        }
        Err(list) => {
            if args.json {
                print_json(&json!({"ok": false, "problems": list}))?;
            }
            let problems = Problems::found(&document, list);
            Err(problems.failure().unwrap_or_else(|| Failure::usage("the run file cannot be read")))
        }
    }
}

/// Augmentations and caption transforms that refuse their options or lack a file.
fn steps(document: &Document, config: &RunConfig) -> Vec<Problem> {
    let problem = |(key, error): (String, Error)| Problem { place: document.place(&key), key, message: error.to_string() };
    session::refused_steps(config).into_iter().map(problem).collect()
}

/// What the first samples of the training data lack of what the objectives read.
fn glance(document: &Document, config: &RunConfig) -> Option<Problem> {
    let data = config.data.as_ref().filter(|_| !config.objectives.is_empty())?;
    // Plugins that cannot be built say so when the run is built; here they only keep the data from being judged.
    let wants = session::wants::on_paper(config).ok()?;
    let error = data
        .config
        .build(&SourceCx { folder: &config.folder, wants, extent: Extent::Glance, host: &config.opener() })
        .err()
        .filter(|error| !error.is_elsewhere())?;
    let key = "data.train";
    Some(Problem { place: document.place(key), key: key.into(), message: error.to_string() })
}
