//! Curves over the steps: of training, and of what suites found on the way.

use super::super::history::RunData;
use super::super::page::Html;
use super::super::panel::Panel;
use super::super::svg::{Series, chart, chart_panel};
use super::soft;

/// A chart before it is drawn.
struct Curves {
    title: String,
    series: Vec<Series>,
}

/// The charts of a training run.
fn of_training(run: &RunData) -> Vec<Curves> {
    let metrics = run.metrics();
    let (losses, others): (Vec<_>, Vec<_>) = metrics.iter().partition(|name| name.ends_with("loss"));
    let smoothed = |label: &str, name: &str| Series::smoothed(label, run.curve(name));
    // A lone objective's loss is the total.
    let parts = losses.iter().filter(|_| losses.len() > 1).map(|name| smoothed(name, name));
    let chart = |title: &str, series: Vec<Series>| Curves { title: title.to_owned(), series };
    let mut charts = vec![
        chart("Loss", std::iter::once(smoothed("loss", "loss")).chain(parts).collect()),
        chart("Learning rate", vec![Series::new("lr", run.curve("lr"))]),
        chart("Samples per second", vec![smoothed("samples per second", "samples_per_second")]),
        chart("Seconds per step", vec![smoothed("step", "batch_time"), smoothed("waiting for data", "data_time")]),
    ];
    charts.extend(others.into_iter().map(|name| chart(name, vec![smoothed(name, name)])));
    charts
}

/// The charts of suites that ran more than once.
fn of_suites(run: &RunData) -> Vec<Curves> {
    let mut charts = Vec::new();
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
            charts.push(Curves { title: format!("{suite}: {metric}"), series });
        }
    }
    charts
}

/// All of them, for a file.
pub fn panels(run: &RunData) -> Vec<Panel> {
    let all = of_training(run).into_iter().chain(of_suites(run));
    all.filter_map(|one| chart_panel(&one.title, "step", &one.series)).collect()
}

/// Puts the curves of training into a page.
pub fn training(html: &mut Html, run: &RunData) {
    if run.steps.is_empty() {
        soft(html, "No step was recorded.");
        return;
    }
    html.el("div", &[("class", &"grid")], |html| cards(html, &of_training(run)));
}

/// Puts the curves of suites into a page.
pub fn evaluations(html: &mut Html, run: &RunData) {
    cards(html, &of_suites(run));
}

fn cards(html: &mut Html, charts: &[Curves]) {
    for one in charts {
        html.el("div", &[("class", &"card")], |html| chart(html, &one.title, "step", &one.series));
    }
}
