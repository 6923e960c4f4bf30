//! How fast suites measure a model, and where their time goes.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use image::RgbImage;
use serde::Serialize;
use serde_json::Value;
use vlhub_core::{Dataset, Datasets, Error, Model, Result, Wants};

use super::eval_model::EncodedCounts;
use super::suites::{self, Measured};
use super::{EncodeOnce, EvalModel};
use crate::config::{RunConfig, SuiteConfig};
use crate::data::dataset::HostDatasets;
use crate::device::in_words;
use crate::failure::{Failure, Outcome};
use crate::measuring::{ProductWork, TimeShare, calls_per_second, limit, operations, parts, repeated, wait_for};

/// How long the decoder is measured alone, for each suite.
const DECODING: Duration = Duration::from_secs(1);

/// Parts in which pictures are encoded.
const OF_IMAGES: [&str; 2] = ["preparing pictures", "forward image"];

/// Parts in which texts are encoded, and classifiers are made of them.
const OF_TEXTS: [&str; 3] = ["tokenising", "forward text", "means of classes"];

/// How much of an evaluation is measured.
#[derive(Clone, Copy, Debug)]
pub struct EvalTrial {
    /// Samples of each data set, evenly spread; 0 takes all.
    pub samples: usize,
    /// Pictures that are encoded together where encoding is measured alone.
    pub batch: usize,
    /// How often that is done.
    pub repeat: u32,
}

/// Speed of the evaluation of a model. Times in seconds.
#[derive(Clone, Debug, Serialize)]
pub struct EvalSpeed {
    /// Device, threads, library of products.
    pub device: String,
    /// Threads that read and decode.
    pub threads: usize,
    /// Encoding pictures, alone. `None` where no suite has any, or the model reads none.
    pub embedding: Option<EmbedSpeed>,
    /// The suites, each by itself: what one has encoded is encoded again for the next.
    pub suites: Vec<SuiteSpeed>,
    /// What a product of square matrices reaches in the same minute ([`limit`]), in 10⁹ operations a second.
    pub limit: f64,
}

/// Speed of encoding pictures that are decoded already: they are resized, normalised and go through the image tower.
#[derive(Clone, Debug, Serialize)]
pub struct EmbedSpeed {
    /// Pictures that are encoded together.
    pub batch: usize,
    /// Median.
    pub seconds: f64,
    /// Pictures a second.
    pub images_per_second: f64,
    /// Bytes of the tensors that it makes, at most at once.
    pub peak: i64,
    /// Of a pass under the profiler, products of matrices and convolutions, attention's not among them.
    pub products: f64,
    /// Operations of those products, in 10⁹.
    pub gflop: f64,
    /// The time that they would take at the limit, as a share of `seconds`.
    pub of_limit: f64,
}

/// Speed of a suite, under the profiler.
#[derive(Clone, Debug, Serialize)]
pub struct SuiteSpeed {
    /// Its key.
    pub name: String,
    /// The plugin.
    pub plugin: String,
    /// Why it measured nothing, if it did not.
    pub why_not: Option<String>,
    /// Until its data were open.
    pub opening: f64,
    /// Reading and decoding alone, by all threads, in pictures a second: without other work, nothing is faster.
    pub decoded_per_second: Option<f64>,
    /// The whole suite, with its data open.
    pub seconds: f64,
    /// Samples that were measured.
    pub samples: u64,
    /// Pictures that were encoded: equal ones once.
    pub images: u64,
    /// In the time of preparing and encoding them.
    pub images_per_second: Option<f64>,
    /// Texts that were encoded, such as prompts of classes.
    pub texts: u64,
    /// In the time of tokenising and encoding them, and of making a classifier of them.
    pub texts_per_second: Option<f64>,
    /// Token ids of the texts, from start to end.
    pub tokens_given: u64,
    /// Tokens that went through the text tower for them: equal texts and common beginnings once, and what padding was left.
    pub tokens_computed: u64,
    /// Intervals, and what is none of the parts: scores and metrics.
    pub metrics: f64,
    /// Its parts, on the thread that measures; what is left of it are scores and metrics. On a GPU, what the thread waits for.
    pub parts: Vec<TimeShare>,
    /// Its operations, each without those within it, the longest first.
    pub operations: Vec<TimeShare>,
    /// Of it, products of matrices and convolutions, attention's not among them.
    pub products: f64,
    /// Operations of those products, in 10⁹.
    pub gflop: f64,
}

/// Data sets that are kept when a suite has opened them.
struct KeptDatasets {
    inner: HostDatasets,
    opened: RefCell<Vec<Arc<dyn Dataset>>>,
}

impl KeptDatasets {
    fn keep(&self, opened: Arc<dyn Dataset>) -> Arc<dyn Dataset> {
        self.opened.borrow_mut().push(Arc::clone(&opened));
        opened
    }
}

impl Datasets for KeptDatasets {
    fn open(&self, options: &Value) -> Result<Arc<dyn Dataset>> {
        Ok(self.keep(self.inner.open(options)?))
    }

    fn open_for(&self, options: &Value, wants: Wants) -> Result<Arc<dyn Dataset>> {
        Ok(self.keep(self.inner.open_for(options, wants)?))
    }
}

