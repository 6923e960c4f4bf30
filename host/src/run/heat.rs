//! Confusion matrices as heat maps: cells with titles for few classes, one picture for many.

use std::fmt::Display;
use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, Rgba, RgbaImage};
use vlhub_core::Matrix;

use super::page::Html;
use super::svg::{px, short};

/// Up to as many classes every cell is an element with a title.
pub(super) const CELLS: usize = 48;
/// Up to as many classes the cells show their share.
const NUMBERS: usize = 14;

/// Draws the shares of each true class (rows) that were predicted as each class (columns), with the classes in `order`.
pub fn heat_map(html: &mut Html, title: &str, matrix: &Matrix, order: &[usize]) {
    html.leaf("h3", &[], title);
    let classes = order.len();
    let share = |row: usize, column: usize| {
        let samples = matrix.counts[order[row]].iter().sum::<u64>();
        if samples == 0 { 0.0 } else { matrix.counts[order[row]][order[column]] as f64 / samples as f64 }
    };
    if classes > CELLS {
        picture(html, title, classes, share);
        return;
    }
    let name = |at: usize| short(&matrix.classes[order[at]], 20);
    let letters = (0..classes).map(|at| name(at).chars().count()).max().unwrap_or(0) as f64;
    let label = 14.0 + letters * 6.6;
    let cell = (500.0 / classes as f64).clamp(12.0, 46.0);
    // The names of the columns are slanted, and lean out to the right.
    let (side, slope) = (cell * classes as f64, label * 0.72);
    let (wide, high) = (label + side + slope, slope + side + 8.0);
    let style = format!("max-width:{wide:.0}px");
    let size = format!("0 0 {} {}", px(wide), px(high));
    html.el("svg", &[("viewBox", &size), ("style", &style), ("role", &"img"), ("aria-label", &title)], |html| {
        for at in 0..classes {
            let middle = (at as f64 + 0.5) * cell;
            let (x, y) = (px(label - 8.0), px(slope + middle + 4.0));
            html.leaf("text", &[("x", &x), ("y", &y), ("text-anchor", &"end")], name(at));
            let (x, y) = (px(label + middle + 2.0), px(slope - 6.0));
            let turn = format!("rotate(-45 {x} {y})");
            html.leaf("text", &[("x", &x), ("y", &y), ("transform", &turn)], name(at));
        }
        let frame: [(&str, &dyn Display); 5] =
            [("class", &"frame"), ("x", &px(label)), ("y", &px(slope)), ("width", &px(side)), ("height", &px(side))];
        html.void("rect", &frame);
        for row in 0..classes {
            for column in 0..classes {
                let count = matrix.counts[order[row]][order[column]];
                if count == 0 {
                    continue;
                }
                let share = share(row, column);
                let (x, y) = (label + column as f64 * cell, slope + row as f64 * cell);
                let about =
                    format!("{} taken for {}: {count} ({:.1} %)", matrix.classes[order[row]], matrix.classes[order[column]], 100.0 * share);
                html.el(
                    "rect",
                    &[
                        ("class", &"cell"),
                        ("x", &px(x + 0.5)),
                        ("y", &px(y + 0.5)),
                        ("width", &px(cell - 1.0)),
                        ("height", &px(cell - 1.0)),
                        ("fill-opacity", &format_args!("{:.3}", opacity(share))),
                    ],
                    |html| html.leaf("title", &[], about),
                );
                if classes <= NUMBERS {
                    let class = if opacity(share) > 0.55 { "on" } else { "strong" };
                    let (x, y) = (px(x + cell / 2.0), px(y + cell / 2.0 + 4.0));
                    let place: [(&str, &dyn Display); 5] =
                        [("class", &class), ("x", &x), ("y", &y), ("text-anchor", &"middle"), ("pointer-events", &"none")];
                    html.leaf("text", &place, format!("{:.0}", 100.0 * share));
                }
            }
        }
    });
}

/// Small shares must be told from none.
fn opacity(share: f64) -> f64 {
    if share > 0.0 { 0.06 + 0.94 * share.min(1.0).powf(0.7) } else { 0.0 }
}

fn picture(html: &mut Html, title: &str, classes: usize, share: impl Fn(usize, usize) -> f64) {
    let side = u32::try_from(classes).unwrap_or(u32::MAX);
    // One colour that is legible on light and dark paper; the share is its opacity.
    let picture = RgbaImage::from_fn(side, side, |x, y| Rgba([64, 128, 240, (255.0 * opacity(share(y as usize, x as usize))) as u8]));
    let mut png = Vec::new();
    if picture.write_to(&mut Cursor::new(&mut png), ImageFormat::Png).is_err() {
        html.leaf("p", &[("class", &"soft")], "the picture could not be encoded");
        return;
    }
    let data = format!("data:image/png;base64,{}", STANDARD.encode(png));
    html.void("img", &[("src", &data), ("alt", &title), ("style", &"width:100%;max-width:640px;image-rendering:pixelated")]);
}
