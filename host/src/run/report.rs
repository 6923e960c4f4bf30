//! `report.html`: one page about one run, that needs no network.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vlhub_core::{Matrix, Result};

use super::heat::heat_map;
use super::history::{Evaluation, RunData};
use super::page::{Html, document};
use super::svg::{Series, chart, number};
use super::{jsonl, matrix};

/// Writes `report.html` into a run's folder, from the files in it; returns its path.
///
/// # Errors
/// It is not the folder of a run, or a file cannot be read or written.
pub fn write_report(run: &Path) -> Result<PathBuf> {
    let data = RunData::read(run)?;
    let path = run.join("report.html");
    jsonl::replace(&path, page(&data).as_bytes())?;
    Ok(path)
}

fn page(run: &RunData) -> String {
    document(&run.name, |html| {
        html.leaf("h1", &[], &run.name);
        html.leaf("p", &[("class", &"soft")], format!("VL Hub {} · {}", env!("CARGO_PKG_VERSION"), run.path.display()));
        facts(html, run);
        if !run.results.is_empty() {
            html.section("Results", |html| results(html, &run.finals()));
        }
        html.section("Training", |html| training(html, run));
        if run.suites().iter().any(|suite| run.results.iter().filter(|one| one.name == *suite).count() > 1) {
            html.section("Evaluation during training", |html| html.el("div", &[("class", &"grid")], |html| evaluations(html, run)));
        }
        for (name, matrix) in &run.matrices {
            html.section(&format!("Classes of {name}"), |html| classes(html, matrix));
        }
        if let Some(png) = &run.batch {
            html.section("First batch", |html| {
                html.leaf("p", &[("class", &"soft")], "The samples of the first step as the model sees them, after augmentation.");
                html.void("img", &[("alt", &"first batch"), ("src", &format_args!("data:image/png;base64,{}", STANDARD.encode(png)))]);
            });
        }
        html.section("Samples that could not be used", |html| skipped(html, run));
        html.section("Configuration", |html| {
            html.el("details", &[], |html| {
                html.leaf("summary", &[], "config.toml, every option resolved");
                html.leaf("pre", &[], &run.config);
            });
        });
    })
}

fn facts(html: &mut Html, run: &RunData) {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let computed = [
        ("Steps", (!run.steps.is_empty()).then(|| run.last_step().to_string())),
        ("Samples per second", run.rate().map(|rate| format!("{rate:.1} (median)"))),
        ("Waiting for data", run.waiting().map(|share| format!("{} of the time", percent(share)))),
        ("Final loss", run.final_loss().map(|loss| format!("{loss:.4} (last tenth)"))),
        ("Unusable samples", Some(run.skipped.iter().map(|(_, count, _)| count).sum::<u64>().to_string())),
    ];
    let known = |name: &str| run.about.iter().any(|(fact, _)| fact.eq_ignore_ascii_case(name));
    html.el("section", &[("class", &"card")], |html| {
        html.el("dl", &[("class", &"facts")], |html| {
            let about = run.about.iter().map(|(name, value)| (name.as_str(), value.clone()));
            for (name, value) in
                about.chain(computed.into_iter().filter(|(name, _)| !known(name)).filter_map(|(name, value)| Some((name, value?))))
            {
                html.el("div", &[], |html| {
                    html.leaf("dt", &[], name);
                    html.leaf("dd", &[], value);
                });
            }
        });
    });
}

fn results(html: &mut Html, finals: &[&Evaluation]) {
    let rows = finals.iter().flat_map(|one| {
        one.metrics.iter().map(|(metric, value)| {
            let chance = one.chance.get(metric).copied();
            let times = chance.filter(|chance| *chance > 0.0).map(|chance| format!("{:.1} ×", value / chance));
            let chance = chance.map(number);
            let dash = || "–".to_owned();
            vec![
                one.name.clone(),
                metric.clone(),
                super::console::digits(*value),
                chance.unwrap_or_else(dash),
                times.unwrap_or_else(dash),
                one.samples.to_string(),
                one.skipped.len().to_string(),
                one.step.to_string(),
                if one.weights.is_empty() { dash() } else { one.weights.clone() },
            ]
        })
    });
    html.el("div", &[("class", &"card")], |html| {
        html.table(&["suite", "metric", "value", "chance", "value / chance", "samples", "skipped", "at step", "weights"], rows);
        for one in finals {
            for note in &one.notes {
                html.leaf("p", &[("class", &"soft")], format!("{}: {note}", one.name));
            }
        }
    });
}

