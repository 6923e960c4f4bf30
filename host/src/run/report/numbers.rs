//! What suites found.

use super::super::console::digits;
use super::super::history::Evaluation;
use super::super::page::Html;
use super::super::robustness::Robustness;
use super::super::svg::number;
use super::soft;

/// The last numbers of each suite, with their intervals and what guessing would get.
pub fn results(html: &mut Html, finals: &[&Evaluation]) {
    let dash = || "–".to_owned();
    let rows = finals.iter().flat_map(|one| {
        one.metrics.iter().map(move |(metric, value)| {
            let chance = one.chance.get(metric).copied();
            let times = chance.filter(|chance| *chance > 0.0).map(|chance| format!("{:.1} ×", value / chance));
            let interval = one.interval.get(metric).map(|[low, high]| format!("{} to {}", number(*low), number(*high)));
            vec![
                one.name.clone(),
                metric.clone(),
                digits(*value),
                interval.unwrap_or_else(dash),
                chance.map_or_else(dash, number),
                times.unwrap_or_else(dash),
                one.samples.to_string(),
                one.skipped.len().to_string(),
                if one.step > 0 { one.step.to_string() } else { dash() },
                if one.weights.is_empty() { dash() } else { one.weights.clone() },
            ]
        })
    });
    let head = ["suite", "metric", "value", "95 % interval", "chance", "value / chance", "samples", "skipped", "at step", "weights"];
    html.el("div", &[("class", &"card")], |html| {
        html.table(&head, rows);
        if finals.iter().any(|one| !one.interval.is_empty()) {
            soft(html, "Intervals: the samples were drawn anew 1,000 times (percentile bootstrap). They tell nothing about another seed of training.");
        }
        for one in finals {
            for note in &one.notes {
                soft(html, format!("{}: {note}", one.name));
            }
        }
    });
}

/// Accuracy on ImageNet's distribution shifts.
pub fn robustness(html: &mut Html, found: &Robustness) {
    let dash = || "–".to_owned();
    let first = vec!["imagenet".to_owned(), digits(found.imagenet), dash()];
    let shifts = found.shifts.iter().map(|shift| {
        let above = shift.above_line.map_or_else(dash, |above| format!("{above:+.4}"));
        vec![shift.name.clone(), digits(shift.top1), above]
    });
    let average = found.average.map(|average| vec!["average of imagenet_r, _a, _sketch, _v2".to_owned(), digits(average), dash()]);
    let ratio = found.ratio.map(|ratio| vec!["ratio: average / imagenet".to_owned(), digits(ratio), dash()]);
    html.el("div", &[("class", &"card")], |html| {
        html.table(&["suite", "top1", "above the line"], std::iter::once(first).chain(shifts).chain(average).chain(ratio));
        for about in Robustness::ABOUT {
            soft(html, about);
        }
        if found.shifts.iter().all(|shift| shift.above_line.is_none()) {
            soft(html, "No line: `--baseline FILE.csv` names a table of standard models.");
        }
    });
}
