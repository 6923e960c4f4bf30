//! `vlhub compare` and `vlhub report`.

use super::{print_json, screen};
use crate::cli::{CompareArgs, ReportArgs};
use crate::failure::{Failure, Outcome};

/// Writes one page about several runs, and prints what differs.
pub fn compare(args: &CompareArgs) -> Outcome {
    let comparison = crate::run::compare(&args.runs, &args.out).map_err(|error| Failure::usage(error.to_string()))?;
    if args.json {
        return print_json(&comparison);
    }
    say!("{}", comparison.to_text());
    say!("wrote {}", args.out.display());
    Ok(())
}

/// Writes a run's report again, and shows its loss and its results.
pub fn report(args: &ReportArgs) -> Outcome {
    let page = crate::run::write_report(&args.run).map_err(|error| Failure::usage(error.to_string()))?;
    screen::show_run(&args.run).map_err(|error| Failure::usage(error.to_string()))?;
    say!("wrote {}", page.display());
    Ok(())
}
