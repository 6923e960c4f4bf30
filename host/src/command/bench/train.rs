//! `vlhub bench train`.

use super::{config_of, mib, print_json, say_limit, say_operations, say_parts};
use crate::cli::{BenchTrainArgs, Shared};
use crate::data::skipped::SkipLog;
use crate::failure::Outcome;
use crate::training::Training;

/// Measures the steps of a run.
pub(super) fn train(shared: &Shared, args: &BenchTrainArgs) -> Outcome {
    let config = config_of(shared, &args.run, &args.overrides)?;
    let mut training = Training::prepare(&config, SkipLog::none())?;
    let speed = training.speed(args.steps, args.trace.as_deref())?;
    if args.json {
        return print_json(&speed);
    }
    say!("{}, batch {}, median of {} steps:", speed.device, speed.batch, speed.steps);
    say!("  a step    {:.3} s ({:.3} to {:.3}), {:.1} samples/s", speed.seconds, speed.fastest, speed.slowest, speed.samples_per_second);
    say!("  waiting   {:.3} s for the next batch", speed.waiting);
    say!("  memory    {:.1} MiB of tensors at most, beside weights, optimiser state and batch", mib(speed.peak));
    if let Some(bytes) = speed.gpu_peak {
        say!("  GPU       {:.1} MiB allocated at most, weights, optimiser state and batches among them", mib(bytes));
    }
    say!("one more step, profiled: {:.3} s", speed.profiled);
    say_parts(&speed.parts, speed.profiled);
    say_operations(&speed.operations, speed.profiled);
    if speed.products > 0.0 {
        say!(
            "matrix products and convolutions: {:.1} GFLOP in {:.3} s, {:.1} % of the step, {:.0} GFLOP/s",
            speed.gflop,
            speed.products,
            100.0 * speed.products / speed.profiled,
            speed.gflop / speed.products
        );
    }
    say_limit(speed.limit);
    if let Some(path) = &args.trace {
        say!("trace: {}", path.display());
    }
    Ok(())
}
