//! Batches: in an order, and with random numbers, that depend on the seed, the epoch and the place in the epoch alone. Whatever the number of
//! threads, and wherever one starts, a step's batch is the same to the bit.

use std::collections::BTreeMap;
use std::sync::Arc;

use vlhub_core::{Bad, Batch, Error, Result, Source};

use super::batch::{self, PixelRows, TokenRows};
use super::decode::PictureOptions;
use super::order::SampleOrder;
use super::skipped::SkipLog;
use super::tokens::Tokenizer;
use super::views::{Row, RowMaker, RowPlace, Unused};

pub use super::stream::{LoadError, LoadedBatch, Stream};
pub use super::views::{ImageInput, ImageView, TextView, Views};

/// How batches are made.
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    /// Rows of a batch.
    pub batch: usize,
    /// Threads that read and decode.
    pub threads: usize,
    /// Memory, in bytes, that batches may take which are made ahead; one always is.
    pub ahead: u64,
    /// Leave pixels as bytes, `[B, 3, H, W]` uint8: a quarter of the memory, to be normalised where the model is.
    pub bytes: bool,
    /// Put batches into pinned memory, from which a GPU copies them beside what it computes.
    pub pinned: bool,
    /// Decides order and draws.
    pub seed: u64,
    /// What the image tower reads; needed for image views.
    pub image: Option<ImageInput>,
    /// Cut the token matrix to the longest text of the batch: for towers on whose output padding has no effect.
    pub truncate: bool,
    /// Share of samples that may be unusable, of those seen (and of the first thousand, before that many were seen).
    pub max_bad_fraction: f64,
    /// How many samples in a row may be unusable.
    pub max_bad_run: u64,
    /// In which order samples are read.
    pub order: ReadingOrder,
    /// Samples of an epoch; 0 takes as many as the source lists.
    pub epoch_samples: u64,
    /// How pictures are decoded.
    pub pictures: PictureOptions,
    /// How exactly they are decoded.
    pub decode: DecodeMode,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            batch: 32,
            threads: 2,
            ahead: 2 << 30,
            bytes: false,
            pinned: false,
            seed: 0,
            image: None,
            truncate: true,
            max_bad_fraction: 0.01,
            max_bad_run: 1000,
            order: ReadingOrder::Shuffled,
            epoch_samples: 0,
            pictures: PictureOptions::default(),
            decode: DecodeMode::Exact,
        }
    }
}

pub use super::decode::DecodeMode;
pub use super::order::ReadingOrder;

/// Makes batches of a source.
#[derive(Debug)]
pub struct Loader {
    shared: Arc<SharedLoader>,
    skipped: SkipLog,
}

/// What the threads of a loader share.
#[derive(Debug)]
pub(crate) struct SharedLoader {
    pub maker: RowMaker,
    pub config: LoaderConfig,
    pub steps_per_epoch: u64,
    order: SampleOrder,
    /// Pixels to what the image tower reads.
    pixels: Option<PixelRows>,
}

/// What became of a row: the samples that were tried in vain, and the row.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    pub unused: Vec<Unused>,
    pub row: Option<Row>,
}

impl Loader {
    /// Puts a source and views together. Problems that the source found when it was indexed go to `skipped`.
    ///
    /// # Errors
    /// An image view without an image input, a text view without a tokenizer, labels out of a source without any sample, or fewer samples than
    /// rows of a batch.
    pub fn new(
        source: Arc<dyn Source>,
        views: Views,
        tokenizer: Option<Arc<dyn Tokenizer>>,
        config: LoaderConfig,
        skipped: SkipLog,
    ) -> Result<Self> {
        if config.batch == 0 {
            return Err(Error::invalid("a batch of 0 rows"));
        }
        let order = SampleOrder::new(source.as_ref(), &config)?;
        if config.image.is_none() && !views.images.is_empty() {
            return Err(Error::invalid(format!("image view `{}` is read, but there is no image tower", views.images[0].name)));
        }
        if tokenizer.is_none() && !views.texts.is_empty() {
            return Err(Error::invalid(format!("text view `{}` is read, but there is no text tower", views.texts[0].name)));
        }
        skipped.indexed(source.problems());
        let pixels = config.image.map(PixelRows::new);
        let steps_per_epoch = order.epoch_samples() / config.batch as u64;
        let maker = RowMaker { source, views, tokenizer, image: config.image, pictures: config.pictures, decode: config.decode };
        Ok(Self { shared: Arc::new(SharedLoader { maker, config, steps_per_epoch, order, pixels }), skipped })
    }

    /// Whole batches in an epoch; what is left over at its end is other samples in every epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.shared.steps_per_epoch
    }

    /// How many samples the source lists.
    pub fn samples(&self) -> u64 {
        self.shared.maker.source.len() as u64
    }

    /// How many samples were not used so far, by reason.
    pub fn not_used(&self) -> BTreeMap<String, u64> {
        self.skipped.counts()
    }

    pub(crate) fn shared(&self) -> &SharedLoader {
        &self.shared
    }

    /// Batches from step `from_step` on, without end: the same as a stream from step 0 gives at that step.
    pub fn start(&self, from_step: u64) -> Stream {
        Stream::new(Arc::clone(&self.shared), self.skipped.clone(), from_step)
    }
}

