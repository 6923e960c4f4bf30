//! The training loop: batches in, steps, checkpoints and measurements out, until the end or a signal.

mod banner;
mod feed;
pub mod first_batch;
pub mod loss_speed;
pub mod memory;
mod out_of_memory;
mod preflight;
mod resume;
mod run;
mod save;
mod saver;
pub mod speed;
pub mod start;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tch::Device;

use crate::checkpoint::Store;
use crate::config::RunConfig;
use crate::data::loader::Loader;
use crate::data::skipped::SkipLog;
use crate::data::tokens::Tokenizer;
use crate::engine::Engine;
use crate::engine::comm::Alone;
use crate::engine::ema::Ema;
use crate::engine::optim::Optimizer;
use crate::engine::step;
use crate::engine::step_memory::StepMemory;
use crate::evaluation::suites::OpenSuite;
use crate::evaluation::{class_names, suites};
use crate::failure::{Failure, Outcome};
use crate::run::{Recorder, RunFolder};
use crate::session::{self, Session, parameters};
use start::StartStage;

/// Where a run begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// At the beginning; an existing run of the name is an error.
    No,
    /// At the newest valid checkpoint, which must be there.
    Latest,
    /// At the newest valid checkpoint if there is one.
    Auto,
    /// At this checkpoint folder.
    At(std::path::PathBuf),
}

/// A run that is built and placed, before its first step.
pub struct Training<'a> {
    config: &'a RunConfig,
    engine: Engine,
    tokenizer: Option<Arc<dyn Tokenizer>>,
    loader: Loader,
    /// In the order of `config.suites`, with their data open.
    suites: Vec<OpenSuite>,
    /// Steps of the whole run.
    pub total: u64,
    steps_per_epoch: u64,
    device: Device,
    fingerprint: String,
    /// What the classes of supervised heads are called.
    class_names: Vec<String>,
    started_at: u64,
}

/// How a run ended.
#[derive(Debug)]
pub enum Ending {
    /// Every step was taken.
    Finished,
    /// A signal stopped it after a committed checkpoint, at this step.
    Stopped(u64),
}

impl<'a> Training<'a> {
    /// Opens the data and builds everything. Nothing is written.
    ///
    /// # Errors
    /// A missing table, unreadable data, or whatever a plugin refuses.
    pub fn prepare(config: &'a RunConfig, skipped: SkipLog) -> Outcome<Self> {
        Self::prepare_in_stages(config, skipped, &mut |_| ())
    }

