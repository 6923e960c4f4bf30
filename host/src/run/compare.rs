//! Several runs side by side: what they were told differently, and what came of it.

use std::path::PathBuf;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;
use vlhub_core::{Error, Report, Result};

use super::console::digits;
use super::history::RunData;
use super::page::document;
use super::svg::{Series, chart, number};

/// Runs side by side.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// The runs, in the order given; all lists below have one value per run.
    pub runs: Vec<RunRow>,
    /// Options that are not the same in all runs.
    pub config: Vec<OptionRow>,
    /// Final numbers of the evaluation suites.
    pub metrics: Vec<MetricRow>,
}

/// One run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunRow {
    /// Its name, made unique.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// Steps taken.
    pub steps: u64,
    /// Median over the steps.
    pub samples_per_second: Option<f64>,
    /// Share of the time spent waiting for data.
    pub waiting_for_data: Option<f64>,
    /// Mean over the last tenth of the steps.
    pub final_loss: Option<f64>,
    /// Which weights the suites measured: `raw` or `average`; none where nothing was measured, or the run is older than the choice.
    pub measured_weights: Option<String>,
}

/// One option.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OptionRow {
    /// Dotted key in the configuration.
    pub key: String,
    /// Its value in each run, as TOML; none where the run does not have it.
    pub values: Vec<Option<String>>,
}

/// One number of one suite.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricRow {
    /// The suite.
    pub suite: String,
    /// The number's name.
    pub metric: String,
    /// What guessing would get, where that is known and the same in all runs that have it.
    pub chance: Option<f64>,
    /// Its last value in each run.
    pub values: Vec<Option<f64>>,
    /// Index of the best run, when at least two differ. Ranks, losses and perplexities are better when small.
    pub best: Option<usize>,
}

/// Compares runs, writes one page about them to `out` if that is given, and returns the comparison.
///
/// # Errors
/// No run is given, a folder is not that of a run, or the page cannot be written.
pub fn compare<'a>(runs: &[PathBuf], out: impl Into<Option<&'a PathBuf>>) -> Result<Comparison> {
    if runs.is_empty() {
        return Err(Error::Options("no run to compare; name their folders: `LOGS/NAME`".into()));
    }
    let data = runs.iter().map(|path| RunData::read(path)).collect::<Result<Vec<_>>>()?;
    let comparison = Comparison::of(&data);
    if let Some(out) = out.into() {
        super::jsonl::replace(out, comparison.to_page(&data).as_bytes())?;
    }
    Ok(comparison)
}

impl Comparison {
    fn of(data: &[RunData]) -> Self {
        let named = |name: &str| data.iter().filter(|run| run.name == name).count();
        let runs = data.iter().map(|run| RunRow {
            name: if named(&run.name) > 1 { run.path.display().to_string() } else { run.name.clone() },
            path: run.path.clone(),
            steps: run.last_step(),
            samples_per_second: run.rate(),
            waiting_for_data: run.waiting(),
            final_loss: run.final_loss(),
            measured_weights: run.measured_weights(),
        });
        let mut keys: Vec<&String> = data.iter().flat_map(|run| run.options.keys()).collect();
        keys.sort();
        keys.dedup();
        // Where a run is kept says nothing about it.
        keys.retain(|key| !matches!(key.as_str(), "name" | "logs" | "folder"));
        let options = keys
            .into_iter()
            .map(|key| OptionRow { key: key.clone(), values: data.iter().map(|run| run.options.get(key).cloned()).collect() });
        let finals: Vec<_> = data.iter().map(RunData::finals).collect();
        let mut names: Vec<(&str, &str)> = Vec::new();
        for one in finals.iter().flatten() {
            for metric in one.metrics.keys() {
                if !names.contains(&(&one.name, metric)) {
                    names.push((&one.name, metric));
                }
            }
        }
        let metrics = names.into_iter().map(|(suite, metric)| {
            let of = |run: &Vec<&super::history::Evaluation>| run.iter().find(|one| one.name == suite).copied().cloned();
            let values: Vec<_> = finals.iter().map(|run| of(run)?.metrics.get(metric).copied()).collect();
            let mut chances: Vec<f64> = finals.iter().filter_map(|run| of(run)?.chance.get(metric).copied()).collect();
            chances.dedup();
            MetricRow {
                suite: suite.into(),
                metric: metric.into(),
                chance: if chances.len() == 1 { chances.first().copied() } else { None },
                best: best(metric, &values),
                values,
            }
        });
        Self {
            runs: runs.collect(),
            config: options.filter(|row| row.values.iter().any(|value| *value != row.values[0])).collect(),
            metrics: metrics.collect(),
        }
    }

