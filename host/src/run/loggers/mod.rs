//! Where a run's numbers go besides its JSON lines: CSV, TensorBoard, Weights & Biases, MLflow.
//!
//! The [`Recorder`](super::Recorder) hands each [`LogRecord`] to every `RunLogger` that `report_to` names. A logger never costs a run: what it
//! cannot write is told once and counted, and the run goes on. None of them keeps a step waiting: what talks to a server does so on a thread of
//! its own (`background.rs`). After a resume, no logger holds a step twice.

mod background;
mod csv;
mod mlflow;
mod past;
mod protobuf;
mod record_file;
mod redact;
mod state;
mod tensorboard;
mod wandb;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use vlhub_core::{Metric, Result};

use super::folder::Measurement;
use crate::config::RunConfig;
use crate::config::log::LoggerName;
use crate::evaluation::EmbeddingSample;
use crate::failure::Outcome;

/// Tag of the picture of the first batch.
pub const FIRST_BATCH: &str = "train_batch";

/// Something that a run records.
#[derive(Clone, Debug)]
pub enum LogRecord {
    /// Numbers of one training step.
    Step {
        /// Steps taken, this one included.
        step: u64,
        /// The epoch it belongs to, from 0.
        epoch: u64,
        /// Names, such as `loss` and `lr`, and numbers.
        values: Vec<(String, f64)>,
    },
    /// What an evaluation suite found.
    Evaluation {
        /// The suite's key in the run file.
        suite: String,
        /// The weights that were measured.
        place: Measurement,
        /// The numbers.
        metrics: Vec<Metric>,
    },
    /// A picture.
    Image {
        /// Its name, such as [`FIRST_BATCH`].
        tag: &'static str,
        /// Steps that were taken.
        step: u64,
        /// Width and height in pixels.
        size: (u32, u32),
        /// The bytes of a PNG.
        png: Arc<Vec<u8>>,
    },
    /// Embeddings of some pictures and texts of a suite.
    Embeddings {
        /// The suite's key in the run file.
        suite: String,
        /// Steps that were taken.
        step: u64,
        /// The embeddings.
        sample: Arc<EmbeddingSample>,
    },
}

impl LogRecord {
    /// The step that it belongs to.
    pub fn step(&self) -> u64 {
        match self {
            Self::Step { step, .. } | Self::Image { step, .. } | Self::Embeddings { step, .. } => *step,
            Self::Evaluation { place, .. } => place.step,
        }
    }

    /// Its numbers under the names that open_clip gives them: `train/NAME`, and `val/SUITE-METRIC` (`val/METRIC` for a metric whose name already
    /// starts with the suite's).
    pub fn scalars(&self) -> Vec<(String, f64)> {
        match self {
            Self::Step { values, .. } => values.iter().map(|(name, value)| (format!("train/{name}"), *value)).collect(),
            Self::Evaluation { suite, metrics, .. } => {
                let tag = |name: &str| if name.starts_with(suite) { format!("val/{name}") } else { format!("val/{suite}-{name}") };
                metrics.iter().map(|metric| (tag(&metric.name), metric.value)).collect()
            }
            Self::Image { .. } | Self::Embeddings { .. } => Vec::new(),
        }
    }
}

/// How a run ended, for loggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnding {
    /// Every step was taken.
    Finished,
    /// A signal stopped it, and it may be resumed.
    Stopped,
    /// An error ended it.
    Failed,
}

/// What a logger may know of the run when it starts.
#[derive(Debug)]
pub struct RunAbout<'a> {
    /// The run's name.
    pub name: &'a str,
    /// The run's folder.
    pub folder: &'a Path,
    /// Every option, by table.
    pub options: &'a Map<String, Value>,
    /// The same as the text of `config.toml`.
    pub toml: &'a str,
    /// The committed step after which the run goes on; `None` when it starts.
    pub resumed: Option<u64>,
    /// What the run recorded up to that step, in order.
    pub past: Vec<LogRecord>,
}

impl<'a> RunAbout<'a> {
    /// Reads the past of the run from its JSON lines.
    ///
    /// # Errors
    /// The file and why it cannot be read.
    pub fn new(name: &'a str, folder: &'a Path, options: &'a Map<String, Value>, toml: &'a str, resumed: Option<u64>) -> Result<Self> {
        Ok(Self { name, folder, options, toml, resumed, past: past::records(folder)? })
    }
}

/// Somewhere that records go.
pub(super) trait RunLogger: Debug {
    /// Its name in `report_to`.
    fn name(&self) -> &'static str;
    /// Takes a record; it may pass over what it has no place for.
    ///
    /// # Errors
    /// Why the record is lost. The next ones are handed over all the same.
    fn write(&mut self, record: &LogRecord) -> Result<()>;
    /// Whether it has a place for [`LogRecord::Embeddings`].
    fn takes_embeddings(&self) -> bool {
        false
    }
    /// The run has ended: what was held back is written. Returns how many records the logger itself lost, and where to look at them.
    ///
    /// # Errors
    /// What could not be written.
    fn finish(&mut self, ending: RunEnding) -> Result<LoggerEnd>;
}