/// Measures each of `wanted`, suites of `config`, on a model that keeps no classifiers. Nothing is written.
///
/// # Errors
/// As [`suites::build`], [`suites::check`] and [`suites::evaluate`].
pub fn measure(config: &RunConfig, wanted: &[&SuiteConfig], model: &EvalModel<'_>, trial: &EvalTrial) -> Outcome<EvalSpeed> {
    let device = model.towers.vars.device();
    let (limit, threads) = (limit(device), config.train.workers.max(1));
    let mut speed = EvalSpeed { device: in_words(device), threads, embedding: None, suites: Vec::new(), limit };
    for suite in wanted {
        let inner = suites::datasets(config, model.towers.pictures, trial.samples);
        let datasets = KeptDatasets { inner, opened: RefCell::default() };
        let begin = Instant::now();
        let built = suites::build_on(config, suite, &datasets).map_err(|failure| of_part(failure, trial.samples))?;
        let opening = begin.elapsed().as_secs_f64();
        suites::check(&suite.key, &built, model)?;
        let opened = datasets.opened.into_inner();
        let decoded_per_second = decoded_per_second(&opened, threads);
        if speed.embedding.is_none() && model.towers.pictures.is_some() {
            speed.embedding = embedding(model, &opened, trial, limit)?;
        }
        let once = EncodeOnce::new(model);
        model.take_counts();
        let run = || {
            let begin = Instant::now();
            let measured = suites::evaluate(&suite.key, &built, &once);
            wait_for(device);
            (measured, begin.elapsed().as_secs_f64())
        };
        let ((measured, seconds), spans) = vlhub_torch_ext::profiled(None, run).map_err(Error::from)?;
        let measured = measured.map_err(|failure| of_part(failure, trial.samples))?;
        let EncodedCounts { images, texts, tokens, computed } = model.take_counts();
        let (parts, products) = (parts(&spans, "eval/"), ProductWork::of(&spans));
        let of = |names: &[&str]| parts.iter().filter(|part| names.contains(&part.name.as_str())).map(|part| part.seconds).sum::<f64>();
        let rate = |count: u64, seconds: f64| (count > 0 && seconds > 0.0).then(|| count as f64 / seconds);
        let named = parts.iter().map(|part| part.seconds).sum::<f64>();
        speed.suites.push(SuiteSpeed {
            name: suite.key.clone(),
            plugin: suite.chosen.plugin.clone(),
            why_not: measured.why_not(),
            opening,
            decoded_per_second,
            seconds,
            samples: if let Measured::Report(report) = &measured { report.samples } else { 0 },
            images,
            images_per_second: rate(images, of(&OF_IMAGES)),
            texts,
            texts_per_second: rate(texts, of(&OF_TEXTS)),
            tokens_given: tokens,
            tokens_computed: computed,
            metrics: (seconds - named).max(0.0) + of(&["intervals"]),
            operations: operations(&spans),
            products: products.seconds,
            gflop: products.gflop,
            parts,
        });
    }
    Ok(speed)
}

/// A suite may miss samples that were left out.
fn of_part(failure: Failure, samples: usize) -> Failure {
    if samples == 0 {
        return failure;
    }
    let message = format!("{}; at most {samples} samples of each data set are taken, and `--samples 0` takes all", failure.message);
    Failure::new(failure.code, message)
}

/// Pictures that all threads together read and decode in a second; `None` where there are none.
fn decoded_per_second(opened: &[Arc<dyn Dataset>], threads: usize) -> Option<f64> {
    let sets: Vec<&Arc<dyn Dataset>> = opened.iter().filter(|set| !set.is_empty()).collect();
    if sets.is_empty() {
        return None;
    }
    let decode = |number: usize| {
        let set = sets[number % sets.len()];
        set.sample((number / sets.len()) % set.len()).is_ok()
    };
    Some(calls_per_second(threads, DECODING, &decode)).filter(|rate| *rate > 0.0)
}

/// Encodes the first pictures that can be read; `None` where there are none.
fn embedding(model: &EvalModel<'_>, opened: &[Arc<dyn Dataset>], trial: &EvalTrial, limit: f64) -> Outcome<Option<EmbedSpeed>> {
    let samples = opened.iter().flat_map(|set| (0..set.len()).filter_map(move |at| set.sample(at).ok()));
    let images: Vec<RgbImage> = samples.take(trial.batch).map(|sample| sample.image).collect();
    if images.is_empty() {
        return Ok(None);
    }
    let pass = || -> Outcome {
        model.images(&images, false)?;
        wait_for(model.towers.vars.device());
        Ok(())
    };
    let speed = repeated(trial.repeat, pass)?;
    let (profiled, spans) = vlhub_torch_ext::profiled(None, pass).map_err(Error::from)?;
    profiled?;
    let products = ProductWork::of(&spans);
    Ok(Some(EmbedSpeed {
        batch: images.len(),
        seconds: speed.seconds,
        images_per_second: images.len() as f64 / speed.seconds,
        peak: speed.peak,
        products: products.seconds,
        gflop: products.gflop,
        of_limit: products.gflop / limit / speed.seconds,
    }))
}