impl SharedLoader {
    /// The epoch of a step, and the step's place in it.
    pub fn epoch(&self, step: u64) -> (u64, u64) {
        (step / self.steps_per_epoch, step % self.steps_per_epoch)
    }

    /// How many batches are made ahead: as many as keep the threads busy, as far as memory allows.
    pub fn ahead(&self) -> u64 {
        let LoaderConfig { batch, threads, ahead, bytes, .. } = self.config;
        let (height, width) = self.config.image.map_or((0, 0), |image| image.size);
        // A picture's bytes wait for the batch; then it is numbers, too.
        let image = self.maker.views.images.len() as u64 * 3 * u64::from(height) * u64::from(width) * if bytes { 2 } else { 5 };
        let text = self.maker.tokenizer.as_ref().map_or(0, |tokenizer| tokenizer.context() * self.maker.views.texts.len() * 16) as u64;
        let each = (batch as u64 * (image + text)).max(1);
        (ahead / each).clamp(1, 2 + threads.div_ceil(batch) as u64)
    }

    /// How many samples are tried for one row. Transforms may drop far more than may be bad.
    fn most_attempts(&self) -> u64 {
        self.config.max_bad_run.saturating_add(1).max(10_000)
    }

    /// Makes one row: a sample that cannot be used is replaced by another, which depends on the place and the attempt alone.
    pub fn fill(&self, step: u64, slot: usize, stopped: impl Fn() -> bool) -> Attempts {
        let config = &self.config;
        let (epoch, in_epoch) = self.epoch(step);
        let position = in_epoch * config.batch as u64 + slot as u64;
        let mut tried = Attempts::default();
        let mut bad_run = 0;
        for attempt in 0..self.most_attempts() {
            if stopped() {
                break;
            }
            let place = RowPlace { seed: config.seed, epoch, position, attempt };
            let index = self.order.at(epoch, position, attempt);
            match self.maker.row(index, place) {
                Ok(row) => {
                    tried.row = Some(row);
                    break;
                }
                Err(unused) => {
                    bad_run = if matches!(unused, Unused::Bad(_)) { bad_run + 1 } else { 0 };
                    tried.unused.push(unused);
                    if bad_run > config.max_bad_run {
                        break;
                    }
                }
            }
        }
        tried
    }

    /// Puts rows together. Every row is there.
    pub fn collate(&self, rows: &[Row]) -> Result<Batch> {
        let mut batch = Batch::new(rows.len() as i64);
        for (number, view) in self.maker.views.images.iter().enumerate() {
            let pixels = self.pixels.as_ref().ok_or_else(|| Error::invalid("image views without an image tower"))?;
            let images = rows.iter().map(|row| &row.images[number]);
            batch.set_image(&view.name, if self.config.bytes { pixels.bytes(images) } else { pixels.tensor(images) }?)?;
        }
        if let Some(tokenizer) = &self.maker.tokenizer {
            let tokens = TokenRows { context: tokenizer.context(), pad: tokenizer.pad(), truncate: self.config.truncate };
            for (number, view) in self.maker.views.texts.iter().enumerate() {
                let ids: Vec<&[i64]> = rows.iter().map(|row| row.ids[number].as_slice()).collect();
                batch.set_text(&view.name, tokens.tensor(&ids)?)?;
            }
        }
        if self.maker.views.labels {
            let labels: Vec<&[i64]> = rows.iter().map(|row| row.labels.as_slice()).collect();
            batch.set_extra(Batch::LABELS, batch::labels(&labels)?)?;
        }
        Ok(if self.config.pinned { batch::pinned(batch) } else { batch })
    }
}

/// Whether a run may go on, by what was seen since it started.
#[derive(Debug, Default)]
pub(crate) struct SampleBudget {
    seen: u64,
    bad: u64,
    run: u64,
    /// The first few, for the message.
    first: Vec<Bad>,
}

impl SampleBudget {
    /// Counts a sample that cannot be used, and says what is too much.
    pub fn bad(&mut self, bad: &Bad, config: &LoaderConfig) -> Option<LoadError> {
        self.seen += 1;
        self.bad += 1;
        self.run += 1;
        if self.first.len() < 5 {
            self.first.push(bad.clone());
        }
        // The first samples are too few for a share, so they are counted as if there were a thousand.
        let allowed = config.max_bad_fraction * self.seen.max(1000) as f64;
        (self.bad as f64 > allowed || self.run > config.max_bad_run).then(|| {
            let listed: String = self.first.iter().map(|bad| format!("\n  {bad}")).collect();
            LoadError::Budget(format!(
                "{} of {} samples could not be used, {} of them in a row; `max_bad_fraction` is {} and `max_bad_run` {}; the first were{listed}",
                self.bad, self.seen, self.run, config.max_bad_fraction, config.max_bad_run
            ))
        })
    }

    /// Counts a sample that can be used.
    pub fn good(&mut self) {
        self.seen += 1;
        self.run = 0;
    }
}

#[cfg(test)]
#[path = "loader_tests.rs"]
mod tests;