    /// As plain text: runs, options that differ, and numbers, with `*` at the best.
    pub fn to_text(&self) -> String {
        let (facts, config, metrics) = (self.fact_rows(), self.config_rows(), self.metric_rows("*"));
        let mut tables = vec![self.table("", facts)];
        if !config.is_empty() {
            tables.push(self.table("option", config));
        } else if self.runs.len() > 1 {
            tables.push(" the configurations are the same".into());
        }
        if !metrics.is_empty() {
            tables.push(self.table("metric", metrics));
        }
        tables.join("\n\n")
    }

    fn table(&self, first: &str, rows: Vec<Vec<String>>) -> String {
        text_table(self.head(first), rows)
    }

    fn head(&self, first: &str) -> Vec<String> {
        std::iter::once(first.to_owned()).chain(self.runs.iter().map(|run| run.name.clone())).collect()
    }

    fn fact_rows(&self) -> Vec<Vec<String>> {
        type Fact = fn(&RunRow) -> String;
        let facts: [(&str, Fact); 4] = [
            ("steps", |run| run.steps.to_string()),
            ("samples per second", |run| shown(run.samples_per_second)),
            ("waiting for data", |run| run.waiting_for_data.map_or("–".into(), |share| format!("{:.1} %", 100.0 * share))),
            ("final loss", |run| shown(run.final_loss)),
        ];
        let mut rows: Vec<Vec<String>> =
            facts.iter().map(|(name, fact)| std::iter::once((*name).to_owned()).chain(self.runs.iter().map(fact)).collect()).collect();
        // Without an average, there is nothing to tell apart.
        if self.runs.iter().any(|run| run.measured_weights.as_ref().is_some_and(|sets| sets.contains("average"))) {
            let sets = self.runs.iter().map(|run| run.measured_weights.clone().unwrap_or_else(|| "–".into()));
            rows.push(std::iter::once("measured weights".to_owned()).chain(sets).collect());
        }
        rows
    }

    fn config_rows(&self) -> Vec<Vec<String>> {
        let values = |row: &OptionRow| row.values.iter().map(|value| value.clone().unwrap_or_else(|| "–".into())).collect::<Vec<_>>();
        self.config.iter().filter(|row| !self.is_told_by_its_plugin(row)).map(|row| [vec![row.key.clone()], values(row)].concat()).collect()
    }

    /// Whether an option differs only in that some runs do not have its plugin at all, which the plugin's own row, `….use`, tells.
    fn is_told_by_its_plugin(&self, row: &OptionRow) -> bool {
        let plugin = row.key.match_indices('.').rev().find_map(|(at, _)| {
            let name = format!("{}.use", &row.key[..at]);
            self.config.iter().find(|other| other.key == name && other.key != row.key)
        });
        let mut given = row.values.iter().flatten();
        let first = given.next();
        plugin.is_some_and(|plugin| row.values.iter().zip(&plugin.values).all(|(value, plugin)| value.is_some() == plugin.is_some()))
            && given.all(|value| Some(value) == first)
    }

    fn metric_rows(&self, mark: &str) -> Vec<Vec<String>> {
        self.metrics
            .iter()
            .map(|row| {
                let chance = row.chance.map_or(String::new(), |chance| format!(" (chance {})", number(chance)));
                let marked = |at: usize| if row.best == Some(at) { format!(" {mark}") } else { String::new() };
                let values = row.values.iter().enumerate().map(|(at, value)| format!("{}{}", shown(*value), marked(at)));
                std::iter::once(format!("{}: {}{chance}", row.suite, row.metric)).chain(values).collect()
            })
            .collect()
    }

