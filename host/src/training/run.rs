//! The loop: batches in, steps, checkpoints and measurements out, until the end or a signal.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tch::{Device, Kind};
use vlhub_core::{Batch, Modality, Model};

use super::feed::Feed;
use super::saver::Saver;
use super::{Ending, Output, Training, first_batch, out_of_memory};
use crate::checkpoint::failpoint;
use crate::config::SuiteConfig;
use crate::data::batch::PixelRows;
use crate::engine::ema::Ema;
use crate::engine::lora::Adapter;
use crate::engine::{lsuv, step};
use crate::evaluation::suites::{self, Measured};
use crate::evaluation::{EmbeddingTap, EncodeOnce, EvalModel};
use crate::failure::{Failure, Outcome};
use crate::formats::WeightSet;
use crate::run::loggers::FIRST_BATCH;
use crate::run::{Measurement, StepStats};

impl Training<'_> {
    /// Trains to the end, or until `stop` is set.
    ///
    /// # Errors
    /// Exit status 3 when too many samples are unusable, 5 when the loss is not finite.
    pub fn run(&mut self, out: &mut Output<'_>, stop: &AtomicBool) -> Outcome<Ending> {
        let store = out.store;
        // What is being written when a run ends with an error is complete before the process ends.
        std::thread::scope(|scope| {
            let mut saver = Saver::new(scope, store, self.config.train.async_save, self.started_at);
            self.steps(out, stop, &mut saver)
        })
    }

    fn steps(&mut self, out: &mut Output<'_>, stop: &AtomicBool, saver: &mut Saver<'_, '_>) -> Outcome<Ending> {
        let train = &self.config.train;
        let mut feed = Feed::new(self.loader.start(self.started_at), self.device)?;
        let (mut done, mut passed_over) = (self.started_at, 0);
        if done > 0 {
            // A process that died after its last checkpoint may have owed a measurement.
            let measured = out.folder.measured(done);
            self.measure(out, done, &measured)?;
        } else {
            self.begin()?;
        }
        let mut not_used = self.loader.not_used();
        while done < self.total {
            let begin = Instant::now();
            let loaded = feed.batch().map_err(|error| self.load_failure(error))?;
            if done == 0 && train.show_batch {
                tolerate(self.show(&loaded.batch, out));
            }
            let lr = self.config.schedule.lr(self.engine.optimizer.lr(), done, self.total);
            let (outcome, gpu_peak) = self.take_step(loaded.batch, done, lr)?;
            if let (Some(scale), true) = (outcome.loss_scale, outcome.overflowed()) {
                tracing::info!(
                    "step {done}: gradients overflow float16 at a loss scale of {scale}; no step was taken, and the scale halves"
                );
            } else if !outcome.is_finite() {
                passed_over += 1;
                let error = step::nonfinite(&outcome, done, &loaded.keys);
                if passed_over > train.skip_nonfinite {
                    return Err(Failure::new(Failure::NONFINITE, error.to_string()));
                }
                tracing::warn!("{error}");
            }
            done += 1;
            let mut stats = self.stats(done, &outcome, lr, loaded.wait, begin.elapsed());
            stats.metrics.extend(gpu_peak.map(|bytes| ("gpu_memory_gib".to_owned(), bytes as f64 / f64::from(1 << 30))));
            tolerate(out.recorder.step(&stats));
            if done.is_multiple_of(self.steps_per_epoch.max(1)) {
                let counts = self.loader.not_used();
                if let Some(summary) = epoch_summary(loaded.epoch, &not_used, &counts) {
                    tracing::warn!("{summary}");
                }
                not_used = counts;
            }

            let stopping = stop.load(Ordering::Relaxed) && done < self.total;
            let every = if train.save_every > 0 { train.save_every } else { self.steps_per_epoch.max(1) };
            if stopping || done == self.total {
                saver.save_last(&self.state(done))?;
            } else if done.is_multiple_of(every) {
                saver.save(self.state(done));
            }
            if stopping {
                return Ok(Ending::Stopped(done));
            }
            self.measure(out, done, &[])?;
            failpoint::at(&format!("step-{done}")).map_err(|error| Failure::new(Failure::RUN, error.to_string()))?;
        }
        Ok(Ending::Finished)
    }

    /// Takes step `at` on a batch of the loader. Tells also the most bytes that were allocated on a GPU meanwhile.
    pub(super) fn take_step(&mut self, batch: Batch, at: u64, lr: f64) -> Outcome<(step::StepOutcome, Option<i64>)> {
        let progress = (at + 1) as f64 / self.total.max(1) as f64;
        let (taken, gpu_peak) = vlhub_torch_ext::gpu_peak(self.device, || {
            out_of_memory::caught(|| {
                let batch = self.on_device(batch)?;
                self.engine.step(batch, at, lr, progress)
            })
        });
        Ok((taken.map_err(|error| self.step_failure(error))?, gpu_peak))
    }

    /// A batch of the loader where the model is, normalised.
    pub(super) fn on_device(&self, batch: Batch) -> vlhub_core::Result<Batch> {
        if self.device == Device::Cpu {
            // The loader has normalised it.
            return Ok(batch);
        }
        let mut batch = batch.map(|tensor| Ok(tensor.f_to_device(self.device)?))?;
        if let Some(input) = self.engine.towers.pictures {
            let pixels = PixelRows::new(input);
            let views: Vec<String> = batch.views().0.into_iter().map(str::to_owned).collect();
            for view in views {
                // Those that are floating-point numbers were normalised before.
                let images = batch.image(&view)?;
                if images.kind() == Kind::Uint8 {
                    let images = pixels.normalise(images)?;
                    batch.set_image(view, images)?;
                }
            }
        }
        Ok(batch)
    }

    /// What the first batch decides: the start of towers with `lsuv`. Everything that copied the weights copies them again.
    pub(super) fn begin(&mut self) -> Outcome {
        let config = self.config;
        let mut scaled = false;
        for (modality, tower) in [(Modality::Image, &config.image), (Modality::Text, &config.text)] {
            if tower.as_ref().is_none_or(|tower| !tower.training.lsuv) {
                continue;
            }
            let batch = self.on_device(self.loader.start(0).next().map_err(|error| self.load_failure(error))?.batch)?;
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

    /// The first batch as `train_batch0.png`, and for the loggers.
    fn show(&self, batch: &Batch, out: &mut Output<'_>) -> vlhub_core::Result<()> {
        let path = out.folder.train_batch();
        if let Some(sheet) = first_batch::write(batch, &self.engine.towers, self.tokenizer.as_deref(), &path)? {
            let png = std::fs::read(&path).map_err(|error| vlhub_core::Error::io(&path, error))?;
            out.recorder.image(FIRST_BATCH, 0, sheet.dimensions(), png);
        }
        Ok(())
    }

    fn stats(&self, done: u64, outcome: &step::StepOutcome, lr: f64, wait: Duration, whole: Duration) -> StepStats {
        let mut metrics: Vec<(String, f64)> = outcome.numbers.losses.iter().map(|(key, loss)| (format!("{key}_loss"), *loss)).collect();
        metrics.extend(outcome.numbers.metrics.iter().cloned());
        metrics.push(("grad_norm".into(), outcome.grad_norm));
        metrics.extend(outcome.loss_scale.map(|scale| ("loss_scale".to_owned(), scale)));
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
            Some(ema) => ema.instead(|| self.measure_as_is(out, done, measured, WeightSet::Average))?,
            None => self.measure_as_is(out, done, measured, WeightSet::Raw),
        }
    }

    /// The model as it stands.
    pub(super) fn eval_model(&self) -> EvalModel<'_> {
        // No classifier is kept: its weights change with every step.
        EvalModel::new(&self.engine.towers, &self.engine.terms, self.tokenizer.clone(), &self.class_names)
    }

    /// Measures the weights that the towers have now, which are those of `set`.
    fn measure_as_is(&self, out: &mut Output<'_>, done: u64, measured: &[String], set: WeightSet) -> Outcome {
        let due = |suite: &SuiteConfig| suite.every.is_due(done, self.total, self.steps_per_epoch) && !measured.contains(&suite.key);
        let model = self.eval_model();
        let model = EncodeOnce::new(&model);
        let all_due = self.config.suites.iter().zip(&self.suites).filter(|(suite, _)| due(suite));
        measure_all(all_due, done == self.total, |(suite, built)| {
            // Embeddings are shown of the model that training ends with.
            let tap = EmbeddingTap::new(&model);
            let seen: &dyn Model = if done == self.total && out.recorder.takes_embeddings() { &tap } else { &model };
            match suites::evaluate(&suite.key, built, seen)? {
                Measured::Report(report) => {
                    let place = Measurement { step: done, epoch: done / self.steps_per_epoch.max(1), weights: set };
                    tolerate(out.recorder.eval(out.folder, &suite.key, place, &report));
                    let sample = tap.sample(&report);
                    if !sample.is_empty() {
                        out.recorder.embeddings(&suite.key, done, sample);
                    }
                    let shown: Vec<String> =
                        report.metrics.iter().take(6).map(|metric| format!("{} {:.4}", metric.name, metric.value)).collect();
                    let average = if set == WeightSet::Average { " (moving average)" } else { "" };
                    tracing::info!("{} after step {done}{average}: {}", suite.key, shown.join(", "));
                    if let Some(first) = report.skipped.first() {
                        tracing::warn!("eval.{}: {} samples not used, such as {first}", suite.key, report.skipped.len());
                    }
                }
                none => tracing::warn!("eval.{} is {}", suite.key, none.why_not().unwrap_or_default()),
            }
            Ok(())
        })
    }
}

