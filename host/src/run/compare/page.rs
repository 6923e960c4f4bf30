//! A comparison as one page.

use super::super::page::{Html, document};
use super::super::robustness::Robustness;
use super::super::scatter::{Guide, Mark, pareto, scatter_panel};
use super::super::svg::{Series, chart};
use super::formats::{ROBUSTNESS_HEAD, TEST_HEAD, fact_rows};
use super::groups::{as_one, mean_curve};
use super::{Comparison, MetricRow, is_small_better};

/// Tests that are shown without being asked for.
const TESTS_SHOWN: usize = 12;
/// Suites whose accuracy is set against speed.
const SCATTERS: usize = 6;

impl Comparison {
    /// One page that needs no network.
    pub fn to_page(&self) -> String {
        let names: Vec<_> = self.runs.iter().map(|run| run.name.as_str()).collect();
        document(&names.join(" · "), |html| {
            html.leaf("h1", &[], format!("{} runs compared", names.len()));
            html.section("Runs", |html| {
                if !self.spreads.is_empty() {
                    soft(html, "Means of runs that differ in nothing but their seed.");
                }
                card(html, &self.group_head(""), fact_rows(&self.as_ones()));
            });
            self.results(html);
            if !self.verdicts.is_empty() || !self.remarks.is_empty() && self.groups.len() > 1 {
                html.section("Which differences are more than noise", |html| self.tested(html));
            }
            if self.robustness.iter().any(Option::is_some) {
                html.section("Effective robustness", |html| self.robust(html));
            }
            self.speed(html);
            html.section("Options that differ", |html| card(html, &self.group_head("option"), self.group_config_rows()));
            if self.data.iter().any(|run| !run.steps.is_empty()) {
                html.section("Training", |html| html.el("div", &[("class", &"grid")], |html| self.curves(html)));
            }
        })
    }

    /// Numbers with their intervals; of runs that differ in their seed alone their means first.
    fn results(&self, html: &mut Html) {
        let head = self.head("metric, 95 % interval, ★ the best");
        if self.spreads.is_empty() {
            html.section("Results", |html| card(html, &head, self.metric_rows("★", true)));
            return;
        }
        html.section("Results over seeds", |html| {
            match self.runs_of_each() {
                Some(count) => soft(html, format!("Mean ± standard deviation of {count} runs that differ in nothing but their seed.")),
                None => soft(html, "Mean ± standard deviation of runs that differ in nothing but their seed, and how many they are."),
            }
            card(html, &self.group_head("metric"), self.spread_rows("\n"));
            html.el("details", &[], |html| {
                html.leaf("summary", &[], "Each run, ★ the best");
                html.table(&head.iter().map(String::as_str).collect::<Vec<_>>(), self.metric_rows("★", true));
            });
        });
    }

    /// The tests in words, then in numbers.
    fn tested(&self, html: &mut Html) {
        html.el("div", &[("class", &"card")], |html| {
            html.el("ul", &[("class", &"words")], |html| {
                for verdict in &self.verdicts {
                    html.leaf("li", &[], verdict.words(&self.tests));
                }
            });
            for remark in &self.remarks {
                soft(html, remark);
            }
            if self.tests.is_empty() {
                return;
            }
            soft(
                html,
                "Runs are compared on the same samples, which are drawn anew with replacement (paired bootstrap), rows of one picture \
                 together; where a group has several seeds, its runs are drawn, too. p is two-sided and adjusted over the pairs of its \
                 metric (Holm); from 0.05 on a difference is called the same within noise. McNemar's exact test is another look at single \
                 runs whose samples are right or wrong. Three seeds say little about how seeds spread.",
            );
            let rows = self.test_rows();
            if rows.len() <= TESTS_SHOWN {
                html.el("div", &[("class", &"tight")], |html| html.table(&TEST_HEAD, rows));
            } else {
                html.el("details", &[("class", &"plain tight")], |html| {
                    html.leaf("summary", &[], format!("All {} tests", rows.len()));
                    html.table(&TEST_HEAD, rows);
                });
            }
        });
    }

