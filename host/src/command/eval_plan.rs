//! What `vlhub eval` measures: suites of a run, or published data sets; and the files that their results go to.

use std::path::PathBuf;

use serde_json::{Map, Value};
use vlhub_core::Report;

use crate::cli::EvalArgs;
use crate::config::{RunConfig, SuiteConfig};
use crate::evaluation::benchmark::{self, BenchmarkFolder};
use crate::evaluation::datacomp::{self, DatacompResults, DatacompTask, TaskData};
use crate::evaluation::result_files::{self, ResultHead};
use crate::failure::Outcome;

/// One thing to measure.
pub(super) struct Planned {
    /// Its name: of a suite, or of a data set.
    pub key: String,
    /// The suite; else why there is none.
    pub suite: Result<SuiteConfig, String>,
    /// The folder of a published data set.
    folder: Option<PathBuf>,
    /// The task of DataComp.
    task: Option<DatacompTask>,
}

/// All of it, and what was found so far.
pub(super) struct EvalPlan {
    pub all: Vec<Planned>,
    tasks: Vec<DatacompTask>,
    results: DatacompResults,
}

impl EvalPlan {
    /// The suites of `config`, which leave it, or what the flags name instead.
    ///
    /// # Errors
    /// Exit status 2: folders that are no data sets, a list of tasks that cannot be read, or a build without a suite.
    pub fn new(args: &EvalArgs, config: &mut RunConfig) -> Outcome<Self> {
        let asked = &args.benchmark;
        if let Some(pattern) = &asked.output {
            // A pattern that means nothing is found before anything is measured.
            ResultHead::default().file(pattern)?;
        }
        let mut plan = Self { all: Vec::new(), tasks: Vec::new(), results: DatacompResults::default() };
        if let Some(root) = &asked.datacomp {
            plan.tasks = datacomp::tasks(root, asked.tasklist.as_deref())?;
            plan.results = DatacompResults::open(asked.datacomp_results.as_deref(), asked.skip_existing)?;
            for task in &plan.tasks {
                plan.all.push(match task.data(root) {
                    TaskData::There(folder) => Planned { task: Some(task.clone()), ..Planned::of_folder(folder, "test", config)? },
                    TaskData::Absent(why) => Planned::none(&task.key, format!("absent: {why}")),
                    TaskData::Refused(why) => Planned::none(&task.key, format!("not measured: {why}")),
                });
            }
            return Ok(plan);
        }
        if asked.names_data() {
            for folder in benchmark::find(&asked.benchmark, &asked.split)? {
                plan.all.push(Planned::of_folder(folder, &asked.split, config)?);
            }
            return Ok(plan);
        }
        let suites = std::mem::take(&mut config.suites).into_iter();
        let suites = suites.filter(|suite| args.suite.is_empty() || args.suite.contains(&suite.key));
        plan.all = suites.map(|suite| Planned { key: suite.key.clone(), suite: Ok(suite), folder: None, task: None }).collect();
        Ok(plan)
    }

    /// Why something need not be measured again, where the flags say so.
    ///
    /// # Errors
    /// Exit status 2: a pattern of result files that means nothing.
    pub fn is_there(&self, planned: &Planned, args: &EvalArgs, names: &ModelNames) -> Outcome<Option<String>> {
        let asked = &args.benchmark;
        if let (Some(task), Some(file)) = (&planned.task, &asked.datacomp_results)
            && self.results.has(task)
        {
            return Ok(Some(format!("passed over: {} has its result", file.display())));
        }
        let (Some(pattern), Ok(suite), true) = (&asked.output, &planned.suite, asked.skip_existing) else { return Ok(None) };
        let file = names.head(planned, ResultHead::task_of_suite(&suite.chosen.plugin), &asked.language).file(pattern)?;
        Ok(file.exists().then(|| format!("passed over: {} is there", file.display())))
    }

    /// Writes what was found to the files that the flags name.
    ///
    /// # Errors
    /// A file that cannot be written; groups of pictures that cannot be read.
    pub fn write(&mut self, planned: &Planned, report: &Report, args: &EvalArgs, names: &ModelNames, config: &RunConfig) -> Outcome {
        let asked = &args.benchmark;
        let mut metrics: Map<String, Value> = result_files::metrics(report);
        if let (Some(task), Some(folder)) = (&planned.task, &planned.folder) {
            datacomp::add_metrics(task, report, config, folder, &mut metrics)?;
            self.results.add(task, &metrics)?;
        }
        let (Some(pattern), Ok(suite)) = (&asked.output, &planned.suite) else { return Ok(()) };
        let head = names.head(planned, ResultHead::task_of_suite(&suite.chosen.plugin), &asked.language);
        head.write(&head.file(pattern)?, &metrics)
    }

    /// DataComp's means over what was measured.
    pub fn scores(&self) -> Vec<datacomp::DatacompScore> {
        self.results.scores(&self.tasks)
    }
}

impl Planned {
    fn of_folder(folder: BenchmarkFolder, split: &str, config: &RunConfig) -> Outcome<Self> {
        let suite = benchmark::suite(&config.registry, &folder, split)?;
        let path = std::path::absolute(&folder.path).unwrap_or(folder.path);
        Ok(Self { key: folder.dataset, suite: Ok(suite), folder: Some(path), task: None })
    }

    fn none(key: &str, why: String) -> Self {
        Self { key: key.to_owned(), suite: Err(why), folder: None, task: None }
    }
}

/// What result files call the model.
pub(super) struct ModelNames {
    /// The named model, or the run.
    pub model: String,
    /// Where its weights are from, or `random`.
    pub pretrained: String,
}

impl ModelNames {
    fn head(&self, planned: &Planned, task: &str, language: &str) -> ResultHead {
        let Self { model, pretrained } = self;
        let of = |text: &str| text.to_owned();
        ResultHead { dataset: planned.key.clone(), model: of(model), pretrained: of(pretrained), task: of(task), language: of(language) }
    }
}
