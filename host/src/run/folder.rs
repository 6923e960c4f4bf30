//! The folder of a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use vlhub_core::{Error, Report, Result};

use super::{environment, jsonl, results};
use crate::checkpoint::{RunLock, Store};
use crate::failure::{Failure, Outcome};
use crate::formats::WeightSet;

/// What was measured: the weights after so many steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Measurement {
    /// Steps that were taken.
    pub step: u64,
    /// Epochs that were completed.
    pub epoch: u64,
    /// Whether they are the moving average.
    pub weights: WeightSet,
}

/// Whether a run may go on in a folder that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExistingRun {
    /// The run is new; a folder of that name is an error.
    #[default]
    Never,
    /// It goes on if it was started, and starts otherwise.
    Auto,
    /// It goes on; no folder of that name is an error.
    Required,
}

/// The folder of a run, locked against other processes while this lives.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    existed: bool,
    _lock: RunLock,
}

impl RunFolder {
    /// Makes or reopens `logs/NAME`, locks it, and sends the log to its `out.log`.
    ///
    /// # Errors
    /// The experiment exists and `resume` is [`ExistingRun::Never`]; it does not exist and `resume` is [`ExistingRun::Required`]; another process uses
    /// it; the name is not a plain folder name.
    pub fn create(logs: &Path, name: &str, resume: ExistingRun) -> Outcome<Self> {
        let (path, existed) = Self::check(logs, name, resume)?;
        std::fs::create_dir_all(path.join("checkpoints")).map_err(|error| {
            Failure::usage(format!(
                "cannot make the run's folder `{}`: {error}; set `logs` to a folder that can be written",
                path.display()
            ))
        })?;
        let lock = RunLock::acquire(&path)?;
        super::log::to_file(&path.join("out.log"))?;
        Ok(Self { path, existed, _lock: lock })
    }

    /// The path of `logs/NAME`, and whether there is a run; without writing anything.
    ///
    /// # Errors
    /// As [`RunFolder::create`], but for the lock.
    pub fn check(logs: &Path, name: &str, resume: ExistingRun) -> Outcome<(PathBuf, bool)> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return Err(Failure::usage(format!("`name`: `{name}` cannot be the name of a folder; use letters, digits, `-` and `_`")));
        }
        let path = logs.join(name);
        // A start that failed before the first step leaves a log, and no run.
        let existed = path.join("metrics.jsonl").exists();
        match resume {
            ExistingRun::Never if existed => {
                return Err(Failure::usage(format!(
                    "experiment already exists: `{}`; choose another `name`, or continue it with `--resume latest`",
                    path.display()
                )));
            }
            ExistingRun::Required if !existed => {
                return Err(Failure::new(
                    Failure::RESUME,
                    format!("nothing to resume: `{}` holds no run; check `logs` and `name`, or use `--resume auto`", path.display()),
                ));
            }
            _ => {}
        }
        Ok((path, existed))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Whether it was there before.
    pub fn existed(&self) -> bool {
        self.existed
    }
    /// `metrics.jsonl`: one line per recorded step.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }
    /// `checkpoints/results.jsonl`: one line per evaluation.
    pub fn results(&self) -> PathBuf {
        self.path.join("checkpoints/results.jsonl")
    }
    /// `skipped.jsonl`: one line per sample that could not be used, with its `reason`.
    pub fn skipped(&self) -> PathBuf {
        self.path.join("skipped.jsonl")
    }
    /// `train_batch0.png`: the first batch as the model sees it.
    pub fn train_batch(&self) -> PathBuf {
        self.path.join("train_batch0.png")
    }
    /// The checkpoints in `checkpoints/`.
    ///
    /// # Errors
    /// The folder and why it cannot be made.
    pub fn checkpoints(&self) -> Result<Store> {
        Store::open(self.path.join("checkpoints"))
    }

    /// Writes `config.toml`, the resolved configuration.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn write_config(&self, toml: &str) -> Result<()> {
        jsonl::replace(&self.path.join("config.toml"), toml.as_bytes())
    }

    /// Writes `params.txt`, as open_clip does: `name: value`, sorted.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn write_params(&self, params: &BTreeMap<String, String>) -> Result<()> {
        let mut text = String::new();
        for (name, value) in params {
            writeln!(text, "{name}: {}", value.replace('\n', " ")).ok();
        }
        jsonl::replace(&self.path.join("params.txt"), text.as_bytes())
    }

    /// Writes `parameters.tsv`: every parameter, whether it is trained, and its rates.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn write_parameters(&self, page: &str) -> Result<()> {
        jsonl::replace(&self.path.join("parameters.tsv"), page.as_bytes())
    }

    /// Writes `about.json`: facts for the tables of the report, such as model, data, parameters and device, in the order given, and those of the
    /// machine.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn write_about(&self, facts: &[(String, String)]) -> Result<()> {
        let path = self.path.join("about.json");
        let all: Vec<_> = facts.iter().cloned().chain(environment::machine()).collect();
        let bytes = serde_json::to_vec_pretty(&all).map_err(|error| Error::io(&path, error.into()))?;
        jsonl::replace(&path, &bytes)
    }

    /// Writes what a suite found, and adds its line to `results.jsonl`: see [`results`].
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn write_eval(&self, name: &str, place: Measurement, report: &Report) -> Result<()> {
        results::write(&self.path, &self.results(), name, place, report)
    }

    /// Suites that have a line for a step in `results.jsonl`.
    pub fn measured(&self, step: u64) -> Vec<String> {
        let text = std::fs::read_to_string(self.results()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.filter(|line| line["step"] == step).filter_map(|line| line["name"].as_str().map(str::to_owned)).collect()
    }

    /// Forgets what was recorded of steps after the committed one. `skipped.jsonl` belongs to the loader, which keeps it open.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn truncate(&self, step: u64) -> Result<()> {
        [self.metrics(), self.results()].iter().try_for_each(|path| jsonl::truncate(path, step))
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        super::log::close_file();
    }
}

