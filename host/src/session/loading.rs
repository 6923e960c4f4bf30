//! What a run reads, as it trains with it, and for commands that look at data without a model.

use std::sync::Arc;

use vlhub_core::{Extent, Source, SourceCx};

use super::{Session, tokenizer, views, wants};
use crate::config::{Chosen, RunConfig};
use crate::data;
use crate::data::loader::{Loader, LoaderConfig, ReadingOrder};
use crate::data::skipped::SkipLog;
use crate::data::tokens::Tokenizer;
use crate::data::views::Views;
use crate::engine::readonly::ReadOnly;
use crate::engine::terms::Term;
use crate::engine::towers::Towers;
use crate::failure::{Failure, Outcome};

/// How a run makes its batches. `truncate`: whether its towers allow the token matrix to be cut to the longest text.
pub fn loader_config(config: &RunConfig, towers: &Towers, truncate: bool) -> LoaderConfig {
    let train = &config.train;
    LoaderConfig {
        batch: train.batch,
        threads: train.workers,
        ahead: train.prefetch_bytes(),
        bytes: false,
        pinned: false,
        seed: config.top.seed,
        image: towers.pictures,
        truncate: train.truncate && truncate,
        max_bad_fraction: train.max_bad_fraction,
        max_bad_run: train.max_bad_run,
        order: if train.resampled { ReadingOrder::Resampled } else { ReadingOrder::Shuffled },
        epoch_samples: train.samples,
        pictures: config.top.pictures(),
        decode: train.decode,
    }
}

/// Opens the data of a run, and makes the views of a sample that its objectives read. `data` is what [`named`] gives.
///
/// # Errors
/// Data that cannot be read, or whatever a plugin refuses.
pub fn open(
    config: &RunConfig,
    data: &Chosen<dyn Source>,
    towers: &Towers,
    tokenizer: Option<&dyn Tokenizer>,
    terms: &[Term],
) -> Outcome<(Arc<dyn Source>, Views)> {
    let objectives = wants::of_objectives(config, terms);
    let mut views = views(config, towers, tokenizer, objectives)?;
    let wants = wants::of_run(objectives, &views);
    let cx = SourceCx { folder: &config.folder, wants, extent: Extent::Whole, host: &config.opener() };
    let source = data::open(data.config.as_ref(), &cx).map_err(|error| Failure::usage(format!("data.train: {error}")))?;
    views.labels = objectives.label.is_read() && (views.classes().is_some() || source.labelled());
    Ok((source, views))
}

/// The `[data.train]` of a run that has objectives: without them nothing says what is read of a sample.
///
/// # Errors
/// What is missing.
pub fn named(config: &RunConfig) -> Outcome<&Chosen<dyn Source>> {
    let data = config
        .data
        .as_ref()
        .ok_or_else(|| Failure::usage("the run file has no `[data.train]`; add one, for example `[data.train]` with `use = \"shapes\"`"))?;
    if config.objectives.is_empty() {
        return Err(Failure::usage("the run file has no objective; add a table such as `[objective.clip]`"));
    }
    Ok(data)
}

/// The batches of a run whose model has no weights.
#[derive(Debug)]
pub struct TrainingData {
    /// Makes the batches that training gets.
    pub loader: Loader,
    /// Towers that know what they read, and cannot compute.
    pub towers: Towers,
    /// Turns texts into ids, when there is a text tower.
    pub tokenizer: Option<Arc<dyn Tokenizer>>,
}

/// Opens the data of a run without building its model: the batches are those of its training.
///
/// # Errors
/// As [`named`] and [`open`], and data too small for a batch.
pub fn training_data(config: &RunConfig) -> Outcome<TrainingData> {
    let data = named(config)?;
    let Session { towers, terms, .. } = super::on_paper(config)?;
    let tokenizer = tokenizer(config, &towers)?;
    let (source, views) = open(config, data, &towers, tokenizer.as_deref(), &terms)?;
    let options = loader_config(config, &towers, views::truncate(&towers, &ReadOnly::default()));
    let loader = Loader::new(source, views, tokenizer.clone(), options, SkipLog::none())
        .map_err(|error| Failure::usage(format!("data.train: {error}")))?;
    Ok(TrainingData { loader, towers, tokenizer })
}
