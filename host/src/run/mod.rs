//! What a run writes: its folder, logs, numbers and pages.
//!
//! ```text
//! logs/NAME/out.log  params.txt  config.toml  about.json  metrics.jsonl  skipped.jsonl  report.html  train_batch0.png
//!           checkpoints/{step-…/, latest, results.jsonl}  and what suites found: `results`
//!           with `report_to`: tensorboard/events.out.tfevents.*  metrics.csv  evaluations.csv  wandb/offline-run-…/  loggers.json
//! ```

mod compare;
mod console;
mod environment;
mod folder;
mod heat;
mod history;
pub mod jsonl;
pub mod log;
pub mod loggers;
mod matrix;
mod page;
mod panel;
mod record;
mod report;
mod results;
mod robustness;
mod scatter;
mod statistics;
mod svg;
mod terminal;

pub use compare::{Comparison, compare, result_table};
pub use console::{ProgressDisplay, StepStats};
pub use folder::{ExistingRun, Measurement, RunFolder, default_name};
pub use record::Recorder;
pub use report::write_report;
pub use results::appended::append as append_results;
pub use results::folder::EvaluationFolder;
pub use terminal::picture;
