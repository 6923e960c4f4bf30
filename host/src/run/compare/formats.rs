//! A comparison as text: for the console, as Markdown, as CSV.

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use vlhub_core::{Error, Result};

use super::super::console::digits;
use super::super::results::csv_of;
use super::super::robustness::Robustness;
use super::super::svg::number;
use super::{Comparison, OptionRow, RunRow};

impl Comparison {
    /// As plain text: runs, options that differ, and numbers, with `*` at the best.
    pub fn to_text(&self) -> String {
        let (facts, config, metrics) = (fact_rows(&self.runs), self.config_rows(), self.metric_rows("*", false));
        let mut tables = vec![self.table("", facts)];
        if !config.is_empty() {
            tables.push(self.table("option", config));
        } else if self.runs.len() > 1 {
            tables.push(" the configurations are the same".into());
        }
        if !metrics.is_empty() {
            tables.push(self.table("metric", metrics));
        }
        if !self.spreads.is_empty() {
            tables.push(text_table(self.group_head("mean ± deviation over seeds"), self.spread_rows(" ")));
        }
        let words: Vec<String> = self.verdicts.iter().map(|verdict| format!(" {}", verdict.words(&self.tests))).collect();
        if !words.is_empty() {
            tables.push(words.join("\n"));
        }
        if !self.remarks.is_empty() && self.groups.len() > 1 {
            tables.push(self.remarks.iter().map(|remark| format!(" {remark}")).collect::<Vec<_>>().join("\n"));
        }
        tables.join("\n\n")
    }

    fn table(&self, first: &str, rows: Vec<Vec<String>>) -> String {
        text_table(self.head(first), rows)
    }

    pub(super) fn head(&self, first: &str) -> Vec<String> {
        std::iter::once(first.to_owned()).chain(self.runs.iter().map(|run| run.name.clone())).collect()
    }

