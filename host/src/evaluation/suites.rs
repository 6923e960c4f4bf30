//! Suites: built with the data sets that they name, and run on a model.

use std::sync::Arc;

use vlhub_core::{CaptionCx, CaptionTransform, Datasets, Error, EvalCx, EvalSuite, Model, Report};
use vlhub_torch_ext::span;

use super::{EvalModel, intervals};
use crate::config::{RunConfig, SuiteConfig};
use crate::data::dataset::{HostDatasets, SampleReading};
use crate::data::views::ImageInput;
use crate::failure::{Failure, Outcome};

/// A suite of a run.
#[derive(Debug)]
pub enum OpenSuite {
    /// With its data open.
    Ready(Box<dyn EvalSuite>),
    /// Its published data set is not on this machine: where it was looked for, and what would have to be there.
    Absent(String),
}

/// What a suite found.
#[derive(Debug)]
pub enum Measured {
    /// Numbers.
    Report(Box<Report>),
    /// Nothing, because the model lacks these.
    Lacks(Vec<&'static str>),
    /// Nothing, because its data set is not there.
    Absent(String),
}

impl Measured {
    /// Why there are no numbers.
    pub fn why_not(&self) -> Option<String> {
        match self {
            Self::Report(_) => None,
            Self::Lacks(what) => Some(format!("skipped: the model has not {}", what.join(" and "))),
            Self::Absent(why) => Some(format!("absent: {why}")),
        }
    }
}

/// Builds a suite and opens its data, for a model that reads pictures as `image` says.
///
/// # Errors
/// Exit status 2 with what it refuses. A published data set that is not there is none.
pub fn build(config: &RunConfig, suite: &SuiteConfig, image: Option<ImageInput>) -> Outcome<OpenSuite> {
    build_on(config, suite, &datasets(config, image, 0))
}

/// Opens the data sets of a run's suites: `most` samples of each, evenly spread, or all for 0.
pub(super) fn datasets(config: &RunConfig, image: Option<ImageInput>, most: usize) -> HostDatasets {
    let reading = SampleReading { threads: config.train.workers, pictures: config.top.pictures(), image, most };
    HostDatasets::new(Arc::clone(&config.registry), Arc::clone(&config.places), &config.folder, reading)
}

/// [`build`] on other data sets.
///
/// # Errors
/// As [`build`].
pub(super) fn build_on(config: &RunConfig, suite: &SuiteConfig, datasets: &dyn Datasets) -> Outcome<OpenSuite> {
    let transform = |table: &serde_json::Value| {
        let options = crate::data::named::<dyn CaptionTransform>(&config.registry, table, "a caption transform")?;
        options.build(&CaptionCx::new(&config.folder))
    };
    let read_text = |name: &str| {
        let path = config.folder.join(name);
        std::fs::read_to_string(&path).map_err(|error| Error::io(path, error))
    };
    match suite.chosen.config.build(&EvalCx { datasets, transform: &transform, read_text: &read_text }) {
        Ok(suite) => Ok(OpenSuite::Ready(suite)),
        Err(error) if error.is_absent() => Ok(OpenSuite::Absent(error.to_string())),
        Err(error) => Err(Failure::usage(error.within(format!("eval.{}", suite.key)).to_string())),
    }
}

/// Whether a suite can measure a model on its data, as far as that can be told without computing anything. A model that lacks a skill is passed
/// over later.
///
/// # Errors
/// Exit status 2 with what the suite refuses.
pub fn check(key: &str, suite: &OpenSuite, model: &EvalModel<'_>) -> Outcome {
    let OpenSuite::Ready(suite) = suite else { return Ok(()) };
    let skills = model.skills();
    if !suite.requires().missing(&skills).is_empty() {
        return Ok(());
    }
    suite.check(&skills).map_err(|error| Failure::usage(error.within(format!("eval.{key}")).to_string()))
}

/// Runs one suite on a model, and adds confidence intervals to what it found.
///
/// # Errors
/// Whatever the suite or its data refuses.
pub fn evaluate(key: &str, suite: &OpenSuite, model: &dyn Model) -> Outcome<Measured> {
    let suite = match suite {
        OpenSuite::Ready(suite) => suite,
        OpenSuite::Absent(why) => return Ok(Measured::Absent(why.clone())),
    };
    let missing = suite.requires().missing(&model.skills());
    if !missing.is_empty() {
        return Ok(Measured::Lacks(missing));
    }
    let mut report = Report::default();
    suite.run(model, &mut report).map_err(|error| error.within(format!("eval.{key}")))?;
    span(c"eval/intervals", || intervals::add(&mut report));
    Ok(Measured::Report(Box::new(report)))
}
