//! `vlhub bench memory`.

use super::{config_of, mib, print_json};
use crate::cli::{BenchMemoryArgs, Shared};
use crate::data::skipped::SkipLog;
use crate::failure::{Failure, Outcome};
use crate::training::Training;

/// Measures the memory of a run's tensors.
pub(super) fn memory(shared: &Shared, args: &BenchMemoryArgs) -> Outcome {
    let largest = args.batches.iter().max().copied().ok_or_else(|| Failure::usage("--batches: name at least one number of rows"))?;
    // All batches are cut from one of the largest.
    let overrides = [&args.overrides[..], &[format!("train.batch={largest}")]].concat();
    let config = config_of(shared, &args.run, &overrides)?;
    let used = Training::prepare(&config, SkipLog::none())?.memory(&args.batches)?;
    if args.json {
        return print_json(&used);
    }
    say!("{}, {}, MiB:", used.device, used.precision);
    let kept = [
        ("weights", used.weights),
        ("optimiser states", used.optimizer),
        ("averages", used.averages),
        ("teachers", used.teachers),
        ("gradients, which a step makes", used.gradients),
    ];
    for (name, bytes) in kept {
        say!("  {name:<30}  {:>10.1}", mib(bytes));
    }
    say!("  {:>8}  {:>10}  {:>14}  {:>10}", "rows", "batch", "step, at most", "all");
    for batch in &used.batches {
        say!("  {:>8}  {:>10.1}  {:>14.1}  {:>10.1}", batch.rows, mib(batch.batch), mib(batch.step), mib(batch.total));
    }
    if let (Some(row), Some(fixed)) = (used.mib_per_row, used.mib_at_no_row) {
        say!("a row takes {row:.3} MiB of batch and step; {fixed:.1} MiB of them are there whatever the rows");
    }
    Ok(())
}