    pub(super) fn config_rows(&self) -> Vec<Vec<String>> {
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

    /// Values with a mark at the best, and their intervals where these are asked for.
    pub(super) fn metric_rows(&self, mark: &str, intervals: bool) -> Vec<Vec<String>> {
        self.metrics
            .iter()
            .map(|row| {
                let chance = row.chance.map_or(String::new(), |chance| format!(" (chance {})", number(chance)));
                let marked = |at: usize| if row.best == Some(at) { format!(" {mark}") } else { String::new() };
                let bounds = |at: usize| match row.intervals.get(at).copied().flatten() {
                    Some([low, high]) if intervals => format!("\n{} to {}", number(low), number(high)),
                    _ => String::new(),
                };
                let values = row.values.iter().enumerate().map(|(at, value)| format!("{}{}{}", shown(*value), marked(at), bounds(at)));
                std::iter::once(format!("{}: {}{chance}", row.suite, row.metric)).chain(values).collect()
            })
            .collect()
    }

    /// Names of the groups, for the head of a table.
    pub(super) fn group_head(&self, first: &str) -> Vec<String> {
        std::iter::once(first.to_owned()).chain(self.groups.iter().map(|group| group.name.clone())).collect()
    }

    /// How many runs every number over seeds is made of, where that is one number.
    pub(super) fn runs_of_each(&self) -> Option<usize> {
        let mut counts = self.spreads.iter().flat_map(|row| &row.groups).flatten().map(|(.., count)| *count);
        let first = counts.next()?;
        counts.all(|count| count == first).then_some(first)
    }

    /// Options that differ between groups, with a column for each.
    pub(super) fn group_config_rows(&self) -> Vec<Vec<String>> {
        let firsts: Vec<usize> = self.groups.iter().map(|group| group.runs[0]).collect();
        let of_groups = |row: Vec<String>| {
            let values: Vec<String> = firsts.iter().map(|run| row[run + 1].clone()).collect();
            let differ = values.iter().any(|value| *value != values[0]);
            differ.then(|| [vec![row[0].clone()], values].concat())
        };
        self.config_rows().into_iter().filter_map(of_groups).collect()
    }

    /// Mean, deviation and number of runs of each metric and group; `between` stands before the deviation.
    pub(super) fn spread_rows(&self, between: &str) -> Vec<Vec<String>> {
        let same = self.runs_of_each().is_some();
        let cell = |found: &Option<(f64, Option<f64>, usize)>| match found {
            None => "–".to_owned(),
            Some((mean, None, _)) => number(*mean),
            Some((mean, Some(deviation), _)) if same => format!("{}{between}± {}", number(*mean), number(*deviation)),
            Some((mean, Some(deviation), count)) => format!("{}{between}± {} ({count})", number(*mean), number(*deviation)),
        };
        let row = |row: &super::SeedSpread| {
            std::iter::once(format!("{}: {}", row.suite, row.metric)).chain(row.groups.iter().map(cell)).collect::<Vec<_>>()
        };
        self.spreads.iter().map(row).collect()
    }

    /// All tests.
    pub(super) fn test_rows(&self) -> Vec<Vec<String>> {
        let p = |p: f64| if p < 1e-4 { "< 0.0001".to_owned() } else { format!("{p:.4}") };
        let row = |test: &super::PairTest| {
            let [low, high] = test.interval.map(number);
            vec![
                format!("{}: {}", test.suite, test.metric),
                test.first.clone(),
                test.second.clone(),
                format!("{:+.5}", test.difference),
                format!("{low} to {high}"),
                p(test.p),
                p(test.p_holm),
                test.mcnemar.map_or("–".to_owned(), p),
                if test.same { "same within noise".into() } else { "different".to_owned() },
                match test.seeds {
                    [1, 1] => test.samples.to_string(),
                    [first, second] if first == second => format!("{} × {first} seeds", test.samples),
                    [first, second] => format!("{} × {first} and {second} seeds", test.samples),
                },
            ]
        };
        self.tests.iter().map(row).collect()
    }

    /// Accuracy on ImageNet's shifts, a row for each run that measured them.
    pub(super) fn robustness_rows(&self) -> Vec<Vec<String>> {
        let optional = |value: Option<f64>| value.map_or("–".to_owned(), digits);
        let row = |(run, found): (&RunRow, &Option<Robustness>)| {
            let found = found.as_ref()?;
            let shift = |shift: &super::super::robustness::Shift| {
                let above = shift.above_line.map_or(String::new(), |above| format!(", {above:+.4} above the line"));
                format!("{} {}{above}", shift.name, digits(shift.top1))
            };
            let shifts: Vec<String> = found.shifts.iter().map(shift).collect();
            Some(vec![run.name.clone(), digits(found.imagenet), optional(found.average), optional(found.ratio), shifts.join("; ")])
        };
        self.runs.iter().zip(&self.robustness).filter_map(row).collect()
    }

    /// As Markdown, with the tables of the page.
    pub fn to_markdown(&self) -> String {
        let mut page = format!("# {} runs compared\n", self.runs.len());
        let mut section = |title: &str, head: Vec<String>, rows: Vec<Vec<String>>| {
            if !rows.is_empty() {
                page += &format!("\n## {title}\n\n{}", markdown_table(&head, &rows));
            }
        };
        section("Runs", self.head(""), fact_rows(&self.runs));
        section("Results", self.head("metric (95 % interval), ★ the best"), self.metric_rows("★", true));
        section("Mean and standard deviation over seeds", self.group_head("metric"), self.spread_rows(" "));
        section("Paired tests", TEST_HEAD.map(str::to_owned).to_vec(), self.test_rows());
        section("Effective robustness", ROBUSTNESS_HEAD.map(str::to_owned).to_vec(), self.robustness_rows());
        section("Options that differ", self.head("option"), self.config_rows());
        let words = self.verdicts.iter().map(|verdict| verdict.words(&self.tests)).chain(self.remarks.iter().cloned());
        let words: Vec<String> = words.map(|line| format!("- {}\n", markdown_text(&line))).collect();
        if !words.is_empty() {
            page += &format!("\n## What the tests say\n\n{}", words.concat());
        }
        page
    }

    /// As JSON.
    ///
    /// # Errors
    /// None that can happen: it is data.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::invalid(error.to_string()))?;
        Ok(text + "\n")
    }