    /// [`Training::prepare`], and tells of each stage when it is reached.
    fn prepare_in_stages(config: &'a RunConfig, skipped: SkipLog, reached: &mut dyn FnMut(StartStage)) -> Outcome<Self> {
        let data = session::loading::named(config)?;
        let device = crate::device::device(&config.top.device)?;
        config.train.precision.check(device)?;
        config.train.precision.take()?;
        if config.train.torch_threads > 0 {
            tch::set_num_threads(config.train.torch_threads);
        }
        vlhub_torch_ext::keep_memory();
        vlhub_torch_ext::deterministic(true).map_err(vlhub_core::Error::from)?;
        let session::Trainable { session: Session { towers, terms, tokenizer, .. }, readonly, lora } =
            session::build_for_training(config, device)?;
        reached(StartStage::Model);
        let train = &config.train;
        let (source, views) = session::loading::open(config, data, &towers, tokenizer.as_deref(), &terms)?;
        reached(StartStage::Data);
        let fingerprint = source.fingerprint();
        // A suite that cannot be built, or opened, must not be found out after the last step.
        let suites: Vec<OpenSuite> =
            config.suites.iter().map(|suite| suites::build(config, suite, towers.pictures)).collect::<Outcome<_>>()?;
        let class_names = class_names::of_run(&config.top.class_names, views.classes().unwrap_or(source.classes()), &terms)?;
        preflight::within_budget(source.as_ref(), train.max_bad_fraction)?;
        preflight::views_are_made(&towers, &terms, &views, tokenizer.as_deref())?;
        let mut options = session::loading::loader_config(config, &towers, session::truncate(&towers, &readonly));
        // A quarter of the bytes goes to the device, which normalises faster than the CPU does.
        options.bytes = device != Device::Cpu;
        options.pinned = device.is_cuda();
        let loader = Loader::new(source, views, tokenizer.clone(), options, skipped)
            .map_err(|error| Failure::usage(format!("data.train: {error}")))?;
        let steps_per_epoch = loader.steps_per_epoch();
        let total = if train.steps > 0 { train.steps } else { train.epochs * steps_per_epoch };
        let params = parameters::trained(&towers, &lora);
        if let [group, ..] = config.optimizer.idle(&params)[..] {
            let pattern = config.optimizer.groups.get(group).map(|group| group.pattern.clone()).unwrap_or_default();
            return Err(Failure::usage(format!("optimizer.groups.{group}.match: no parameter that is trained is called `{pattern}`")));
        }
        let optimizer = Optimizer::new(config.optimizer.clone(), params);
        let ema = Ema::new(&config.ema, &towers);
        let engine = Engine {
            towers,
            readonly,
            terms,
            optimizer,
            comm: Box::new(Alone),
            ema,
            lora,
            cache: train.grad_cache.clone(),
            memory: train.memory_bytes(),
            precision: train.precision,
            scaler: train.precision.scaler(),
            graphs_that_fit: None,
            seed: config.top.seed,
        };
        let this =
            Self { config, engine, tokenizer, loader, suites, total, steps_per_epoch, device, fingerprint, class_names, started_at: 0 };
        for (suite, built) in config.suites.iter().zip(&this.suites) {
            if let OpenSuite::Absent(why) = built {
                tracing::warn!("eval.{} is absent: {why}", suite.key);
            }
            suites::check(&suite.key, built, &this.eval_model())?;
        }
        reached(StartStage::Ready);
        Ok(this)
    }

    /// Reads one batch and computes its gradients, to see that it can be done, and lets `tell` say beforehand what memory that takes. Takes no step.
    /// Returns the memory that its tensors took, in bytes at once, and the time.
    ///
    /// # Errors
    /// As [`Training::run`].
    pub fn first_batch(&mut self, tell: impl FnOnce(&StepMemory)) -> Outcome<(i64, Duration)> {
        let loaded = self.loader.start(0).next().map_err(|error| self.load_failure(error))?;
        let batch = self.on_device(loaded.batch).map_err(|error| self.step_failure(error))?;
        let told = out_of_memory::caught(|| self.engine.step_memory(batch.slice(0..batch.rows()), 0));
        tell(&told.map_err(|error| self.step_failure(error))?);
        // libtorch warns of what is freed within the measurement and was there before.
        let _held = batch.slice(0..batch.rows());
        let begin = Instant::now();
        let gradients = || out_of_memory::caught(|| self.engine.gradients(batch, 0));
        let (ran, usage) = vlhub_torch_ext::metered(gradients).map_err(vlhub_core::Error::from)?;
        let (outcome, _) = ran.map_err(|error| self.step_failure(error))?;
        if !outcome.is_finite() && !outcome.overflowed() {
            return Err(Failure::new(Failure::NONFINITE, step::nonfinite(&outcome, 0, &loaded.keys).to_string()));
        }
        Ok((usage.peak, begin.elapsed()))
    }

    /// The complete options with what the data told: the names of the classes that are trained.
    pub fn resolved(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut resolved = self.config.resolved.clone();
        resolved.insert(class_names::KEY.into(), self.class_names.clone().into());
        resolved
    }

    /// Steps of an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.steps_per_epoch
    }

    /// The step at which the run goes on.
    pub fn first_step(&self) -> u64 {
        self.started_at
    }
}

/// Where a run writes.
pub struct Output<'a> {
    /// Its folder.
    pub folder: &'a RunFolder,
    /// Steps and measurements.
    pub recorder: &'a mut Recorder,
    /// Checkpoints.
    pub store: &'a Store,
}
