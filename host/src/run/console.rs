//! What a person sees while a run trains: a bar on a terminal, otherwise a line at intervals, in open_clip's form.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::log;

/// One step of training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepStats {
    /// Steps taken, this one included.
    pub step: u64,
    /// The epoch it belongs to, from 0.
    pub epoch: u64,
    /// The total loss.
    pub loss: f64,
    /// Losses of the objectives and their other numbers, such as `contrastive_loss` and `logit_scale`.
    pub metrics: Vec<(String, f64)>,
    /// The learning rate of this step.
    pub lr: f64,
    /// Samples of this step.
    pub samples: u64,
    /// Seconds that it waited for data.
    pub data_wait: f64,
    /// Seconds that it took, waiting included.
    pub step_time: f64,
}

impl StepStats {
    /// Samples in a second; 0 when the step took no time.
    pub fn rate(&self) -> f64 {
        if self.step_time > 0.0 { self.samples as f64 / self.step_time } else { 0.0 }
    }
}

/// Shows how far a run is.
#[derive(Debug)]
pub struct ProgressDisplay {
    total: u64,
    batch: u64,
    per_epoch: u64,
    every: u64,
    bar: Option<ProgressBar>,
    start: Option<(Instant, u64)>,
    since: Interval,
    means: Vec<(String, f64)>,
    counted: u64,
    epoch: u64,
}

/// Sums since the last line.
#[derive(Debug, Default)]
struct Interval {
    steps: u64,
    samples: u64,
    wait: f64,
    time: f64,
}

impl ProgressDisplay {
    /// For a run of `total_steps` steps of `batch` samples.
    pub fn new(total_steps: u64, batch: u64, steps_per_epoch: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style =
                ProgressStyle::with_template("{bar:32.cyan/dim} {pos}/{len} · {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total_steps).with_style(style)
        });
        log::set_bar(bar.clone());
        Self {
            total: total_steps,
            batch,
            per_epoch: steps_per_epoch.max(1),
            every: 100,
            bar,
            start: None,
            since: Interval::default(),
            means: Vec::new(),
            counted: 0,
            epoch: 0,
        }
    }

    /// Writes a line every `steps` steps, and at the ends of epochs.
    pub fn every(mut self, steps: u64) -> Self {
        self.every = steps.max(1);
        self
    }

    /// All steps of the run.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Shows a step that was taken.
    pub fn step(&mut self, stats: &StepStats) {
        // The first step of a process also warms up; the pace is measured from its end.
        let (start, first) = *self.start.get_or_insert_with(|| (Instant::now(), stats.step));
        let eta = match stats.step - first {
            0 => None,
            steps => Some(start.elapsed().div_f64(steps as f64).mul_f64(self.total.saturating_sub(stats.step) as f64)),
        };
        if stats.epoch != self.epoch {
            (self.epoch, self.counted) = (stats.epoch, 0);
            self.means.clear();
        }
        self.counted += 1;
        for (name, value) in losses(stats) {
            match self.means.iter_mut().find(|(known, _)| known == name) {
                Some((_, mean)) => *mean += (value - *mean) / self.counted as f64,
                None => self.means.push((name.to_owned(), value)),
            }
        }
        self.since.steps += 1;
        self.since.samples += stats.samples;
        self.since.wait += stats.data_wait;
        self.since.time += stats.step_time;
        if let Some(bar) = &self.bar {
            bar.set_position(stats.step);
            bar.set_message(format!(
                "epoch {} · loss {:.4} · lr {:.2e} · {:.0}/s · data {:.0} % · {} left",
                stats.epoch,
                stats.loss,
                stats.lr,
                stats.rate(),
                100.0 * share(self.since.wait, self.since.time),
                eta.map_or("?".into(), clock)
            ));
        }
        if stats.step.is_multiple_of(self.every) || stats.step.is_multiple_of(self.per_epoch) || stats.step == self.total || stats.step == 1
        {
            let line = self.line(stats, eta);
            tracing::info!(target: log::PROGRESS, "{line}");
            self.since = Interval::default();
        }
    }

    /// Removes the bar; lines are written to the bare console again.
    pub fn finish(&mut self) {
        log::set_bar(None);
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn line(&self, stats: &StepStats, eta: Option<Duration>) -> String {
        let steps = self.since.steps.max(1) as f64;
        let within = stats.step - stats.step.min(stats.epoch * self.per_epoch);
        let (seen, of) = (within * self.batch, self.per_epoch * self.batch);
        let width = of.to_string().len();
        let rate = if self.since.time > 0.0 { self.since.samples as f64 / self.since.time } else { 0.0 };
        let mut line = format!(
            "Train Epoch: {} [{seen:>width$}/{of} ({:.0}%)] Data (t): {:.3} Batch (t): {:.3}, {rate:.1}/s LR: {:.6}",
            stats.epoch,
            100.0 * share(within as f64, self.per_epoch as f64),
            self.since.wait / steps,
            self.since.time / steps,
            stats.lr,
        );
        for (name, value) in stats.metrics.iter().filter(|(name, _)| !is_loss(name)) {
            let title: Vec<_> = name.split('_').map(capital).collect();
            write!(line, " {}: {value:.3}", title.join(" ")).ok();
        }
        for (name, value) in losses(stats) {
            let mean = self.means.iter().find(|(known, _)| known == name).map_or(value, |(_, mean)| *mean);
            write!(line, " {}: {} ({})", capital(name), digits(value), digits(mean)).ok();
        }
        let wait = 100.0 * share(self.since.wait, self.since.time);
        write!(line, " ETA: {} Data wait: {wait:.0}%", eta.map_or("?".into(), clock)).ok();
        line
    }
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        if self.bar.is_some() {
            self.finish();
        }
    }
}