/// A name that is safe as a file name.
pub(super) fn plain(name: &str) -> String {
    let safe: String = name.chars().map(|letter| if letter.is_alphanumeric() || "-_.".contains(letter) { letter } else { '-' }).collect();
    safe.trim_start_matches('.').to_owned()
}

/// The name of a run that got none, as open_clip makes it: `2026_11_24-13_45_10-model_M-lr_L-b_B-j_J-p_P`.
pub fn default_name(model: &str, lr: f64, batch: usize, workers: usize, precision: &str) -> String {
    let time = jiff::Zoned::now().strftime("%Y_%m_%d-%H_%M_%S");
    format!("{time}-model_{}-lr_{lr}-b_{batch}-j_{workers}-p_{precision}", plain(model))
}

#[cfg(test)]
mod tests {
    use vlhub_core::Matrix;

    use super::*;
    use crate::run::{ProgressDisplay, Recorder, StepStats};

    fn step(step: u64) -> StepStats {
        let metrics = vec![("logit_scale".into(), 14.3)];
        StepStats { step, epoch: 0, loss: 3.0 / step as f64, metrics, lr: 1e-3, samples: 8, data_wait: 0.1, step_time: 0.5 }
    }

    #[test]
    fn a_folder_is_made_once_and_reopened_only_on_request() {
        let _alone = crate::run::log::ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let logs = tempfile::tempdir().expect("a directory");
        let missing = RunFolder::create(logs.path(), "a", ExistingRun::Required).expect_err("there is none");
        assert_eq!(missing.code, Failure::RESUME);
        let run = RunFolder::create(logs.path(), "a", ExistingRun::Auto).expect("it can be made");
        assert!(!run.existed());
        let held = RunFolder::create(logs.path(), "a", ExistingRun::Auto).expect_err("it is locked");
        assert!(held.message.contains("in use by process"), "{held}");
        drop(run);
        let again = RunFolder::create(logs.path(), "a", ExistingRun::Never).expect("a start that failed is no run");
        std::fs::write(again.metrics(), "{}\n").expect("written");
        drop(again);
        let exists = RunFolder::create(logs.path(), "a", ExistingRun::Never).expect_err("it exists");
        assert!(
            exists.code == Failure::USAGE && exists.message.contains("already exists") && exists.message.contains("--resume latest"),
            "{exists}"
        );
        assert!(RunFolder::create(logs.path(), "a", ExistingRun::Required).expect("it is there").existed());
        for name in ["", "..", "a/b", ".hidden"] {
            assert_eq!(RunFolder::create(logs.path(), name, ExistingRun::Never).expect_err(name).code, Failure::USAGE, "{name}");
        }
    }

    #[test]
    fn names_follow_open_clip() {
        let name = default_name("ViT-B/32", 5e-4, 64, 2, "fp32");
        let (time, rest) = name.split_once("-model_").expect("two parts");
        assert_eq!(rest, "ViT-B-32-lr_0.0005-b_64-j_2-p_fp32");
        assert!(jiff::civil::DateTime::strptime("%Y_%m_%d-%H_%M_%S", time).is_ok(), "{time}");
    }

    #[test]
    fn a_resumed_run_has_every_step_once() {
        let _alone = crate::run::log::ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let logs = tempfile::tempdir().expect("a directory");
        let run = RunFolder::create(logs.path(), "a", ExistingRun::Never).expect("it can be made");
        let mut recorder = Recorder::open(&run, ProgressDisplay::new(6, 8, 3), None).expect("it can be made");
        let report = Report { confusion: Some(Matrix { classes: vec!["a, b".into()], counts: vec![vec![3]] }), ..Report::default() };
        for number in 1..=5 {
            recorder.step(&step(number)).expect("it can be written");
        }
        recorder.eval(&run, "zero/shot", Measurement { step: 5, epoch: 1, weights: WeightSet::Raw }, &report).expect("it can be written");
        assert!(run.path().join("confusion_matrix/zero-shot.csv").exists());
        // Step 3 was the last one committed.
        let mut recorder = Recorder::open(&run, ProgressDisplay::new(6, 8, 3), Some(3)).expect("it can be made");
        assert!(jsonl::read(&run.results()).expect("it is there").0.is_empty(), "an evaluation of a lost step is forgotten");
        for number in 4..=6 {
            recorder.step(&step(number)).expect("it can be written");
        }
        let (lines, _) = jsonl::read(&run.metrics()).expect("it is there");
        let steps: Vec<_> = lines.iter().map(|line| line["step"].as_u64().expect("a number")).collect();
        assert_eq!(steps, [1, 2, 3, 4, 5, 6]);
        assert_eq!((lines[3]["samples_per_second"].as_f64(), lines[3]["metrics"]["logit_scale"].as_f64()), (Some(16.0), Some(14.3)));
    }
}
