//! Suites: built with the data sets that they name, and run on a model.

use std::sync::Arc;

use vlhub_core::{EvalCx, EvalSuite, Model, Report};

use super::EvalModel;
use crate::config::{RunConfig, SuiteConfig};
use crate::data::dataset::{HostDatasets, SampleReading};
use crate::data::views::ImageInput;
use crate::failure::{Failure, Outcome};

/// Builds a suite and opens its data, for a model that reads pictures as `image` says.
///
/// # Errors
/// Exit status 2 with what it refuses.
pub fn build(config: &RunConfig, suite: &SuiteConfig, image: Option<ImageInput>) -> Outcome<Box<dyn EvalSuite>> {
    let reading = SampleReading { threads: config.train.workers, pictures: config.top.pictures(), image };
    let datasets = HostDatasets::new(Arc::clone(&config.registry), &config.folder, reading);
    let built = suite.chosen.config.build(&EvalCx { datasets: &datasets });
    built.map_err(|error| Failure::usage(error.within(format!("eval.{}", suite.key)).to_string()))
}

/// Whether a suite can measure a model on its data, as far as that can be told without computing anything. A model that lacks a skill is passed
/// over later.
///
/// # Errors
/// Exit status 2 with what the suite refuses.
pub fn check(key: &str, suite: &dyn EvalSuite, model: &EvalModel<'_>) -> Outcome {
    let skills = model.skills();
    if !suite.requires().missing(&skills).is_empty() {
        return Ok(());
    }
    suite.check(&skills).map_err(|error| Failure::usage(error.within(format!("eval.{key}")).to_string()))
}

/// Runs one suite. `None` when the model lacks what the suite needs.
///
/// # Errors
/// Whatever the suite or its data refuses.
pub fn evaluate(key: &str, suite: &dyn EvalSuite, model: &EvalModel<'_>) -> Outcome<Option<Report>> {
    if !suite.requires().missing(&model.skills()).is_empty() {
        return Ok(None);
    }
    let mut report = Report::default();
    suite.run(model, &mut report).map_err(|error| error.within(format!("eval.{key}")))?;
    Ok(Some(report))
}