/// What a logger says at the end of a run.
#[derive(Debug, Default)]
pub(super) struct LoggerEnd {
    /// Records that were handed over and did not arrive.
    pub lost: u64,
    /// What to do with what was written, such as a command.
    pub advice: Option<String>,
}

/// The loggers of a run.
#[derive(Debug, Default)]
pub struct Loggers {
    all: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    logger: Box<dyn RunLogger>,
    lost: u64,
}

impl Loggers {
    /// Refuses what can be refused before anything is written: a logger that lacks the address of its server.
    ///
    /// # Errors
    /// Exit status 2: what is missing, and where to say it.
    pub fn check(config: &RunConfig) -> Outcome {
        let mlflow = config.top.loggers().contains(&LoggerName::Mlflow);
        if mlflow { mlflow::MlflowSettings::of_environment(&config.mlflow).map(|_| ()) } else { Ok(()) }
    }

    /// Starts the loggers of a run. One that cannot be started is told, and left out.
    pub fn open(config: &RunConfig, about: &RunAbout<'_>) -> Self {
        let mut all = Vec::new();
        for name in config.top.loggers() {
            let opened: Result<Option<Box<dyn RunLogger>>> = match name {
                LoggerName::TensorBoard => tensorboard::TensorBoardLogger::open(about).map(|logger| Some(Box::new(logger) as _)),
                LoggerName::Csv => csv::CsvLogger::open(about).map(|logger| Some(Box::new(logger) as _)),
                LoggerName::Wandb => {
                    wandb::WandbLogger::open(about, &config.wandb).map(|logger| logger.map(|logger| Box::new(logger) as _))
                }
                LoggerName::Mlflow => mlflow::open(about, &config.mlflow).map(|logger| Some(Box::new(logger) as _)),
            };
            match opened {
                Ok(logger) => all.extend(logger.map(|logger| Slot { logger, lost: 0 })),
                Err(error) => {
                    let name = LoggerName::ALL.iter().find(|(_, known)| *known == name).map_or("", |(name, _)| name);
                    tracing::warn!("{name}: {error}; the run goes on without this logger");
                }
            }
        }
        Self { all }
    }

    /// Whether a logger has a place for [`LogRecord::Embeddings`].
    pub fn take_embeddings(&self) -> bool {
        self.all.iter().any(|slot| slot.logger.takes_embeddings())
    }

    /// Hands a record to every logger.
    pub fn write(&mut self, record: &LogRecord) {
        for Slot { logger, lost } in &mut self.all {
            if let Err(error) = logger.write(record) {
                if *lost == 0 {
                    tracing::warn!("{}: {error}; the run goes on, and what is lost is counted", logger.name());
                }
                *lost += 1;
            }
        }
    }

    /// Ends every logger, and tells what each of them lost.
    pub fn finish(&mut self, ending: RunEnding) {
        for Slot { logger, lost } in std::mem::take(&mut self.all).iter_mut() {
            let end = logger.finish(ending).unwrap_or_else(|error| {
                tracing::warn!("{}: {error}", logger.name());
                LoggerEnd { lost: 1, advice: None }
            });
            match *lost + end.lost {
                0 => {}
                count => {
                    tracing::warn!("{}: {count} records were lost; `metrics.jsonl` and `results.jsonl` have everything", logger.name())
                }
            }
            if let Some(advice) = end.advice {
                tracing::info!("{}: {advice}", logger.name());
            }
        }
    }
}

/// Seconds since 1970.
fn seconds() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A name for a run that no other run has: eight small letters and digits, as W&B makes them.
fn random_id() -> String {
    use sha2::{Digest, Sha256};
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    // The nonce differs between processes and calls, and the hasher's keys are the system's random numbers.
    let random = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0);
    let digest = Sha256::digest(format!("{} {} {random}", crate::checkpoint::host(), crate::files::nonce()));
    digest.iter().take(8).map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::WeightSet;

    #[test]
    fn numbers_are_called_as_open_clip_calls_them() {
        let metrics = ["top1", "retrieval_R@1"].map(|name| Metric { name: name.into(), value: 0.5, chance: None, interval: None }).to_vec();
        let place = Measurement { step: 3, epoch: 1, weights: WeightSet::Raw };
        let record = LogRecord::Evaluation { suite: "retrieval".into(), place, metrics };
        assert_eq!(record.scalars(), [("val/retrieval-top1".to_owned(), 0.5), ("val/retrieval_R@1".to_owned(), 0.5)]);
        let record = LogRecord::Step { step: 2, epoch: 0, values: vec![("loss".into(), 1.0)] };
        assert_eq!((record.scalars(), record.step()), (vec![("train/loss".to_owned(), 1.0)], 2));
    }

    #[test]
    fn names_of_runs_differ() {
        let (one, other) = (random_id(), random_id());
        assert!(one != other && one.len() == 8 && one.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{one}");
    }
}
