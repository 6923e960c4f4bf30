//! `vlhub bench eval`.

use std::path::Path;

use super::{config_of, mib, print_json, say_limit, say_operations, say_parts};
use crate::cli::{BenchEvalArgs, Shared, WeightArgs};
use crate::command::documents;
use crate::command::eval::{check_suites, described, run_of};
use crate::command::model::{ModelRequest, WithoutWeights};
use crate::config::{RunConfig, SuiteConfig};
use crate::device;
use crate::evaluation::speed::{self, EmbedSpeed, EvalTrial, SuiteSpeed};
use crate::evaluation::{EvalModel, class_names};
use crate::failure::Outcome;
use crate::session::{self, Session};

/// Measures the suites of a run.
pub(super) fn eval(shared: &Shared, args: &BenchEvalArgs) -> Outcome {
    let (config, session) = match run_of(&args.run) {
        Some(run) => of_run(shared, args, run)?,
        None => of_file(shared, args)?,
    };
    let of_checkpoint = session.loaded.first().map(|loaded| class_names::of_checkpoint(&loaded.path)).unwrap_or_default();
    let class_names = if of_checkpoint.is_empty() { &config.top.class_names } else { &of_checkpoint };
    let model = EvalModel::of_session(&session, class_names);
    let wanted: Vec<&SuiteConfig> =
        config.suites.iter().filter(|suite| args.suites.is_empty() || args.suites.contains(&suite.key)).collect();
    let trial = EvalTrial { samples: args.samples, batch: usize::from(args.batch), repeat: args.repeat };
    let speed = speed::measure(&config, &wanted, &model, &trial)?;
    if args.json {
        return print_json(&speed);
    }
    say!("{}, {} thread{} that read and decode", speed.device, speed.threads, if speed.threads == 1 { "" } else { "s" });
    if let Some(embedding) = &speed.embedding {
        say_embedding(embedding);
    }
    speed.suites.iter().for_each(say_suite);
    say_limit(speed.limit);
    Ok(())
}

/// The suites of a run, and its own model with its weights.
fn of_run(shared: &Shared, args: &BenchEvalArgs, run: &Path) -> Outcome<(RunConfig, Session)> {
    let name = run.display().to_string();
    let weights = WeightArgs::default();
    let asked = ModelRequest {
        model: None,
        document: None,
        overrides: &args.overrides,
        checkpoint: Some(&name),
        weights: &weights,
        without: WithoutWeights::Refuse,
    };
    let (chosen, mut document) = described(shared, asked, run)?;
    document.set_all(&args.overrides)?;
    let config = documents::checked(shared, document)?;
    check_suites(&args.suites, &config, &name)?;
    let session = chosen.build(made_ready(&config)?, true)?;
    Ok((config, session))
}

/// The suites of a run file, and its model: with random weights where it names none, which take the same time.
fn of_file(shared: &Shared, args: &BenchEvalArgs) -> Outcome<(RunConfig, Session)> {
    let config = config_of(shared, &args.run, &args.overrides)?;
    check_suites(&args.suites, &config, &args.run.display().to_string())?;
    let mut session = session::build_trained(&config, made_ready(&config)?, None)?;
    session.tokenizer = session::tokenizer(&config, &session.towers)?;
    Ok((config, session))
}

/// The device of a run, whose threads are those of the run from now on.
fn made_ready(config: &RunConfig) -> Outcome<tch::Device> {
    let device = device::device(&config.top.device)?;
    if config.train.torch_threads > 0 {
        tch::set_num_threads(config.train.torch_threads);
    }
    Ok(device)
}

fn say_embedding(speed: &EmbedSpeed) {
    say!(
        "encoding pictures alone: {:.1} a second in batches of {}, {:.1} MiB of tensors at most; {:.1} GFLOP of products a batch, which at the limit would \
         take {:.1} % of the time",
        speed.images_per_second,
        speed.batch,
        mib(speed.peak),
        speed.gflop,
        100.0 * speed.of_limit
    );
}

fn say_suite(speed: &SuiteSpeed) {
    let SuiteSpeed { name, plugin, seconds, .. } = speed;
    if let Some(why) = &speed.why_not {
        say!("{name} ({plugin}): {why}");
        return;
    }
    say!(
        "{name} ({plugin}): {} samples in {seconds:.3} s under the profiler, after {:.3} s of opening the data",
        speed.samples,
        speed.opening
    );
    if let Some(rate) = speed.decoded_per_second {
        say!("  reading and decoding alone: {rate:.1} pictures a second");
    }
    if let Some(rate) = speed.images_per_second {
        say!("  encoding: {} pictures, {rate:.1} a second", speed.images);
    }
    if let Some(rate) = speed.texts_per_second {
        let (given, computed) = (speed.tokens_given, speed.tokens_computed);
        let share = 100.0 * computed as f64 / given.max(1) as f64;
        say!(
            "  classifier and texts: {} texts, {rate:.1} a second; {computed} tokens computed of {given} given, {share:.1} %",
            speed.texts
        );
    }
    say_parts(&speed.parts, *seconds);
    say!("  scores, metrics and intervals: {:.3} s", speed.metrics);
    say_operations(&speed.operations, *seconds);
    if speed.products > 0.0 {
        say!(
            "matrix products and convolutions: {:.1} GFLOP in {:.3} s, {:.1} % of the suite, {:.0} GFLOP/s",
            speed.gflop,
            speed.products,
            100.0 * speed.products / seconds,
            speed.gflop / speed.products
        );
    }
}