    /// As CSV: a row for each run, suite and metric. The last columns hold the run's group against the best one of the metric, where they were tested.
    ///
    /// # Errors
    /// None that can happen: the rows have one length.
    pub fn to_csv(&self) -> Result<String> {
        let mut rows = vec![CSV_HEAD.map(str::to_owned).to_vec()];
        let cell = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        for row in &self.metrics {
            for (at, run) in self.runs.iter().enumerate() {
                let Some(value) = row.values[at] else { continue };
                let group = self.groups.iter().find(|group| group.runs.contains(&at)).map(|group| group.name.clone()).unwrap_or_default();
                let verdict = self.verdicts.iter().find(|verdict| verdict.suite == row.suite && verdict.metric == row.metric);
                let best = verdict.map(|verdict| verdict.best.clone()).unwrap_or_default();
                let test = self.tests.iter().find(|test| {
                    let pair = [&test.first, &test.second];
                    test.suite == row.suite && test.metric == row.metric && group != best && pair.contains(&&group) && pair.contains(&&best)
                });
                // The group less the best one, whichever comes first in the test.
                let turned = test.map(|test| {
                    let [low, high] = test.interval;
                    if test.second == group { [test.difference, low, high] } else { [-test.difference, -high, -low] }
                });
                let bounds = row.intervals[at].map_or([None; 2], |bounds| bounds.map(Some));
                let texts = [run.name.clone(), group, run.seed.clone().unwrap_or_default(), row.suite.clone(), row.metric.clone()];
                let samples = row.samples[at].map_or(String::new(), |samples| samples.to_string());
                let numbers = [Some(value), bounds[0], bounds[1]].map(cell);
                let differences =
                    [turned.map(|all| all[0]), turned.map(|all| all[1]), turned.map(|all| all[2]), test.map(|test| test.p_holm)];
                let tail = [vec![samples, cell(row.chance), best], differences.map(cell).to_vec()].concat();
                rows.push([texts.to_vec(), numbers.to_vec(), tail].concat());
            }
        }
        Ok(String::from_utf8_lossy(&csv_of(rows)?).into_owned())
    }
}

/// Columns of the tests.
pub const TEST_HEAD: [&str; 10] =
    ["metric", "first", "second", "second − first", "95 % interval", "p", "p (Holm)", "p (McNemar)", "", "samples"];

/// Columns of effective robustness.
pub const ROBUSTNESS_HEAD: [&str; 5] =
    ["run", "imagenet", "average of r, a, sketch, v2", "ratio (VL Hub)", "top1 on each shift (Taori's residual)"];

const CSV_HEAD: [&str; 15] = [
    "run",
    "group",
    "seed",
    "suite",
    "metric",
    "value",
    "low",
    "high",
    "samples",
    "chance",
    "best_group",
    "difference_from_best",
    "difference_low",
    "difference_high",
    "p_holm",
];

/// Facts about runs, a row for each and a column for each run.
pub(super) fn fact_rows(runs: &[RunRow]) -> Vec<Vec<String>> {
    type Fact = fn(&RunRow) -> String;
    let facts: [(&str, Fact); 4] = [
        ("steps", |run| run.steps.to_string()),
        ("samples per second", |run| shown(run.samples_per_second)),
        ("waiting for data", |run| run.waiting_for_data.map_or("–".into(), |share| format!("{:.1} %", 100.0 * share))),
        ("final loss", |run| shown(run.final_loss)),
    ];
    let mut rows: Vec<Vec<String>> =
        facts.iter().map(|(name, fact)| std::iter::once((*name).to_owned()).chain(runs.iter().map(fact)).collect()).collect();
    // Without an average, there is nothing to tell apart.
    if runs.iter().any(|run| run.measured_weights.as_ref().is_some_and(|sets| sets.contains("average"))) {
        let sets = runs.iter().map(|run| run.measured_weights.clone().unwrap_or_else(|| "–".into()));
        rows.push(std::iter::once("measured weights".to_owned()).chain(sets).collect());
    }
    rows
}

/// A table of GitHub's Markdown.
fn markdown_table(head: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.iter().map(|cell| markdown_text(cell)).collect::<Vec<_>>().join(" | "));
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    std::iter::once(line(head)).chain([rule]).chain(rows.iter().map(|row| line(row))).collect()
}

/// A text that cannot become markup.
fn markdown_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// A table for the console.
pub fn text_table(head: Vec<String>, rows: Vec<Vec<String>>) -> String {
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