    fn to_page(&self, data: &[RunData]) -> String {
        let names: Vec<_> = self.runs.iter().map(|run| run.name.as_str()).collect();
        document(&names.join(" · "), |html| {
            html.leaf("h1", &[], format!("{} runs compared", names.len()));
            let head = |first: &str| self.head(first);
            let mut tabled = |title: &str, first: &str, rows: Vec<Vec<String>>| {
                html.section(title, |html| {
                    if rows.is_empty() {
                        html.leaf("p", &[("class", &"soft")], "none");
                        return;
                    }
                    let head = head(first);
                    let head: Vec<_> = head.iter().map(String::as_str).collect();
                    html.el("div", &[("class", &"card")], |html| html.table(&head, rows));
                });
            };
            tabled("Runs", "", self.fact_rows());
            tabled("Results", "metric, ★ the best", self.metric_rows("★"));
            tabled("Options that differ", "option", self.config_rows());
            html.section("Training", |html| {
                html.el("div", &[("class", &"grid")], |html| {
                    for (name, title) in [("loss", "Loss"), ("lr", "Learning rate"), ("samples_per_second", "Samples per second")] {
                        let series: Vec<_> = data
                            .iter()
                            .zip(&names)
                            .map(|(run, label)| {
                                let smooth = Series::smoothed(*label, run.curve(name));
                                // Overlaid noise hides everything.
                                if name == "lr" { Series::new(*label, run.curve(name)) } else { Series { raw: Vec::new(), ..smooth } }
                            })
                            .collect();
                        html.el("div", &[("class", &"card")], |html| chart(html, title, "step", &series));
                    }
                    for row in &self.metrics {
                        let points = |run: &RunData| {
                            let ours = run.results.iter().filter(|one| one.name == row.suite);
                            ours.filter_map(|one| Some((one.step as f64, *one.metrics.get(&row.metric)?))).collect::<Vec<_>>()
                        };
                        let series: Vec<_> = data.iter().zip(&names).map(|(run, label)| Series::new(*label, points(run))).collect();
                        if series.iter().any(|one| one.points.len() > 1) {
                            let title = format!("{}: {}", row.suite, row.metric);
                            html.el("div", &[("class", &"card")], |html| chart(html, &title, "step", &series));
                        }
                    }
                });
            });
        })
    }
}

/// What a suite found, as a table for the console.
pub fn result_table(suite: &str, report: &Report) -> String {
    let rows = report.metrics.iter().map(|metric| {
        let chance = metric.chance.map_or(String::new(), |chance| format!("chance {}", number(chance)));
        vec![metric.name.clone(), digits(metric.value), chance]
    });
    let count = format!("{} samples, {} not used", report.samples, report.skipped.len());
    let notes: String = report.notes.iter().map(|note| format!(" {note}\n")).collect();
    format!("{}\n{notes}", text_table(vec![suite.to_owned(), String::new(), count], rows.collect()))
}

fn text_table(head: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(head);
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}

fn shown(value: Option<f64>) -> String {
    value.map_or("–".into(), digits)
}

