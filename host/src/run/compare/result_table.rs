//! What a suite found, for the console.

use vlhub_core::Report;

use super::super::console::digits;
use super::super::svg::number;
use super::formats::text_table;

/// Samples that were not used of which the console tells.
const SHOWN: usize = 5;

/// What a suite found, as a table for the console.
pub fn result_table(suite: &str, report: &Report) -> String {
    let rows = report.metrics.iter().map(|metric| {
        let chance = metric.chance.map_or(String::new(), |chance| format!("chance {}", number(chance)));
        let interval = metric.interval.map_or(String::new(), |[low, high]| format!("{} to {}", number(low), number(high)));
        vec![metric.name.clone(), digits(metric.value), interval, chance]
    });
    let count = format!("{} samples, {} not used", report.samples, report.skipped.len());
    let notes: String = report.notes.iter().map(|note| format!(" {note}\n")).collect();
    let mut skipped: String = report.skipped.iter().take(SHOWN).map(|line| format!(" not used: {line}\n")).collect();
    if report.skipped.len() > SHOWN {
        skipped += &format!(" and {} more; `--json` lists them all\n", report.skipped.len() - SHOWN);
    }
    format!(
        "{}\n{notes}{skipped}",
        text_table(
            vec![
                suite.to_owned(),
                String::new(),
                if report.metrics.iter().any(|metric| metric.interval.is_some()) { "95 % interval" } else { "" }.to_owned(),
                count
            ],
            rows.collect()
        )
    )
}
