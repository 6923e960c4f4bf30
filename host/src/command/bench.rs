//! `vlhub bench`.

use super::tokenize::{texts, tokenizer};
use super::{load, print_json};
use crate::cli::{BenchCommand, BenchDataArgs, BenchTokensArgs, BenchTrainArgs, Shared};
use crate::data::skipped::SkipLog;
use crate::data::{speed, tokens};
use crate::failure::{Failure, Outcome};
use crate::session;
use crate::training::Training;

/// Measures a part of a run.
pub fn bench(shared: &Shared, command: BenchCommand) -> Outcome {
    match command {
        BenchCommand::Data(args) => data(shared, &args),
        BenchCommand::Tokens(args) => tokens(&args),
        BenchCommand::Train(args) => train(shared, &args),
    }
}

fn checked(seconds: f64) -> Outcome<f64> {
    if seconds > 0.0 && seconds.is_finite() { Ok(seconds) } else { Err(Failure::usage(format!("--seconds {seconds}: it must be above 0"))) }
}

fn data(shared: &Shared, args: &BenchDataArgs) -> Outcome {
    let seconds = checked(args.seconds)?;
    let config = load(shared, &args.file, &args.overrides)?;
    let data = session::loading::training_data(&config)?;
    // As training does.
    vlhub_torch_ext::keep_memory();
    let speed = speed::measure(&data.loader, seconds).map_err(|error| Failure::new(Failure::DATA, error.to_string()))?;
    if args.json {
        return print_json(&speed);
    }
    if let Some([width, height, bytes]) = speed.picture {
        say!("pictures of {width:.0}×{height:.0}, {:.1} kB, on average", bytes / 1000.0);
    }
    say!("samples a second, {} thread{}:", speed.threads, if speed.threads == 1 { "" } else { "s" });
    let stages = [
        ("read", Some(speed.read)),
        ("decode", speed.decode),
        ("augment", speed.augment),
        ("tokenise", speed.tokenise),
        ("end to end", Some(speed.end_to_end)),
    ];
    for (name, rate) in stages {
        if let Some(rate) = rate {
            say!("  {name:<10}  {rate:>10.0}");
        }
    }
    if let Some(share) = speed.of_decode {
        say!("end to end is {:.0} % of decoding alone", share * 100.0);
    }
    Ok(())
}

/// Operations that the table shows.
const SHOWN: usize = 12;

fn train(shared: &Shared, args: &BenchTrainArgs) -> Outcome {
    let config = load(shared, &args.file, &args.overrides)?;
    let mut training = Training::prepare(&config, SkipLog::none())?;
    let speed = training.speed(args.steps, args.trace.as_deref())?;
    if args.json {
        return print_json(&speed);
    }
    let of = |seconds: f64| 100.0 * seconds / speed.profiled;
    say!("{}, batch {}, median of {} steps:", speed.device, speed.batch, speed.steps);
    say!("  a step    {:.3} s ({:.3} to {:.3}), {:.1} samples/s", speed.seconds, speed.fastest, speed.slowest, speed.samples_per_second);
    say!("  waiting   {:.3} s for the next batch", speed.waiting);
    say!("  memory    {:.1} MiB of tensors at most, beside weights, optimiser state and batch", speed.peak as f64 / f64::from(1 << 20));
    if let Some(bytes) = speed.gpu_peak {
        say!("  GPU       {:.1} MiB allocated at most, weights, optimiser state and batches among them", bytes as f64 / f64::from(1 << 20));
    }
    say!("one more step, profiled: {:.3} s", speed.profiled);
    for part in &speed.parts {
        say!("  {:<28}  {:>7.3} s  {:>5.1} %", part.name, part.seconds, of(part.seconds));
    }
    say!("its operations, each without those within it:");
    for operation in speed.operations.iter().take(SHOWN) {
        say!("  {:<44}  {:>7.3} s  {:>5.1} %  {:>6} calls", operation.name, operation.seconds, of(operation.seconds), operation.calls);
    }
    if speed.products > 0.0 {
        say!(
            "matrix products and convolutions: {:.1} GFLOP in {:.3} s, {:.1} % of the step, {:.0} GFLOP/s",
            speed.gflop,
            speed.products,
            of(speed.products),
            speed.gflop / speed.products
        );
    }
    say!("a product of {0} x {0} matrices here and now: {1:.0} GFLOP/s", crate::training::speed::SIDE, speed.limit);
    if let Some(path) = &args.trace {
        say!("trace: {}", path.display());
    }
    Ok(())
}

fn tokens(args: &BenchTokensArgs) -> Outcome {
    let seconds = checked(args.seconds)?;
    let tokenizer = tokenizer(&args.texts)?;
    let texts = texts(&args.texts)?.collect::<Outcome<Vec<_>>>()?;
    let speed = tokens::speed::measure(&*tokenizer, &texts, seconds)?;
    if args.json {
        return print_json(&speed);
    }
    say!("{} texts of {:.1} bytes and {:.1} ids on average, by one thread:", speed.texts, speed.bytes, speed.ids);
    say!("  {:>10.0} texts a second, {:.1} MB/s", speed.texts_per_second, speed.megabytes_per_second);
    Ok(())
}
