//! `vlhub compare` and `vlhub report`.

use std::path::PathBuf;

use super::{print_json, screen};
use crate::cli::{CompareArgs, ComparisonFormat, ReportArgs};
use crate::failure::{Failure, Outcome};

/// Writes about several runs, and prints what differs.
pub fn compare(args: &CompareArgs) -> Outcome {
    let refused = |error: vlhub_core::Error| Failure::usage(error.to_string());
    let comparison = crate::run::compare(&args.runs, args.baseline.as_deref()).map_err(refused)?;
    let (text, default) = match args.format {
        ComparisonFormat::Html => (comparison.to_page(), Some(PathBuf::from("compare.html"))),
        ComparisonFormat::Md => (comparison.to_markdown(), None),
        ComparisonFormat::Csv => (comparison.to_csv().map_err(refused)?, None),
        ComparisonFormat::Json => (comparison.to_json().map_err(refused)?, None),
    };
    let Some(out) = args.out.clone().or(default) else {
        super::say_text(&text);
        return Ok(());
    };
    crate::run::jsonl::replace(&out, text.as_bytes()).map_err(refused)?;
    if args.json {
        return print_json(&comparison);
    }
    say!("{}", comparison.to_text());
    say!("wrote {}", out.display());
    Ok(())
}

/// Writes a run's report again, and shows its loss and its results.
pub fn report(args: &ReportArgs) -> Outcome {
    let page = crate::run::write_report(&args.run, args.baseline.as_deref()).map_err(|error| Failure::usage(error.to_string()))?;
    screen::show_run(&args.run).map_err(|error| Failure::usage(error.to_string()))?;
    say!("wrote {}", page.display());
    Ok(())
}
