//! Flags for data sets in the layouts of CLIP_benchmark and DataComp, and for result files as they write them.

use std::path::PathBuf;

use clap::Args;

/// Data sets without a table in a run file, and result files.
#[derive(Clone, Debug, Default, Args)]
pub struct BenchmarkArgs {
    /// Measure these data sets instead of the suites: folders in CLIP_benchmark's layout (`test/nshards.txt`, `test/0.tar`, `classnames.txt`, …),
    /// folders of such folders, or patterns such as 'root/wds_*'. Options (KEY=VALUE) come before it.
    #[arg(long, num_args = 1.., value_name = "DIR", conflicts_with = "suite")]
    pub benchmark: Vec<String>,
    /// Measure DataComp's tasks, whose data sets are folders in DIR (`wds_vtab-caltech101_test`, …). A `tasklist.yml` in DIR is read; without it
    /// DataComp's own 40 tasks. What is not there is told as absent, and the average says how many tasks it is of.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["suite", "benchmark"])]
    pub datacomp: Option<PathBuf>,
    /// Another list of tasks.
    #[arg(long, value_name = "FILE", requires = "datacomp")]
    pub tasklist: Option<PathBuf>,
    /// Write DataComp's `eval_results.jsonl`: a line for each task, with its `main_metric`.
    #[arg(long, value_name = "FILE", requires = "datacomp")]
    pub datacomp_results: Option<PathBuf>,
    /// The folder of shards in each data set of `--benchmark`.
    #[arg(long, default_value = "test")]
    pub split: String,
    /// Write a result file of CLIP_benchmark for each data set, which `clip_benchmark build` reads: `'{dataset}_{model}_{pretrained}_{task}.json'`.
    /// Known names: dataset, model, pretrained, pretrained_full_path, task, language.
    #[arg(long, value_name = "PATTERN")]
    pub output: Option<String>,
    /// The language that result files tell.
    #[arg(long, default_value = "en")]
    pub language: String,
    /// Pass over a data set of which there is a result file, or a line of DataComp's results, already.
    #[arg(long)]
    pub skip_existing: bool,
}

impl BenchmarkArgs {
    /// Whether data sets are named beside the suites.
    pub fn names_data(&self) -> bool {
        !self.benchmark.is_empty() || self.datacomp.is_some()
    }
}