fn training(html: &mut Html, run: &RunData) {
    if run.steps.is_empty() {
        html.leaf("p", &[("class", &"soft")], "No step was recorded.");
        return;
    }
    let metrics = run.metrics();
    let (losses, others): (Vec<_>, Vec<_>) = metrics.iter().partition(|name| name.ends_with("loss"));
    html.el("div", &[("class", &"grid")], |html| {
        let mut card = |title: &str, series: &[Series]| {
            html.el("div", &[("class", &"card")], |html| chart(html, title, "step", series));
        };
        let parts = losses.iter().map(|name| Series::smoothed(name.as_str(), run.curve(name)));
        let total = Series::smoothed("loss", run.curve("loss"));
        // A lone objective's loss is the total.
        let parts: Vec<_> = if losses.len() > 1 { parts.collect() } else { Vec::new() };
        card("Loss", &[vec![total], parts].concat());
        card("Learning rate", &[Series::new("lr", run.curve("lr"))]);
        card("Samples per second", &[Series::smoothed("samples per second", run.curve("samples_per_second"))]);
        let times = [Series::smoothed("step", run.curve("batch_time")), Series::smoothed("waiting for data", run.curve("data_time"))];
        card("Seconds per step", &times);
        for name in others {
            card(name, &[Series::smoothed(name.as_str(), run.curve(name))]);
        }
    });
}

fn evaluations(html: &mut Html, run: &RunData) {
    for suite in run.suites() {
        let all: Vec<_> = run.results.iter().filter(|one| one.name == suite).collect();
        let Some(last) = all.last().filter(|_| all.len() > 1) else { continue };
        for metric in last.metrics.keys() {
            let points = all.iter().filter_map(|one| Some((one.step as f64, *one.metrics.get(metric)?))).collect();
            let mut series = vec![Series::new(metric.as_str(), points)];
            if let Some(chance) = last.chance.get(metric) {
                let ends = [all[0].step, last.step].map(|step| (step as f64, *chance));
                series.push(Series { dashed: true, ..Series::new("chance", ends.to_vec()) });
            }
            html.el("div", &[("class", &"card")], |html| chart(html, &format!("{suite}: {metric}"), "step", &series));
        }
    }
}

fn classes(html: &mut Html, matrix: &Matrix) {
    let rows = matrix::per_class(matrix);
    let row = |row: &matrix::ClassRow| {
        let mistaken = row.mistaken.as_ref().map_or("–".to_owned(), |(class, count)| format!("{class} ({count})"));
        vec![row.class.clone(), format!("{:.1} %", 100.0 * row.recall), row.samples.to_string(), mistaken]
    };
    let head = ["class", "recognised", "samples", "most often taken for"];
    let shown = if rows.len() > 20 { 10 } else { rows.len().div_ceil(2) };
    html.el("div", &[("class", &"grid")], |html| {
        html.el("div", &[("class", &"card")], |html| {
            html.leaf("h3", &[], "Least recognised");
            html.table(&head, rows.iter().take(shown).map(row));
        });
        html.el("div", &[("class", &"card")], |html| {
            html.leaf("h3", &[], "Best recognised");
            html.table(&head, rows.iter().rev().take(rows.len() - shown.min(rows.len())).take(10).map(row));
        });
    });
    html.leaf("p", &[("class", &"soft")], "Rows are true classes, columns predictions; a cell is the share of its row, in per cent.");
    let count = matrix.classes.len();
    let plain: Vec<usize> = (0..count).collect();
    // Small maps and pictures go side by side; the cells of the others would become too small.
    let class = if count <= 12 || count > super::heat::CELLS { "grid" } else { "stack" };
    html.el("div", &[("class", &class)], |html| {
        html.el("div", &[("class", &"card")], |html| heat_map(html, "Confusion matrix", matrix, &plain));
        if count > 2 {
            html.el("div", &[("class", &"card")], |html| {
                heat_map(html, "Confused classes side by side", matrix, &matrix::clustered(matrix));
            });
        }
    });
}

