//! Confusion matrices as heat maps: cells with titles for few classes, one picture for many.

use std::fmt::Display;
use std::io::Cursor;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use vlhub_core::{Error, Matrix, Result};

use super::jsonl;
use super::page::Html;
use super::panel::{self, Panel, with_end};
use super::svg::{px, short};

/// Up to as many classes every cell is an element with a title.
pub(super) const CELLS: usize = 48;
/// Cells of a row that a picture on a page has at most.
const MOST_PIXELS: usize = 500;
/// Up to as many classes the cells show their share.
const NUMBERS: usize = 14;

/// Puts the shares of each true class (rows) that were predicted as each class (columns) into a page, with the classes in `order`.
pub fn heat_map(html: &mut Html, title: &str, matrix: &Matrix, order: &[usize]) {
    if let Some(panel) = heat_panel(title, matrix, order) {
        panel.show(html);
        return;
    }
    html.leaf("h3", &[], title);
    match picture(matrix, order, MOST_PIXELS) {
        Ok(png) => html.void("img", &[("src", &data_url(&png)), ("alt", &title), ("class", &"heat")]),
        Err(_) => html.leaf("p", &[("class", &"soft")], "the picture could not be encoded"),
    }
}

/// Writes the same as `STEM.svg` and `STEM.png`. With many classes both are one picture without names, a pixel or more for each cell.
///
/// # Errors
/// The file and why it cannot be written.
pub fn write(path: &Path, title: &str, matrix: &Matrix, order: &[usize]) -> Result<()> {
    if let Some(panel) = heat_panel(title, matrix, order) {
        return panel::write(&panel::figure(&[panel], 1), path);
    }
    let fail = |error: image::ImageError| Error::invalid(format!("{}: {error}", path.display()));
    let png = picture(matrix, order, usize::MAX).map_err(fail)?;
    let side = order.len().max(800) as f64;
    let mut body = Html::default();
    let (wide, data) = (px(side), data_url(&png));
    let place: [(&str, &dyn Display); 4] = [("width", &wide), ("height", &wide), ("href", &data), ("style", &"image-rendering:pixelated")];
    body.void("image", &place);
    let svg = panel::figure(&[Panel { title: title.to_owned(), size: (side, side), body, fills: false }], 1);
    jsonl::replace(&with_end(path, "svg"), svg.as_bytes())?;
    // On white paper, as wide as can be looked at.
    let cells = image::load_from_memory(&png).map_err(fail)?.to_rgba8();
    let times = (800 / order.len().max(1)).max(1) as u32;
    let paper = RgbImage::from_fn(cells.width() * times, cells.height() * times, |x, y| {
        let Rgba([red, green, blue, alpha]) = *cells.get_pixel(x / times, y / times);
        Rgb([red, green, blue].map(|value| (255.0 - f64::from(alpha) / 255.0 * (255.0 - f64::from(value))).round() as u8))
    });
    let mut bytes = Vec::new();
    paper.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).map_err(fail)?;
    jsonl::replace(&with_end(path, "png"), &bytes)
}

/// The share of a row's samples that is in a column.
fn share(matrix: &Matrix, row: usize, column: usize) -> f64 {
    let samples = matrix.counts[row].iter().sum::<u64>();
    if samples == 0 { 0.0 } else { matrix.counts[row][column] as f64 / samples as f64 }
}

/// The map as elements; none with more classes than can have names.
fn heat_panel(title: &str, matrix: &Matrix, order: &[usize]) -> Option<Panel> {
    let classes = order.len();
    if classes > CELLS {
        return None;
    }
    let name = |at: usize| short(&matrix.classes[order[at]], 20);
    let letters = (0..classes).map(|at| name(at).chars().count()).max().unwrap_or(0) as f64;
    let label = 14.0 + letters * 6.6;
    let cell = (500.0 / classes as f64).clamp(12.0, 46.0);
    // The names of the columns are slanted, and lean out to the right.
    let (side, slope) = (cell * classes as f64, label * 0.72);
    let (wide, high) = (label + side + slope, slope + side + 8.0);
    let mut body = Html::default();
    let html = &mut body;
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
            let share = share(matrix, order[row], order[column]);
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
    Some(Panel { title: title.to_owned(), size: (wide, high), body, fills: false })
}

/// Small shares must be told from none.
fn opacity(share: f64) -> f64 {
    if share > 0.0 { 0.06 + 0.94 * share.min(1.0).powf(0.7) } else { 0.0 }
}

/// One pixel for each cell, or the largest share of several cells where there are more than `most` in a row.
fn picture(matrix: &Matrix, order: &[usize], most: usize) -> image::ImageResult<Vec<u8>> {
    let several = order.len().div_ceil(most.max(1)).max(1);
    let side = order.len().div_ceil(several);
    let sums: Vec<u64> = matrix.counts.iter().map(|row| row.iter().sum()).collect();
    // One colour that is legible on light and dark paper; the share is its opacity.
    let mut cells = RgbaImage::from_pixel(side as u32, side as u32, Rgba([64, 128, 240, 0]));
    for (down, row) in order.iter().enumerate() {
        for (across, column) in order.iter().enumerate() {
            let count = matrix.counts[*row][*column];
            if count > 0 {
                let seen = (255.0 * opacity(count as f64 / sums[*row] as f64)) as u8;
                let pixel = cells.get_pixel_mut((across / several) as u32, (down / several) as u32);
                pixel.0[3] = pixel.0[3].max(seen);
            }
        }
    }
    let mut png = Vec::new();
    cells.write_to(&mut Cursor::new(&mut png), ImageFormat::Png)?;
    Ok(png)
}

/// A picture as part of a page.
pub fn data_url(bytes: &[u8]) -> String {
    let kind = if bytes.starts_with(&[0xff, 0xd8]) { "jpeg" } else { "png" };
    format!("data:image/{kind};base64,{}", STANDARD.encode(bytes))
}