/// Calls `measure` for each of `suites`, whatever fails. On the way a run goes on without the number that failed.
///
/// # Errors
/// At the end of a run the first failure, after all suites: what one cannot measure must not cost the numbers of those behind it.
fn measure_all<S>(suites: impl IntoIterator<Item = S>, at_end: bool, mut measure: impl FnMut(S) -> Outcome) -> Outcome {
    let mut first = None;
    for suite in suites {
        match measure(suite) {
            Ok(()) => {}
            Err(failure) if !at_end => tracing::warn!("{failure}; the run goes on without this measurement"),
            // The command ends with one failure alone, so the others are told here.
            Err(failure) if first.is_some() => tracing::warn!("{failure}"),
            Err(failure) => first = Some(failure),
        }
    }
    first.map_or(Ok(()), Err)
}

/// A full disk must not cost the run: what cannot be logged is said, and training goes on.
fn tolerate(written: vlhub_core::Result<()>) {
    if let Err(error) = written {
        tracing::warn!("{error}; the run goes on without it");
    }
}

/// What of an epoch was not used, by reason; `None` where everything was.
fn epoch_summary(epoch: u64, before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Option<String> {
    let new = after.iter().map(|(reason, count)| (reason, count - before.get(reason).copied().unwrap_or_default()));
    let new: Vec<(&String, u64)> = new.filter(|(_, count)| *count > 0).collect();
    let total: u64 = new.iter().map(|(_, count)| count).sum();
    let reasons: Vec<String> = new.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    (total > 0).then(|| format!("epoch {epoch}: {total} samples not used: {}", reasons.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_that_fails_at_the_end_costs_no_other_suite_its_measurement() {
        for (at_end, fails_with) in [(true, Some("b fails")), (false, None)] {
            let mut measured = Vec::new();
            let outcome = measure_all(["a", "b", "c", "d"], at_end, |suite| {
                measured.push(suite);
                if "bd".contains(suite) { Err(Failure::new(Failure::RUN, format!("{suite} fails"))) } else { Ok(()) }
            });
            assert_eq!(outcome.err().map(|failure| failure.message).as_deref(), fails_with, "at the end: {at_end}");
            assert_eq!(measured, ["a", "b", "c", "d"], "at the end: {at_end}");
        }
    }

    #[test]
    fn an_epoch_tells_what_it_did_not_use_and_is_silent_otherwise() {
        let counts = |all: &[(&str, u64)]| all.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect::<BTreeMap<_, _>>();
        let before = counts(&[("no caption", 3), ("truncated image", 2)]);
        let after = counts(&[("dropped by choose", 1), ("no caption", 3), ("truncated image", 7)]);
        assert_eq!(
            epoch_summary(4, &before, &after).as_deref(),
            Some("epoch 4: 6 samples not used: 1 dropped by choose, 5 truncated image")
        );
        assert_eq!(epoch_summary(5, &after, &after), None);
    }
}
