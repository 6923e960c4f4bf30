//! What a run does until its first step is taken, stage by stage, in processes of their own.

use std::ffi::OsString;
use std::process::{Command, Output, Stdio};

use serde::{Deserialize, Serialize};

use super::Training;
use crate::config::RunConfig;
use crate::data::skipped::SkipLog;
use crate::device::in_words;
use crate::failure::{Failure, Outcome};
use crate::measuring::{clock, median, resident, wait_for};

/// The command that [`measure`] runs in each process, before its arguments.
pub const CHILD: &str = "internal-start";

/// How far a run has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartStage {
    /// The program runs, with libtorch.
    Loaded,
    /// The run file is read and checked.
    Checked,
    /// The model is built and has its weights.
    Model,
    /// The training data are open.
    Data,
    /// Suites, loader and optimiser are made: nothing keeps the run from starting.
    Ready,
    /// The first batch is there.
    FirstBatch,
    /// The first step is taken.
    FirstStep,
}

impl StartStage {
    /// What was done last, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Loaded => "program and libtorch",
            Self::Checked => "run file checked",
            Self::Model => "model built",
            Self::Data => "data opened",
            Self::Ready => "suites, optimiser",
            Self::FirstBatch => "first batch",
            Self::FirstStep => "first step",
        }
    }
}

/// When a stage was reached.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct StartMark {
    /// The stage.
    pub stage: StartStage,
    /// The [`clock`] then.
    pub at: f64,
    /// Bytes in memory then.
    pub resident: Option<u64>,
}

impl StartMark {
    /// A stage that is reached now.
    pub fn now(stage: StartStage) -> Self {
        Self { stage, at: clock(), resident: resident() }
    }
}

/// What one process tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StartReport {
    /// Device, threads, library of products.
    pub device: String,
    /// Rows of a batch.
    pub batch: usize,
    /// The stages, in the order in which they were reached.
    pub marks: Vec<StartMark>,
}

/// Starts a run and takes its first step, after the stages that `marks` has. Nothing is written.
///
/// # Errors
/// As [`Training::prepare`] and [`Training::run`].
pub fn first_step(config: &RunConfig, mut marks: Vec<StartMark>) -> Outcome<StartReport> {
    let mut training = Training::prepare_in_stages(config, SkipLog::none(), &mut |stage| marks.push(StartMark::now(stage)))?;
    let mut stream = training.loader.start(0);
    training.begin()?;
    let loaded = stream.next().map_err(|error| training.load_failure(error))?;
    let batch = training.on_device(loaded.batch)?;
    marks.push(StartMark::now(StartStage::FirstBatch));
    training.unrecorded_step(batch, &loaded.keys, 0)?;
    wait_for(training.device);
    marks.push(StartMark::now(StartStage::FirstStep));
    Ok(StartReport { device: in_words(training.device), batch: config.train.batch, marks })
}

/// A stage of several starts.
#[derive(Clone, Debug, Serialize)]
pub struct StagePoint {
    /// The stage.
    pub stage: StartStage,
    /// Seconds since the process was asked for: median.
    pub seconds: f64,
    /// The fastest.
    pub fastest: f64,
    /// The slowest.
    pub slowest: f64,
    /// Bytes in memory: median. `None` where the system does not tell.
    pub resident: Option<u64>,
}

/// How fast a run starts.
#[derive(Clone, Debug, Serialize)]
pub struct StartSpeed {
    /// Device, threads, library of products.
    pub device: String,
    /// Rows of a batch.
    pub batch: usize,
    /// Processes that were started, one after the other.
    pub repeat: u32,
    /// The stages, in the order in which they are reached.
    pub stages: Vec<StagePoint>,
}

/// Starts this program `repeat` times with [`CHILD`] and these arguments, which print a [`StartReport`].
///
/// # Errors
/// No start; a process that cannot be started, or what it says when it fails, with its exit status.
pub fn measure(arguments: &[OsString], repeat: u32) -> Outcome<StartSpeed> {
    if repeat < 1 {
        return Err(Failure::usage("--repeat 0: there is nothing to measure"));
    }
    let program =
        std::env::current_exe().map_err(|error| Failure::new(Failure::RUN, format!("cannot find this program again: {error}")))?;
    let mut reports = Vec::new();
    for _ in 0..repeat {
        let begin = clock();
        let child = Command::new(&program).arg(CHILD).args(arguments).stdin(Stdio::null()).output();
        let output = child.map_err(|error| Failure::new(Failure::RUN, format!("cannot start {}: {error}", program.display())))?;
        reports.push((begin, report_of(&output)?));
    }
    Ok(summary(&reports))
}

