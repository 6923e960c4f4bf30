//! Facts of a run: at a glance, about its data, and about where it ran.

use super::super::history::RunData;
use super::super::page::Html;
use super::soft;

/// Facts that describe where numbers were made.
const OF_ENVIRONMENT: [&str; 5] = ["device", "version", "cpu", "memory", "system"];
/// Facts that describe the data.
const OF_DATA: [&str; 1] = ["data"];
/// Reasons that the table of unusable samples names.
const REASONS: usize = 30;

/// What a reader wants to know first.
pub fn facts(html: &mut Html, run: &RunData) {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let computed = [
        ("steps", (!run.steps.is_empty()).then(|| run.last_step().to_string())),
        ("samples per second", run.rate().map(|rate| format!("{rate:.1} (median)"))),
        ("waiting for data", run.waiting().map(|share| format!("{} of the time", percent(share)))),
        ("final loss", run.final_loss().map(|loss| format!("{loss:.4} (last tenth)"))),
        ("unusable samples", (!run.steps.is_empty()).then(|| unusable(run).to_string())),
    ];
    let known = |name: &str| run.about.iter().any(|(fact, _)| fact.eq_ignore_ascii_case(name));
    let about = run.about.iter().filter(|(name, _)| !OF_ENVIRONMENT.contains(&name.as_str())).cloned();
    let computed = computed.into_iter().filter(|(name, _)| !known(name)).filter_map(|(name, value)| Some((name.to_owned(), value?)));
    html.el("section", &[("class", &"card")], |html| list(html, about.chain(computed)));
}

/// What is known of the data: of training, and of each suite.
pub fn card(html: &mut Html, run: &RunData) {
    let about = run.about.iter().filter(|(name, _)| OF_DATA.contains(&name.as_str()));
    let options = run.options.iter().filter_map(|(key, value)| Some((key.strip_prefix("data.train.")?.to_owned(), value.clone())));
    html.el("div", &[("class", &"card")], |html| {
        html.leaf("h3", &[], "Training");
        let rows: Vec<_> = about.cloned().chain(options).map(|(name, value)| vec![name, value]).collect();
        if rows.is_empty() {
            soft(html, "Nothing is known of it.");
        } else {
            html.table(&[], rows);
        }
        if !run.steps.is_empty() {
            skipped(html, run);
        }
    });
    let finals = run.finals();
    if finals.is_empty() {
        return;
    }
    html.el("div", &[("class", &"card")], |html| {
        html.leaf("h3", &[], "Suites");
        let rows = finals.iter().map(|one| {
            let under = format!("eval.{}.", one.name);
            let told = |(key, value): (&String, &String)| Some(format!("{} = {value}", key.strip_prefix(&under)?));
            let options: Vec<String> = run.options.iter().filter_map(told).collect();
            let first = one.skipped.first().cloned().unwrap_or_else(|| "–".into());
            vec![one.name.clone(), one.samples.to_string(), one.skipped.len().to_string(), first, options.join(", ")]
        });
        html.table(&["suite", "samples", "not used", "first of these", "options"], rows);
    });
}

/// Where it ran.
pub fn environment(html: &mut Html, run: &RunData) {
    let known = OF_ENVIRONMENT.iter().filter_map(|name| run.about.iter().find(|(fact, _)| fact == name).cloned());
    let known: Vec<_> = known.collect();
    if known.is_empty() {
        soft(html, "Nothing is known of it.");
        return;
    }
    html.el("div", &[("class", &"card")], |html| list(html, known));
}

fn list(html: &mut Html, facts: impl IntoIterator<Item = (String, String)>) {
    html.el("dl", &[("class", &"facts")], |html| {
        for (name, value) in facts {
            html.el("div", &[], |html| {
                html.leaf("dt", &[], name);
                html.leaf("dd", &[], value);
            });
        }
    });
}

fn unusable(run: &RunData) -> u64 {
    run.skipped.iter().map(|(_, count, _)| count).sum()
}

fn skipped(html: &mut Html, run: &RunData) {
    html.leaf("h3", &[("class", &"after")], "Samples that could not be used");
    if run.skipped.is_empty() {
        html.leaf("p", &[], "Every training sample that was read could be used.");
        return;
    }
    let rows = run.skipped.iter().take(REASONS).map(|(reason, count, first)| vec![reason.clone(), count.to_string(), first.clone()]);
    html.table(&["reason", "samples", "first"], rows);
    if run.skipped.len() > REASONS {
        soft(html, format!("and {} more reasons, in skipped.jsonl", run.skipped.len() - REASONS));
    }
}
