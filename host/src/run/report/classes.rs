//! Class by class: tables and confusion matrices.

use vlhub_core::Matrix;

use super::super::heat::{CELLS, heat_map};
use super::super::matrix;
use super::super::page::Html;
use super::super::results::classes::{ClassRow, ranked};
use super::soft;
use crate::run::folder::plain;

/// Titles of the two orders.
pub const PLAIN: &str = "Confusion matrix";
/// See [`PLAIN`].
pub const CLUSTERED: &str = "Confused classes side by side";
/// Classes in the tables of the worst and of the best.
const SHOWN: usize = 10;
/// Classes in the table of the rest: more would make the page heavy, and are in the file.
const MOST: usize = 2000;

const HEAD: [&str; 7] = ["class", "recall", "precision", "F1", "samples", "predicted", "most often taken for"];

/// The least and the best recognised classes, and the rest on request.
pub fn tables(html: &mut Html, suite: &str, rows: &[ClassRow]) {
    let ranked = ranked(rows);
    let shown = if ranked.len() > 2 * SHOWN { SHOWN } else { ranked.len().div_ceil(2) };
    let best = shown.min(ranked.len() - shown);
    html.el("div", &[("class", &"stack")], |html| {
        html.el("div", &[("class", &"card")], |html| {
            html.leaf("h3", &[], "Least recognised");
            html.table(&HEAD, ranked.iter().take(shown).map(|row| cells(row)));
        });
        if best > 0 {
            html.el("div", &[("class", &"card")], |html| {
                html.leaf("h3", &[], "Best recognised");
                html.table(&HEAD, ranked.iter().rev().take(best).map(|row| cells(row)));
            });
        }
        let rest: Vec<_> = ranked.iter().skip(shown).take(ranked.len() - shown - best).collect();
        if !rest.is_empty() {
            html.el("details", &[], |html| {
                html.leaf("summary", &[], format!("The {} classes between, from the least recognised", rest.len()));
                html.table(&HEAD, rest.iter().take(MOST).map(|row| cells(row)));
                if rest.len() > MOST {
                    soft(html, format!("and {} more, in per_class/{}.csv", rest.len() - MOST, plain(suite)));
                }
            });
        }
    });
    let unseen: Vec<_> = rows.iter().filter(|row| row.recall.is_none()).collect();
    if let Some(first) = unseen.first() {
        soft(html, format!("{} classes have no sample and were predicted all the same, such as {}", unseen.len(), first.class));
    }
}

fn cells(row: &ClassRow) -> Vec<String> {
    let percent = |share: Option<f64>| share.map_or("–".to_owned(), |share| format!("{:.1} %", 100.0 * share));
    let mistaken = row.mistaken.as_ref().map_or("–".to_owned(), |(class, count)| format!("{class} ({count})"));
    let numbers = [row.recall, row.precision, row.f1].map(percent);
    [vec![row.class.clone()], numbers.to_vec(), vec![row.samples.to_string(), percent(Some(row.predicted)), mistaken]].concat()
}

/// The confusion matrix in both orders.
pub fn maps(html: &mut Html, matrix: &Matrix) {
    let seen = matrix::seen(matrix);
    soft(html, "Rows are true classes, columns predictions; a cell is the share of its row, in per cent.");
    let count = seen.len();
    // Small maps and pictures go side by side; the cells of the others would become too small.
    let class = if count <= 12 || count > CELLS { "grid" } else { "stack" };
    html.el("div", &[("class", &class)], |html| {
        html.el("div", &[("class", &"card")], |html| heat_map(html, PLAIN, matrix, &seen));
        if count > 2 {
            html.el("div", &[("class", &"card")], |html| heat_map(html, CLUSTERED, matrix, &matrix::clustered(matrix)));
        }
    });
}
