//! The training loop: batches in, steps, checkpoints and measurements out, until the end or a signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tch::Device;
use vlhub_core::{EvalCx, EvalSuite, Modality, Report};

use super::comm::Alone;
use super::ema::Ema;
use super::lora::Adapter;
use super::lsuv;
use super::optim::Optimizer;
use super::refuse;
use super::show;
use super::step::{self, Engine};
use crate::checkpoint::{Store, failpoint};
use crate::config::{RunConfig, SuiteConfig};
use crate::data::loader::{LoadError, Loader, LoaderConfig};
use crate::data::tokens::Tokenizer;
use crate::data::{self, dataset::HostDatasets, skipped::SkipLog};
use crate::failure::{Failure, Outcome};
use crate::model::EvalModel;
use crate::run::{Recorder, RunFolder, StepStats};
use crate::session::{self, Session};

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
    pub(super) config: &'a RunConfig,
    pub(super) engine: Engine,
    tokenizer: Option<Arc<dyn Tokenizer>>,
    pub(super) loader: Loader,
    /// In the order of `config.suites`, with their data open.
    suites: Vec<Box<dyn EvalSuite>>,
    /// Steps of the whole run.
    pub total: u64,
    pub(super) steps_per_epoch: u64,
    pub(super) device: Device,
    pub(super) fingerprint: String,
    pub(super) started_at: u64,
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
        let options = config.data.as_ref().ok_or_else(|| {
            Failure::usage("the run file has no `[data.train]`; add one, for example `[data.train]` with `use = \"shapes\"`")
        })?;
        if config.objectives.is_empty() {
            return Err(Failure::usage("the run file has no objective; add a table such as `[objective.clip]`"));
        }
        let device = session::device(&config.top.device)?;
        config.train.precision.check(device)?;
        if config.train.torch_threads > 0 {
            tch::set_num_threads(config.train.torch_threads);
        }
        vlhub_torch_ext::deterministic(true).map_err(vlhub_core::Error::from)?;
        let source = data::open(options, &config.folder).map_err(|error| Failure::usage(format!("data.train: {error}")))?;
        let fingerprint = source.fingerprint();
        let session::Trainable { session: Session { towers, terms, tokenizer, .. }, readonly, lora } =
            session::build_for_training(config, device)?;
        let train = &config.train;
        // A suite that cannot be built, or opened, must not be found out after the last step.
        let suites = config.suites.iter().map(|suite| build_suite(config, suite)).collect::<Outcome<_>>()?;
        refuse::within_budget(source.as_ref(), train.max_bad_fraction)?;
        let (views, image) = session::views(config, &towers, !source.classes().is_empty())?;
        refuse::views_are_made(&towers, &terms, &views, tokenizer.as_deref())?;
        let options = LoaderConfig {
            batch: train.batch,
            threads: train.workers,
            seed: config.top.seed,
            image,
            truncate: train.truncate && session::truncate(&towers, &readonly),
            max_bad_fraction: train.max_bad_fraction,
            max_bad_run: train.max_bad_run,
            shuffle: true,
        };
        let loader = Loader::new(source, views, tokenizer.clone(), options, skipped)
            .map_err(|error| Failure::usage(format!("data.train: {error}")))?;
        let steps_per_epoch = loader.steps_per_epoch();
        let total = if train.steps > 0 { train.steps } else { train.epochs * steps_per_epoch };
        let params = session::params(&towers, &lora);
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
            precision: train.precision,
            fitting: None,
            seed: config.top.seed,
        };
        Ok(Self { config, engine, tokenizer, loader, suites, total, steps_per_epoch, device, fingerprint, started_at: 0 })
    }

    /// Reads one batch and computes its gradients, to see that it can be done. Takes no step. Returns the memory that its tensors took, in bytes
    /// at once, and the time.
    ///
    /// # Errors
    /// As [`Training::run`].
    pub fn first_batch(&mut self) -> Outcome<(i64, Duration)> {
        let loaded = self.loader.start(0).next().map_err(load_failure)?;
        let batch = loaded.batch.to_device(self.device);
        let begin = Instant::now();
        let (ran, usage) = vlhub_torch_ext::metered(|| self.engine.gradients(batch, 0)).map_err(vlhub_core::Error::from)?;
        let (outcome, _) = ran?;
        if !outcome.is_finite() {
            return Err(Failure::new(Failure::NONFINITE, step::nonfinite(&outcome, 0, &loaded.keys).to_string()));
        }
        Ok((usage.peak, begin.elapsed()))
    }

    /// Steps of an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.steps_per_epoch
    }

    /// The step at which the run goes on.
    pub fn first_step(&self) -> u64 {
        self.started_at
    }

    /// Trains to the end, or until `stop` is set.
    ///
    /// # Errors
    /// Exit status 3 when too many samples are unusable, 5 when the loss is not finite.
    pub fn run(&mut self, out: &mut Output<'_>, stop: &AtomicBool) -> Outcome<Ending> {
        let train = &self.config.train;
        let mut stream = self.loader.start(self.started_at);
        let (mut done, mut saved, mut passed_over) = (self.started_at, self.started_at, 0);
        if done > 0 {
            // A process that died after its last checkpoint may have owed a measurement.
            let measured = out.folder.measured(done);
            self.measure(out, done, &measured)?;
        } else {
            self.begin()?;
        }
        while done < self.total {
            let begin = Instant::now();
            let loaded = stream.next().map_err(load_failure)?;
            if done == 0 && train.show_batch {
                tolerate(self.show(&loaded.batch, out));
            }
            let lr = self.config.schedule.lr(self.engine.optimizer.lr(), done, self.total);
            let batch = if self.device == Device::Cpu { loaded.batch } else { loaded.batch.to_device(self.device) };
            let outcome = self.engine.step(batch, done, lr, (done + 1) as f64 / self.total.max(1) as f64)?;
            if !outcome.is_finite() {
                passed_over += 1;
                let error = step::nonfinite(&outcome, done, &loaded.keys);
                if passed_over > train.skip_nonfinite {
                    return Err(Failure::new(Failure::NONFINITE, error.to_string()));
                }
                tracing::warn!("{error}");
            }
            done += 1;
            tolerate(out.recorder.step(&self.stats(done, &outcome, lr, loaded.wait, begin.elapsed())));

            let stopping = stop.load(Ordering::Relaxed) && done < self.total;
            let every = if train.save_every > 0 { train.save_every } else { self.steps_per_epoch.max(1) };
            if done.is_multiple_of(every) || done == self.total || stopping {
                match self.save(out.store, done) {
                    Ok(()) => saved = done,
                    // A full disk must not cost the run: what was saved stays, and the next interval tries again. The last one has no next.
                    Err(failure) if !stopping && done < self.total => {
                        tracing::warn!("the checkpoint of step {done} was not written ({failure}); the newest one is of step {saved}");
                    }
                    Err(failure) => return Err(failure),
                }
            }
            if stopping {
                return Ok(Ending::Stopped(done));
            }
            self.measure(out, done, &[])?;
            failpoint::at(&format!("step-{done}")).map_err(|error| Failure::new(Failure::RUN, error.to_string()))?;
        }
        Ok(Ending::Finished)
    }

    /// What the first batch decides: the start of towers with `lsuv`. Everything that copied the weights copies them again.
    fn begin(&mut self) -> Outcome {
        let config = self.config;
        let mut scaled = false;
        for (modality, tower) in [(Modality::Image, &config.image), (Modality::Text, &config.text)] {
            if tower.as_ref().is_none_or(|tower| !tower.training.lsuv) {
                continue;
            }
            let batch = self.loader.start(0).next().map_err(load_failure)?.batch.to_device(self.device);
            let layers = lsuv::initialise(&self.engine.towers, modality, &batch)?;
            tracing::info!("backbone.{modality}.lsuv: {layers} layers begin orthogonal, with unit variance on the first batch");
            scaled = true;
        }
        if scaled {
            self.engine.readonly.follow(&self.engine.towers, 0.0)?;
            self.engine.lora.iter().try_for_each(Adapter::rebase)?;
            self.engine.ema.iter_mut().try_for_each(Ema::restart)?;
        }
        Ok(())
    }

    /// Every parameter with its shape, whether it is trained, and the optimiser's rates: the page `parameters.tsv`.
    pub fn parameters(&self) -> String {
        let rates: std::collections::BTreeMap<&str, (f64, f64)> =
            self.engine.optimizer.rates().map(|(name, wd, factor)| (name, (wd, factor))).collect();
        let mut page = String::from("name\tshape\tnumber\ttrained\tlr_factor\tweight_decay\n");
        for (name, tensor) in self.engine.towers.variables() {
            let rate = rates.get(name.as_str());
            let (factor, wd) = rate.map_or((String::new(), String::new()), |(wd, factor)| (factor.to_string(), wd.to_string()));
            let trained = if rate.is_some() { "yes" } else { "no" };
            page += &format!("{name}\t{:?}\t{}\t{trained}\t{factor}\t{wd}\n", tensor.size(), tensor.numel());
        }
        page
    }

    /// The first batch as `train_batch0.png`, and in TensorBoard.
    fn show(&self, batch: &vlhub_core::Batch, out: &mut Output<'_>) -> vlhub_core::Result<()> {
        let path = out.folder.train_batch();
        if let Some(sheet) = show::batch(batch, &self.engine.towers, self.tokenizer.as_deref(), &path)? {
            let png = std::fs::read(&path).map_err(|error| vlhub_core::Error::io(&path, error))?;
            out.recorder.tensorboard().image("train_batch", 0, sheet.dimensions(), &png)?;
        }
        Ok(())
    }

    fn stats(&self, done: u64, outcome: &step::Outcome, lr: f64, wait: Duration, whole: Duration) -> StepStats {
        let mut metrics: Vec<(String, f64)> = outcome.numbers.losses.iter().map(|(key, loss)| (format!("{key}_loss"), *loss)).collect();
        metrics.extend(outcome.numbers.metrics.iter().cloned());
        metrics.push(("grad_norm".into(), outcome.grad_norm));
        StepStats {
            step: done,
            epoch: (done - 1) / self.steps_per_epoch.max(1),
            loss: outcome.loss,
            metrics,
            lr,
            samples: self.config.train.batch as u64,
            data_wait: wait.as_secs_f64(),
            step_time: whole.as_secs_f64(),
        }
    }

    /// Runs the suites that are due after `done` steps, but for those `measured` already.
    fn measure(&self, out: &mut Output<'_>, done: u64, measured: &[String]) -> Outcome {
        if !self.config.suites.iter().any(|suite| suite.every.is_due(done, self.total, self.steps_per_epoch)) {
            return Ok(());
        }
        match self.engine.ema.as_ref().filter(|ema| ema.measures()) {
            Some(ema) => ema.instead(|| self.measure_as_is(out, done, measured))?,
            None => self.measure_as_is(out, done, measured),
        }
    }

    fn measure_as_is(&self, out: &mut Output<'_>, done: u64, measured: &[String]) -> Outcome {
        let due = |suite: &SuiteConfig| suite.every.is_due(done, self.total, self.steps_per_epoch) && !measured.contains(&suite.key);
        for (suite, built) in self.config.suites.iter().zip(&self.suites).filter(|(suite, _)| due(suite)) {
            let model = EvalModel { towers: &self.engine.towers, terms: &self.engine.terms, tokenizer: self.tokenizer.clone() };
            match evaluate(&suite.key, built.as_ref(), &model) {
                Ok(Some(report)) => {
                    tolerate(out.recorder.eval(out.folder, &suite.key, done, done / self.steps_per_epoch.max(1), &report));
                    let shown: Vec<String> =
                        report.metrics.iter().take(6).map(|metric| format!("{} {:.4}", metric.name, metric.value)).collect();
                    tracing::info!("{} after step {done}: {}", suite.key, shown.join(", "));
                }
                Ok(None) => tracing::warn!("eval.{} is skipped: the model lacks what it needs", suite.key),
                // On the way a run goes on without the number; at the end there is nothing left to lose.
                Err(failure) if done < self.total => tracing::warn!("{failure}; the run goes on without this measurement"),
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
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

/// Runs one suite. `None` when the model lacks what the suite needs.
///
/// # Errors
/// Whatever the suite or its data refuses.
pub fn evaluate(key: &str, suite: &dyn EvalSuite, model: &EvalModel<'_>) -> Outcome<Option<Report>> {
    if !suite.requires().missing(&vlhub_core::Model::skills(model)).is_empty() {
        return Ok(None);
    }
    let mut report = Report::default();
    suite.run(model, &mut report).map_err(|error| error.within(format!("eval.{key}")))?;
    Ok(Some(report))
}

/// A full disk must not cost the run: what cannot be logged is said, and training goes on.
fn tolerate(written: vlhub_core::Result<()>) {
    if let Err(error) = written {
        tracing::warn!("{error}; the run goes on without it");
    }
}

fn load_failure(error: LoadError) -> Failure {
    match error {
        LoadError::Budget(message) => Failure::new(Failure::DATA, message),
        LoadError::Failed(error) => error.into(),
    }
}

/// Builds a suite and opens its data.
///
/// # Errors
/// Exit status 2 with what it refuses.
pub fn build_suite(config: &RunConfig, suite: &SuiteConfig) -> Outcome<Box<dyn EvalSuite>> {
    let datasets = HostDatasets::new(&config.folder, config.train.workers);
    let built = suite.chosen.config.build(&EvalCx { datasets: &datasets });
    built.map_err(|error| Failure::usage(error.within(format!("eval.{}", suite.key)).to_string()))
}
