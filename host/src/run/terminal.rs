//! A run in a terminal: its loss curve and its results as block characters.

use std::path::Path;

use vlhub_core::Result;

use super::history::{Evaluation, RunData};

/// Rows of the loss curve.
const ROWS: usize = 8;
/// Characters in front of the curve: a label and the axis.
const LABEL: usize = 9;
/// Characters of the curve at most, so that it stays a picture on a wide terminal.
const COLUMNS: usize = 72;
/// Characters of a bar of 100 %.
const BAR: usize = 25;
/// From empty to full, in eighths of a character: upwards and to the right.
const UPWARDS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const RIGHTWARDS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// The loss curve of the run in folder `run` and a bar for `top1` or the first share among the results of each suite, in lines of at most `width`
/// characters (at least 40). Empty for a run of which nothing was recorded.
///
/// # Errors
/// It is not the folder of a run, or one of its files cannot be read.
pub fn picture(run: &Path, width: usize) -> Result<String> {
    Ok(draw(&RunData::read(run)?, width))
}

fn draw(run: &RunData, width: usize) -> String {
    let finals = run.finals();
    let bars: Vec<String> = finals.iter().filter_map(|suite| bar(suite, width)).collect();
    let parts = [curve(&run.curve("loss"), width), bars.join("\n")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The loss as columns of equal numbers of steps, each as high as its mean; from 0 where no loss is negative.
fn curve(points: &[(f64, f64)], width: usize) -> String {
    let points: Vec<(f64, f64)> = points.iter().copied().filter(|(_, loss)| loss.is_finite()).collect();
    let columns = width.saturating_sub(LABEL).min(COLUMNS).min(points.len());
    let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) else { return String::new() };
    let column = |at: usize| {
        let part = &points[at * points.len() / columns..(at + 1) * points.len() / columns];
        part.iter().map(|(_, loss)| loss).sum::<f64>() / part.len() as f64
    };
    let means: Vec<f64> = (0..columns).map(column).collect();
    let highest = means.iter().copied().fold(f64::MIN, f64::max);
    let base = means.iter().copied().fold(0.0, f64::min);
    // Losses that are all 0 stay on the ground.
    let span = if highest > base { highest - base } else { 1.0 };
    let eighths = |mean: &f64| ((mean - base) / span * (8 * ROWS) as f64).round() as usize;
    let heights: Vec<usize> = means.iter().map(eighths).collect();
    let mut lines = vec![format!("loss, steps {first:.0} to {last:.0}")];
    for row in (0..ROWS).rev() {
        let label = match row {
            0 => number(base),
            row if row == ROWS - 1 => number(base + span),
            _ => String::new(),
        };
        let cells: String = heights.iter().map(|height| UPWARDS[height.saturating_sub(8 * row).min(8)]).collect();
        lines.push(format!("{label:>7} │{cells}").trim_end().to_owned());
    }
    lines.join("\n")
}

/// `top1` of a suite, or its first result that is a share with a known chance, as a bar.
fn bar(suite: &Evaluation, width: usize) -> Option<String> {
    let is_share = |value: f64| (0.0..=1.0).contains(&value);
    let with_chance = suite.metrics.iter().filter_map(|(metric, value)| Some((metric.as_str(), *value, *suite.chance.get(metric)?)));
    let shares: Vec<(&str, f64, f64)> =
        with_chance.filter(|(_, value, chance)| is_share(*value) && is_share(*chance) && *chance < 1.0).collect();
    let (metric, value, chance) = shares.iter().find(|(metric, ..)| *metric == "top1").or(shares.first()).copied()?;
    let filled = (value * (8 * BAR) as f64).round() as usize;
    let cells: String = (0..BAR).map(|at| RIGHTWARDS[filled.saturating_sub(8 * at).min(8)]).collect();
    let said = format!("{:>5.1} % (chance {:.1} %)", 100.0 * value, 100.0 * chance);
    let name = format!("{} {metric}", suite.name);
    let line = format!("{name:<28} ▕{cells}▏{said}");
    Some(if line.chars().count() <= width { line } else { format!("{name}: {}", said.trim_start()) })
}

/// A label of the axis in at most 7 characters.
fn number(value: f64) -> String {
    if value.abs() < 1000.0 { format!("{value:.2}") } else { format!("{value:.0e}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(losses: &[f64]) -> RunData {
        let steps = losses.iter().enumerate().map(|(at, loss)| json!({"step": at + 1, "loss": loss})).collect();
        RunData { steps, ..RunData::default() }
    }

    /// Heights of the columns of a drawn curve, in eighths of a row.
    fn heights(picture: &str) -> Vec<usize> {
        let rows: Vec<Vec<char>> = picture.lines().filter_map(|line| Some(line.split_once('│')?.1.chars().collect())).collect();
        assert_eq!(rows.len(), ROWS, "{picture}");
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &Vec<char>, at: usize| row.get(at).and_then(|cell| UPWARDS.iter().position(|known| known == cell)).unwrap_or(0);
        (0..columns).map(|at| rows.iter().map(|row| cell(row, at)).sum()).collect()
    }

    #[test]
    fn columns_are_as_high_as_the_means_of_their_steps() {
        let picture = draw(&run(&[4.0, 2.0, 1.0, 0.0]), 80);
        assert_eq!(heights(&picture), [64, 32, 16], "the last loss, 0, is on the ground\n{picture}");
        assert!(picture.starts_with("loss, steps 1 to 4\n   4.00 │█"), "{picture}");
        assert!(picture.lines().last().is_some_and(|line| line.starts_with("   0.00 │███")), "{picture}");

        let many: Vec<f64> = (0..630).map(|step| f64::from(630 - step)).collect();
        let picture = draw(&run(&many), 72);
        assert!(picture.lines().all(|line| line.chars().count() <= 72), "{picture}");
        let heights = heights(&picture);
        // 63 columns of ten steps: the first mean is 625.5, the last 5.5, which is half an eighth.
        assert!(heights.len() >= 62 && heights[0] == 64 && heights[31] == 32, "{heights:?}");
    }

    #[test]
    fn negative_and_odd_losses_are_drawn_from_their_least() {
        assert_eq!(heights(&draw(&run(&[1.0, -1.0, f64::NAN]), 80)), [64], "a loss that is not finite has no column");
        assert!(draw(&run(&[-3.0, -1.0]), 80).contains("-3.00 │"), "below 0 the axis begins at the least");
        assert_eq!(heights(&draw(&run(&[0.0, 0.0]), 80)), [0usize; 0], "all on the ground");
        assert_eq!(draw(&RunData::default(), 80), "");
    }

    #[test]
    fn bars_show_shares_and_chance() {
        let suite = |metric: &str, value: f64, chance: f64| Evaluation {
            name: "unseen".into(),
            metrics: [(metric.to_owned(), value)].into(),
            chance: [(metric.to_owned(), chance)].into(),
            ..Evaluation::default()
        };
        let data = RunData { results: vec![suite("top1", 0.5, 0.042)], ..RunData::default() };
        let picture = draw(&data, 80);
        assert!(picture.contains(" 50.0 % (chance 4.2 %)") && picture.matches('█').count() == 12, "{picture}");
        assert_eq!(draw(&data, 40), "unseen top1: 50.0 % (chance 4.2 %)", "a narrow terminal has no room for a bar");
        assert!(bar(&suite("mean_rank", 1.0, 256.5), 80).is_none(), "a rank is no share");
        let mut both = suite("mean_per_class_recall", 0.25, 0.042);
        both.metrics.insert("top1".into(), 0.5);
        both.chance.insert("top1".into(), 0.042);
        assert!(bar(&both, 40).is_some_and(|line| line.starts_with("unseen top1: 50.0 %")), "what a suite is best known by");
    }
}