fn best(metric: &str, values: &[Option<f64>]) -> Option<usize> {
    let small = ["rank", "loss", "perplexity"].iter().any(|word| metric.to_lowercase().contains(word));
    let known: Vec<_> = values.iter().enumerate().filter_map(|(at, value)| Some((at, (*value)?))).collect();
    if known.iter().all(|(_, value)| *value == known[0].1) {
        return None;
    }
    let order = |value: f64| if small { -value } else { value };
    known.into_iter().max_by(|a, b| order(a.1).total_cmp(&order(b.1))).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn run(dir: &Path, name: &str, lr: &str, top1: f64) -> PathBuf {
        let path = dir.join(name);
        fs::create_dir_all(path.join("checkpoints")).expect("it can be made");
        fs::write(path.join("config.toml"), format!("name = \"{name}\"\nseed = 1\n[train]\nlr = {lr}\n")).expect("it can be written");
        fs::write(path.join("metrics.jsonl"), "{\"step\":1,\"loss\":2.0}\n{\"step\":2,\"loss\":1.0}\n").expect("it can be written");
        let line = format!(
            "{{\"name\":\"zeroshot\",\"step\":2,\"metrics\":{{\"top1\":{top1},\"mean_rank\":{top1}}},\"chance\":{{\"top1\":0.1}}}}\n"
        );
        fs::write(path.join("checkpoints/results.jsonl"), line).expect("it can be written");
        path
    }

    #[test]
    fn only_what_differs_is_shown_and_the_best_is_marked() {
        let dir = tempfile::tempdir().expect("a directory");
        let runs = [run(dir.path(), "slow", "0.001", 0.3), run(dir.path(), "fast<", "0.01", 0.4)];
        let out = dir.path().join("compare.html");
        let found = compare(&runs, &out).expect("they are runs");
        assert_eq!(found.config, [OptionRow { key: "train.lr".into(), values: vec![Some("0.001".into()), Some("0.01".into())] }]);
        let best: Vec<_> = found.metrics.iter().map(|row| (row.metric.as_str(), row.best, row.chance)).collect();
        assert_eq!(best, [("mean_rank", Some(0), None), ("top1", Some(1), Some(0.1))]);
        let text = found.to_text();
        assert!(text.contains("train.lr") && text.contains("0.40000 *") && !text.contains("seed"), "{text}");
        let page = fs::read_to_string(out).expect("it is there");
        assert!(page.contains("fast&lt;") && page.contains("0.40000 ★"));
        let json = serde_json::to_value(&found).expect("it is data");
        assert_eq!(json["runs"][1]["final_loss"], 1.0);
    }

    #[test]
    fn a_plugin_that_only_some_runs_have_takes_one_row() {
        let row = |key: &str, values: &[&str]| OptionRow {
            key: key.into(),
            values: values.iter().map(|value| Some((*value).to_owned()).filter(|value| !value.is_empty())).collect(),
        };
        let config = vec![
            row("objective.clip.tile", &["0", "8", ""]),
            row("objective.clip.use", &["clip", "clip", ""]),
            row("objective.clip.weight", &["1.0", "1.0", ""]),
            row("train.batch", &["1", "", ""]),
            row("view.image.a.augment.0.p", &["0.5", "", ""]),
            row("view.image.a.augment.0.use", &["flip", "", ""]),
        ];
        let comparison = Comparison { config, ..Comparison::default() };
        let shown: Vec<String> = comparison.config_rows().into_iter().map(|row| row[0].clone()).collect();
        assert_eq!(shown, ["objective.clip.tile", "objective.clip.use", "train.batch", "view.image.a.augment.0.use"]);
    }

    #[test]
    fn mistakes_are_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let out = dir.path().join("compare.html");
        assert!(compare(&[], &out).expect_err("none").to_string().contains("no run"));
        let error = compare(&[dir.path().join("none")], &out).expect_err("it is not there").to_string();
        assert!(error.contains("none"), "{error}");
        assert!(!out.exists());
    }

    #[test]
    fn one_run_is_described_without_a_page() {
        let dir = tempfile::tempdir().expect("a directory");
        let found = compare(&[run(dir.path(), "only", "0.001", 0.3)], None).expect("it is a run");
        let text = found.to_text();
        assert!(text.contains("zeroshot: top1 (chance 0.1)") && !text.contains("configurations") && !text.contains('*'), "{text}");
    }

    #[test]
    fn a_suites_numbers_are_shown_with_chance_and_notes() {
        let mut report = Report { samples: 40, skipped: vec!["a.png".into()], notes: vec!["3 prompts".into()], ..Report::default() };
        report.metric_with_chance("top1", 0.5, 0.1);
        report.metric("mean_rank", 12.0);
        let text = result_table("zeroshot", &report);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let expected = ["zeroshot 40 samples, 1 not used", "top1 0.50000 chance 0.1", "mean_rank 12.000", "3 prompts"];
        assert_eq!(lines, expected.map(|line| line.split_whitespace().collect::<Vec<_>>()), "{text}");
    }

    #[test]
    fn equal_values_have_no_best() {
        assert_eq!(best("top1", &[Some(0.5), Some(0.5)]), None);
        assert_eq!(best("top1", &[None, Some(0.5)]), None);
        assert_eq!(best("val_loss", &[Some(2.0), None, Some(1.0)]), Some(2));
        assert_eq!(best("top1", &[]), None);
    }
}
