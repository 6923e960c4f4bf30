//! `report.html`: one page about one run, that needs no network, and its drawings as files of their own.

mod classes;
mod curves;
mod data;
mod gallery;
mod numbers;

use std::path::{Path, PathBuf};

use vlhub_core::Result;

use super::folder::plain;
use super::heat::{self, data_url};
use super::history::RunData;
use super::page::{Html, document};
use super::robustness::{Baseline, Robustness};
use super::{jsonl, matrix, panel};

/// Charts side by side in `curves.svg`.
const COLUMNS: usize = 2;

/// Writes `report.html` into a run's folder (or that of an evaluation), from the files in it, and its drawings beside it: `curves.svg`, and each
/// confusion matrix as `confusion_matrix/SUITE.svg` and `SUITE.clustered.svg`; all of them as `.png`, too, where the build can. `baseline` is a
/// table of standard models for effective robustness. Returns the page's path.
///
/// # Errors
/// It is not the folder of a run, or a file cannot be read or written.
pub fn write_report(run: &Path, baseline: Option<&Path>) -> Result<PathBuf> {
    let data = RunData::read(run)?;
    let baseline = baseline.map(Baseline::read).transpose()?;
    let path = run.join("report.html");
    jsonl::replace(&path, page(&data, baseline.as_ref()).as_bytes())?;
    let panels = curves::panels(&data);
    if !panels.is_empty() {
        panel::write(&panel::figure(&panels, COLUMNS), &run.join("curves"))?;
    }
    for (suite, matrix) in &data.matrices {
        let folder = run.join("confusion_matrix");
        let stem = plain(suite);
        heat::write(&folder.join(&stem), &format!("{suite}: {}", classes::PLAIN), matrix, &matrix::seen(matrix))?;
        heat::write(
            &folder.join(format!("{stem}.clustered")),
            &format!("{suite}: {}", classes::CLUSTERED),
            matrix,
            &matrix::clustered(matrix),
        )?;
    }
    Ok(path)
}

fn page(run: &RunData, baseline: Option<&Baseline>) -> String {
    document(&run.name, |html| {
        html.leaf("h1", &[], &run.name);
        html.leaf("p", &[("class", &"soft")], format!("VL Hub {} · {}", env!("CARGO_PKG_VERSION"), run.path.display()));
        data::facts(html, run);
        if !run.results.is_empty() {
            html.section("Results", |html| numbers::results(html, &run.finals()));
        }
        if let Some(robustness) = Robustness::of(run, baseline) {
            html.section("Effective robustness", |html| numbers::robustness(html, &robustness));
        }
        if !run.steps.is_empty() || run.path.join("metrics.jsonl").exists() {
            html.section("Training", |html| curves::training(html, run));
        }
        if run.suites().iter().any(|suite| run.results.iter().filter(|one| one.name == *suite).count() > 1) {
            html.section("Evaluation during training", |html| html.el("div", &[("class", &"grid")], |html| curves::evaluations(html, run)));
        }
        let mut room = gallery::ROOM;
        for suite in run.suites() {
            let rows = run.classes.iter().find(|(name, _)| name == suite);
            let matrix = run.matrices.iter().find(|(name, _)| name == suite);
            let examples = run.examples.iter().find(|(name, _)| name == suite);
            if rows.is_none() && examples.is_none() {
                continue;
            }
            let title = if rows.is_some() { format!("Classes of {suite}") } else { format!("Examples of {suite}") };
            html.section(&title, |html| {
                if let Some((_, rows)) = rows {
                    classes::tables(html, suite, rows);
                }
                if let Some((_, examples)) = examples {
                    gallery::show(html, &run.path, examples, &mut room);
                }
                if let Some((_, matrix)) = matrix {
                    classes::maps(html, matrix);
                }
            });
        }
        html.section("Data", |html| data::card(html, run));
        if let Some(png) = &run.batch {
            html.section("First batch", |html| {
                html.leaf("p", &[("class", &"soft")], "The samples of the first step as the model sees them, after augmentation.");
                html.void("img", &[("alt", &"first batch"), ("src", &data_url(png))]);
            });
        }
        html.section("Environment", |html| data::environment(html, run));
        html.section("Configuration", |html| {
            html.el("details", &[], |html| {
                html.leaf("summary", &[], "config.toml, every option resolved");
                html.leaf("pre", &[], &run.config);
            });
        });
    })
}

/// A remark.
fn soft(html: &mut Html, text: impl std::fmt::Display) {
    html.leaf("p", &[("class", &"soft")], text);
}

#[cfg(test)]
mod tests;