/// What a process told.
fn report_of(output: &Output) -> Outcome<StartReport> {
    if output.status.success() {
        let unread =
            |error: serde_json::Error| Failure::new(Failure::RUN, format!("what the process told of its start cannot be read: {error}"));
        return serde_json::from_slice(&output.stdout).map_err(unread);
    }
    let said = format!("\n{}", String::from_utf8_lossy(&output.stderr));
    let code = output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(Failure::RUN);
    // The log stands before it, and a message may have several lines.
    let message = match said.split_once("\nerror: ") {
        Some((_, message)) => message.trim_end().to_owned(),
        None => format!("the process that was started ended early ({}): {}", output.status, said.trim()),
    };
    Err(Failure::new(code, message))
}

/// Medians of reports, each with the clock when its process was asked for.
fn summary(reports: &[(f64, StartReport)]) -> StartSpeed {
    let first = reports.first().map(|(_, report)| report);
    let stages = first.map_or(&[][..], |report| report.marks.as_slice()).iter().enumerate().map(|(at, mark)| {
        let marks: Vec<(f64, StartMark)> = reports.iter().filter_map(|(begin, report)| Some((*begin, *report.marks.get(at)?))).collect();
        let seconds: Vec<f64> = marks.iter().map(|(begin, mark)| mark.at - begin).collect();
        let bytes: Vec<f64> = marks.iter().filter_map(|(_, mark)| mark.resident).map(|bytes| bytes as f64).collect();
        StagePoint {
            stage: mark.stage,
            fastest: seconds.iter().copied().fold(f64::INFINITY, f64::min),
            slowest: seconds.iter().copied().fold(0.0, f64::max),
            seconds: median(seconds).unwrap_or_default(),
            resident: median(bytes).map(|bytes| bytes as u64),
        }
    });
    StartSpeed {
        device: first.map(|report| report.device.clone()).unwrap_or_default(),
        batch: first.map_or(0, |report| report.batch),
        repeat: reports.len() as u32,
        stages: stages.collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn stages_are_medians_since_the_process_was_asked_for() {
        let report = |begin: f64, took: f64, resident: Option<u64>| {
            let mark = |stage, at| StartMark { stage, at, resident };
            let marks = vec![mark(StartStage::Loaded, begin + took), mark(StartStage::Checked, begin + 2.0 * took)];
            (begin, StartReport { device: "Cpu".into(), batch: 8, marks })
        };
        let speed = summary(&[report(100.0, 0.5, Some(3)), report(200.0, 0.25, Some(1)), report(300.0, 4.0, None)]);
        assert_eq!((speed.device.as_str(), speed.batch, speed.repeat), ("Cpu", 8, 3));
        let shown: Vec<_> = speed.stages.iter().map(|at| (at.stage, at.seconds, at.fastest, at.slowest, at.resident)).collect();
        assert_eq!(
            shown,
            [(StartStage::Loaded, 0.5, 0.25, 4.0, Some(3)), (StartStage::Checked, 1.0, 0.5, 8.0, Some(3))],
            "where a process did not tell its memory, the median is of the others"
        );
        assert!(summary(&[]).stages.is_empty());
    }

    #[test]
    fn a_process_that_fails_says_why_with_its_own_status() {
        let output = |status: i32, out: &str, err: &str| Output {
            status: ExitStatus::from_raw(status),
            stdout: out.as_bytes().to_vec(),
            stderr: err.as_bytes().to_vec(),
        };
        let told = r#"{"device":"Cpu","batch":2,"marks":[{"stage":"first_step","at":1.5,"resident":null}]}"#;
        let report = report_of(&output(0, told, "a warning")).expect("it is whole");
        assert_eq!((report.batch, report.marks[0].stage, report.marks[0].resident), (2, StartStage::FirstStep, None));
        assert_eq!(report_of(&output(0, "{}", "")).expect_err("nothing").code, Failure::RUN);
        let refused =
            report_of(&output(3 << 8, "", "2026-11-30 | WARNING | slow\nerror: data.train: 3 bad\n  a\n")).expect_err("exit status 3");
        assert_eq!((refused.code, refused.message.as_str()), (Failure::DATA, "data.train: 3 bad\n  a"));
        let killed = report_of(&output(9, "", "")).expect_err("a signal");
        assert!(killed.code == Failure::RUN && killed.message.contains("signal"), "{}", killed.message);
    }
}