fn is_loss(name: &str) -> bool {
    name.ends_with("loss")
}

/// The losses of the objectives, then the total.
fn losses(stats: &StepStats) -> impl Iterator<Item = (&str, f64)> {
    let parts = stats.metrics.iter().filter(|(name, _)| is_loss(name) && name != "loss");
    parts.map(|(name, value)| (name.as_str(), *value)).chain([("loss", stats.loss)])
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Five significant digits.
pub(super) fn digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value:.4}");
    }
    let exponent = value.abs().log10().floor() as i32;
    match usize::try_from(4 - exponent) {
        Ok(places) if exponent >= -4 => format!("{value:.places$}"),
        _ => format!("{value:.4e}"),
    }
}

/// Hours, minutes and seconds.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(step: u64, loss: f64) -> StepStats {
        let metrics = vec![("logit_scale".into(), 14.2857), ("contrastive_loss".into(), loss - 0.1)];
        StepStats { step, epoch: (step - 1) / 10, loss, metrics, lr: 5e-4, samples: 64, data_wait: 0.012, step_time: 0.345 }
    }

    #[test]
    fn a_line_has_open_clips_form_and_means_over_the_epoch() {
        let mut progress = ProgressDisplay::new(100, 64, 10).every(1000);
        progress.step(&stats(11, 2.5));
        progress.step(&stats(12, 2.3));
        let line = progress.line(&stats(12, 2.3), Some(Duration::from_secs(3725)));
        assert_eq!(
            line,
            "Train Epoch: 1 [128/640 (20%)] Data (t): 0.012 Batch (t): 0.345, 185.5/s LR: 0.000500 Logit Scale: 14.286 \
             Contrastive_loss: 2.2000 (2.3000) Loss: 2.3000 (2.4000) ETA: 1:02:05 Data wait: 3%"
        );
        progress.step(&stats(21, 9.0));
        assert!(progress.line(&stats(21, 9.0), None).contains("Loss: 9.0000 (9.0000) ETA: ?"), "an epoch starts its means again");
    }

    #[test]
    fn numbers_have_five_digits() {
        for (value, text) in [
            (2.3, "2.3000"),
            (0.0, "0.0000"),
            (123.456789, "123.46"),
            (0.000123456, "0.00012346"),
            (1e-7, "1.0000e-7"),
            (1234567.0, "1.2346e6"),
            (-0.5, "-0.50000"),
        ] {
            assert_eq!(digits(value), text);
        }
        assert_eq!(digits(f64::NAN), "NaN");
    }
}
