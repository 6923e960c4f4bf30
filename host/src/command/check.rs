//! `vlhub check`.

use serde_json::json;

use super::{print_json, registry_of};
use crate::cli::{CheckArgs, Shared};
use crate::config::RunConfig;
use crate::config::document::Document;
use crate::config::problems::Problems;
use crate::failure::{Failure, Outcome};
use crate::session;

/// Checks a run file: nothing is allocated, no data is opened.
pub fn check(shared: &Shared, args: &CheckArgs) -> Outcome {
    let document = Document::read(&args.file, &args.overrides)?;
    let registry = registry_of(shared, &document)?;
    match RunConfig::resolve(&document, &registry) {
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