fn skipped(html: &mut Html, run: &RunData) {
    if run.skipped.is_empty() {
        html.leaf("p", &[], "Every training sample that was read could be used.");
        return;
    }
    html.el("div", &[("class", &"card")], |html| {
        let rows = run.skipped.iter().take(30).map(|(reason, count, first)| vec![reason.clone(), count.to_string(), first.clone()]);
        html.table(&["reason", "samples", "first"], rows);
        if run.skipped.len() > 30 {
            html.leaf("p", &[("class", &"soft")], format!("and {} more reasons, in skipped.jsonl", run.skipped.len() - 30));
        }
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn full() -> RunData {
        let steps = (1..=300)
            .map(|step| {
                let x = f64::from(step);
                json!({"step": step, "loss": 4.0 / (1.0 + x / 60.0) + 0.2 * (x * 1.7).sin(), "lr": 1e-3 * (x / 50.0).min(1.0), "samples_per_second": 900.0 + 40.0 * x.cos(), "data_time": 0.01, "batch_time": 0.07, "metrics": {"logit_scale": 14.3 + x / 100.0}})
            })
            .collect();
        let evaluation = |step: u64, top1: f64| Evaluation {
            name: "zeroshot".into(),
            step,
            metrics: [("top1".to_owned(), top1)].into(),
            chance: [("top1".to_owned(), 0.1)].into(),
            samples: 100,
            notes: vec!["80 prompts".into()],
            ..Evaluation::default()
        };
        RunData {
            name: "first <run>".into(),
            about: vec![("Model".into(), "vit_tiny & friends".into())],
            config: "[train]\nlr = 0.001 # <fast>\n".into(),
            steps,
            results: vec![evaluation(100, 0.3), evaluation(300, 0.52)],
            matrices: vec![(
                "zeroshot".into(),
                Matrix { classes: vec!["a".into(), "b".into(), "c".into()], counts: vec![vec![8, 1, 1], vec![0, 9, 1], vec![4, 0, 6]] },
            )],
            skipped: vec![("truncated JPEG".into(), 3, "a.tar · 0001".into())],
            ..RunData::default()
        }
    }

    #[test]
    fn a_report_shows_everything_and_escapes_it() {
        let page = page(&full());
        for (wanted, why) in [
            ("first &lt;run&gt;", "the name is escaped"),
            ("vit_tiny &amp; friends", "facts of the engine are shown"),
            ("5.2 ×", "results are compared with chance"),
            ("80 prompts", "notes are shown"),
            ("a taken for b: 1 (10.0 %)", "cells have titles"),
            ("Confused classes side by side", "three classes can be ordered"),
            ("truncated JPEG", "unusable samples are listed"),
            ("lr = 0.001 # &lt;fast&gt;", "the configuration is there"),
            ("zeroshot: top1", "two evaluations make a curve"),
            ("logit_scale", "numbers of objectives have curves"),
            ("14.3 % of the time", "waiting for data is measured"),
        ] {
            assert!(page.contains(wanted), "{why}: {wanted}");
        }
        assert!(!page.contains("<run>") && !page.contains("<script") && !page.contains("NaN"));
        assert_eq!(page.matches("<svg").count(), 5 + 1 + 2);
    }

    #[test]
    fn an_empty_run_has_a_report() {
        let page = page(&RunData { name: "empty".into(), ..RunData::default() });
        assert!(page.contains("No step was recorded") && page.contains("Every training sample"));
    }

    #[test]
    fn a_thousand_classes_are_one_picture() {
        let classes: Vec<_> = (0..1000).map(|class| class.to_string()).collect();
        let counts = (0..1000).map(|row| (0..1000).map(|column| u64::from(row == column)).collect()).collect();
        let page = page(&RunData { matrices: vec![("big".into(), Matrix { classes, counts })], ..RunData::default() });
        assert!(page.contains("data:image/png;base64,") && page.len() < 400_000, "{}", page.len());
    }
}
