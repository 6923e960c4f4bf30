//! What a run has recorded so far, read from its JSON lines: for loggers that begin in the middle of a run, or lost what was on its way when
//! the process died.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use image::ImageReader;
use serde_json::Value;
use vlhub_core::{Metric, Result};

use super::super::folder::Measurement;
use super::super::jsonl;
use super::{FIRST_BATCH, LogRecord};

/// Numbers of a step that every line of `metrics.jsonl` has beside those of the objectives, in the order in which loggers get them.
pub(in crate::run) const OWN: [&str; 5] = ["loss", "lr", "data_time", "batch_time", "samples_per_second"];

/// The steps and evaluations of a run in their order; an evaluation comes after the step that it measured.
///
/// # Errors
/// The file and why it cannot be read.
pub(super) fn records(folder: &Path) -> Result<Vec<LogRecord>> {
    let (steps, _) = jsonl::read(&folder.join("metrics.jsonl"))?;
    let (evaluations, _) = jsonl::read(&folder.join("checkpoints/results.jsonl"))?;
    let picture = if steps.is_empty() { None } else { first_batch(folder) };
    let lines = steps.iter().filter_map(step).chain(evaluations.iter().filter_map(evaluation));
    let mut all: Vec<LogRecord> = picture.into_iter().chain(lines).collect();
    all.sort_by_key(LogRecord::step);
    Ok(all)
}

/// The picture of the first batch, where there is one.
fn first_batch(folder: &Path) -> Option<LogRecord> {
    let png = std::fs::read(folder.join("train_batch0.png")).ok()?;
    let size = ImageReader::new(Cursor::new(&png)).with_guessed_format().ok()?.into_dimensions().ok()?;
    Some(LogRecord::Image { tag: FIRST_BATCH, step: 0, size, png: Arc::new(png) })
}

/// A number as JSON lines have it: what is not finite is null there.
fn number(value: &Value) -> Option<f64> {
    if value.is_null() { Some(f64::NAN) } else { value.as_f64() }
}

fn numbers<'a>(table: &'a Value) -> impl Iterator<Item = (String, f64)> + 'a {
    table.as_object().into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), number(value)?)))
}

fn step(line: &Value) -> Option<LogRecord> {
    let own = OWN.iter().filter_map(|name| Some(((*name).to_owned(), number(line.get(name)?)?)));
    let others = numbers(&line["metrics"]).filter(|(name, _)| !OWN.contains(&name.as_str()));
    let values = own.chain(others).collect();
    Some(LogRecord::Step { step: line["step"].as_u64()?, epoch: line["epoch"].as_u64().unwrap_or_default(), values })
}

fn evaluation(line: &Value) -> Option<LogRecord> {
    let place = Measurement {
        step: line["step"].as_u64()?,
        epoch: line["epoch"].as_u64().unwrap_or_default(),
        weights: serde_json::from_value(line["weights"].clone()).ok()?,
    };
    let chance = |name: &str| line["chance"].get(name).and_then(Value::as_f64);
    let metric = |(name, value): (String, f64)| Metric { chance: chance(&name), name, value, interval: None };
    let metrics = numbers(&line["metrics"]).map(metric).collect();
    Some(LogRecord::Evaluation { suite: line["name"].as_str()?.to_owned(), place, metrics })
}