    fn robust(&self, html: &mut Html) {
        card(html, &ROBUSTNESS_HEAD.map(str::to_owned), self.robustness_rows());
        for about in Robustness::ABOUT {
            soft(html, about);
        }
        let found: Vec<(usize, &Robustness)> =
            self.robustness.iter().enumerate().filter_map(|(at, one)| Some((at, one.as_ref()?))).collect();
        let mut shifts: Vec<&str> = found.iter().flat_map(|(_, one)| &one.shifts).map(|shift| shift.name.as_str()).collect();
        shifts.sort_unstable();
        shifts.dedup();
        html.el("div", &[("class", &"grid")], |html| {
            for name in shifts {
                let mark = |(at, one): &(usize, &Robustness)| {
                    let shift = one.shifts.iter().find(|shift| shift.name == name)?;
                    Some(Mark { name: self.runs[*at].name.clone(), x: one.imagenet, y: shift.top1, colour: self.colour(*at) })
                };
                let marks: Vec<Mark> = found.iter().filter_map(mark).collect();
                let line = self.baseline.as_ref().and_then(|baseline| baseline.line(name));
                let steps = (1..200).map(|at| f64::from(at) / 200.0);
                let guide = line.map(|line| Guide {
                    name: format!("line of {} standard models", line.models),
                    points: steps.clone().map(|x| (x, line.at(x))).collect(),
                });
                let equal = Guide { name: "as on ImageNet".into(), points: steps.map(|x| (x, x)).collect() };
                let guides: Vec<Guide> = guide.into_iter().chain([equal]).collect();
                if let Some(panel) = scatter_panel(name, "top1 on imagenet", &format!("top1 on {name}"), &marks, &guides) {
                    html.el("div", &[("class", &"card")], |html| panel.show(html));
                }
            }
        });
    }

    /// The groups as runs.
    fn as_ones(&self) -> Vec<super::RunRow> {
        self.groups.iter().map(|group| as_one(group, &self.runs)).collect()
    }

    /// Accuracy against samples per second, of each group.
    fn speed(&self, html: &mut Html) {
        let groups = self.as_ones();
        let mut suites: Vec<&str> = Vec::new();
        let mut panels = Vec::new();
        for row in &self.metrics {
            if suites.contains(&row.suite.as_str()) || suites.len() == SCATTERS || is_small_better(&row.metric) {
                continue;
            }
            let row = self.metrics.iter().find(|other| other.suite == row.suite && other.metric == "top1").unwrap_or(row);
            suites.push(&row.suite);
            let mark = |(at, run): (usize, &super::RunRow)| {
                let values: Vec<f64> = self.groups[at].runs.iter().filter_map(|run| row.values[*run]).collect();
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                (!values.is_empty()).then_some(Mark { name: run.name.clone(), x: run.samples_per_second?, y: mean, colour: at })
            };
            let marks: Vec<Mark> = groups.iter().enumerate().filter_map(mark).collect();
            let front = pareto(&marks.iter().map(|mark| (mark.x, mark.y)).collect::<Vec<_>>());
            let guide = Guide { name: "nothing is better in both".into(), points: front };
            let title = format!("{}: {}", row.suite, row.metric);
            if marks.len() > 1 {
                panels.extend(scatter_panel(&title, "samples per second in training", &row.metric, &marks, &[guide]));
            }
        }
        if !panels.is_empty() {
            html.section("Accuracy against speed", |html| {
                html.el("div", &[("class", &"grid")], |html| {
                    for panel in &panels {
                        html.el("div", &[("class", &"card")], |html| panel.show(html));
                    }
                });
            });
        }
    }

    /// Runs of a group have one colour.
    fn colour(&self, run: usize) -> usize {
        self.groups.iter().position(|group| group.runs.contains(&run)).unwrap_or(run)
    }

    fn curves(&self, html: &mut Html) {
        // A curve for each group, the mean of its runs.
        let of_groups = |points: &dyn Fn(&super::RunData) -> Vec<(f64, f64)>| {
            let curve = |group: &super::RunGroup| mean_curve(&group.runs.iter().map(|run| points(&self.data[*run])).collect::<Vec<_>>());
            self.groups.iter().map(|group| (group.name.clone(), curve(group))).collect::<Vec<_>>()
        };
        for (name, title) in [("loss", "Loss"), ("lr", "Learning rate"), ("samples_per_second", "Samples per second")] {
            let series = of_groups(&|run| run.curve(name)).into_iter().map(|(label, curve)| {
                // Overlaid noise hides everything.
                if name == "lr" { Series::new(label, curve) } else { Series { raw: Vec::new(), ..Series::smoothed(label, curve) } }
            });
            html.el("div", &[("class", &"card")], |html| chart(html, title, "step", &series.collect::<Vec<_>>()));
        }
        for row in &self.metrics {
            let points = |run: &super::RunData, row: &MetricRow| {
                let ours = run.results.iter().filter(|one| one.name == row.suite);
                ours.filter_map(|one| Some((one.step as f64, *one.metrics.get(&row.metric)?))).collect::<Vec<_>>()
            };
            let series: Vec<_> = of_groups(&|run| points(run, row)).into_iter().map(|(label, curve)| Series::new(label, curve)).collect();
            if series.iter().any(|one| one.points.len() > 1) {
                let title = format!("{}: {}", row.suite, row.metric);
                html.el("div", &[("class", &"card")], |html| chart(html, &title, "step", &series));
            }
        }
    }
}

fn soft(html: &mut Html, text: impl std::fmt::Display) {
    html.leaf("p", &[("class", &"soft")], text);
}

fn card(html: &mut Html, head: &[String], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        soft(html, "none");
        return;
    }
    let head: Vec<_> = head.iter().map(String::as_str).collect();
    html.el("div", &[("class", &"card")], |html| html.table(&head, rows));
}
