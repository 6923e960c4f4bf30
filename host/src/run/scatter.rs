//! Models as points: one number against another.

use super::page::Html;
use super::panel::Panel;
use super::svg::{number, px, short, ticks};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 42.0;
/// Distance of two lines of letters.
const LINE: f64 = 13.0;

/// One model.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Its name, written beside it.
    pub name: String,
    /// Across.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// Which of the eight colours it has.
    pub colour: usize,
}

/// A line to hold the points against.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guide {
    /// Its name in the legend.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// Points with their names, and lines behind them; none without points. `across` and `up` are the names of the axes.
pub fn scatter_panel(title: &str, across: &str, up: &str, marks: &[Mark], guides: &[Guide]) -> Option<Panel> {
    let marks: Vec<&Mark> = marks.iter().filter(|mark| mark.x.is_finite() && mark.y.is_finite()).collect();
    if marks.is_empty() {
        return None;
    }
    let range =
        |values: &mut dyn Iterator<Item = f64>| values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let (x_ticks, y_ticks) = (ticks(range(&mut marks.iter().map(|mark| mark.x)), 5), ticks(range(&mut marks.iter().map(|mark| mark.y)), 5));
    let ends = |ticks: &[f64]| (ticks.first().copied().unwrap_or(0.0), ticks.last().copied().unwrap_or(1.0));
    let ((x_low, x_high), (y_low, y_high)) = (ends(&x_ticks), ends(&y_ticks));
    let x = |value: f64| LEFT + (value - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - (value - y_low) / (y_high - y_low) * (HEIGHT - BOTTOM - TOP);
    let mut body = Html::default();
    let html = &mut body;
    for tick in &y_ticks {
        let level = px(y(*tick));
        html.void("line", &[("class", &"gridline"), ("x1", &LEFT), ("x2", &(WIDTH - RIGHT)), ("y1", &level), ("y2", &level)]);
        html.leaf("text", &[("x", &(LEFT - 8.0)), ("y", &px(y(*tick) + 4.0)), ("text-anchor", &"end")], number(*tick));
    }
    for tick in &x_ticks {
        html.leaf("text", &[("x", &px(x(*tick))), ("y", &(HEIGHT - BOTTOM + 17.0)), ("text-anchor", &"middle")], number(*tick));
    }
    html.leaf("text", &[("x", &(WIDTH - RIGHT)), ("y", &(HEIGHT - 6.0)), ("text-anchor", &"end")], across);
    html.leaf("text", &[("x", &4), ("y", &12)], up);
    for (at, guide) in guides.iter().enumerate() {
        draw(html, guide, at, (x_low, x_high), (y_low, y_high), &x, &y);
    }
    for mark in &marks {
        let class = format!("d{}", mark.colour % 8);
        html.el("circle", &[("class", &class), ("cx", &px(x(mark.x))), ("cy", &px(y(mark.y))), ("r", &5)], |html| {
            html.leaf("title", &[], format!("{}\n{across}: {}\n{up}: {}", mark.name, number(mark.x), number(mark.y)));
        });
    }
    names(html, &marks, &x, &y);
    Some(Panel { title: title.to_owned(), size: (WIDTH, HEIGHT + 20.0 * guides.len().div_ceil(2) as f64), body, fills: true })
}

/// A line, cut at the borders of the chart, and its name below.
fn draw(
    html: &mut Html,
    guide: &Guide,
    at: usize,
    (x_low, x_high): (f64, f64),
    (y_low, y_high): (f64, f64),
    x: &impl Fn(f64) -> f64,
    y: &impl Fn(f64) -> f64,
) {
    let inside = |point: &&(f64, f64)| (x_low..=x_high).contains(&point.0) && (y_low..=y_high).contains(&point.1);
    let path: Vec<String> = guide.points.iter().filter(inside).map(|point| format!("{} {}", px(x(point.0)), px(y(point.1)))).collect();
    let class = format!("curve dash s{}", 7 - at % 8);
    if path.len() > 1 {
        html.void("path", &[("class", &class), ("d", &format_args!("M{}", path.join("L")))]);
    }
    let (left, down) = (LEFT + (at % 2) as f64 * 250.0, HEIGHT + 14.0 + (at / 2) as f64 * 20.0);
    html.void("line", &[("class", &class), ("x1", &left), ("x2", &(left + 18.0)), ("y1", &(down - 4.0)), ("y2", &(down - 4.0))]);
    html.leaf("text", &[("class", &"strong"), ("x", &(left + 24.0)), ("y", &down)], short(&guide.name, 36));
}

/// Names beside their points, moved down where they would lie on others.
fn names(html: &mut Html, marks: &[&Mark], x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) {
    let mut order: Vec<&&Mark> = marks.iter().collect();
    order.sort_by(|left, right| y(left.y).total_cmp(&y(right.y)));
    // The points themselves, so that no name lies on another's.
    let mut taken: Vec<(f64, f64, f64)> = marks.iter().map(|mark| (x(mark.x) - 6.0, x(mark.x) + 6.0, y(mark.y) + 4.0)).collect();
    for mark in order {
        let name = short(&mark.name, 26);
        let wide = name.chars().count() as f64 * 6.8;
        let to_left = x(mark.x) + 10.0 + wide > WIDTH - RIGHT;
        let start = if to_left { x(mark.x) - 10.0 - wide } else { x(mark.x) + 10.0 };
        let mut down = y(mark.y) + 4.0;
        while let Some((.., other)) = taken.iter().find(|(from, to, at)| *from < start + wide && start < *to && (at - down).abs() < LINE) {
            down = other + LINE;
        }
        taken.push((start, start + wide, down));
        let (place, anchor) = if to_left { (x(mark.x) - 10.0, "end") } else { (x(mark.x) + 10.0, "start") };
        html.leaf("text", &[("class", &"strong"), ("x", &px(place)), ("y", &px(down)), ("text-anchor", &anchor)], name);
    }
}

/// The points that no other beats in both numbers, from left to right: larger is better in both.
pub fn pareto(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let beaten = |one: &(f64, f64)| points.iter().any(|other| other != one && other.0 >= one.0 && other.1 >= one.1);
    let mut front: Vec<(f64, f64)> = points.iter().copied().filter(|point| !beaten(point)).collect();
    front.sort_by(|left, right| left.0.total_cmp(&right.0));
    front.dedup();
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_points_that_nothing_beats_are_on_the_front() {
        let points = [(1.0, 0.9), (2.0, 0.5), (3.0, 0.7), (3.0, 0.6), (4.0, 0.1), (3.0, 0.7)];
        assert_eq!(pareto(&points), [(1.0, 0.9), (3.0, 0.7), (4.0, 0.1)]);
        assert!(pareto(&[]).is_empty());
    }

    #[test]
    fn names_of_equal_points_do_not_lie_on_each_other() {
        let mark = |name: &str| Mark { name: name.into(), x: 1.0, y: 0.5, colour: 0 };
        let panel = scatter_panel("t", "samples/s", "top1", &[mark("<one>"), mark("two")], &[]).expect("points");
        let text = panel.body.as_str();
        let heights: Vec<&str> =
            text.split("class=\"strong\"").skip(1).filter_map(|rest| rest.split(" y=\"").nth(1)?.split('"').next()).collect();
        assert_eq!(heights.len(), 2);
        assert!(heights[0] != heights[1] && text.contains("&lt;one&gt;") && !text.contains("<one>"), "{heights:?}");
        assert!(scatter_panel("t", "a", "b", &[Mark { x: f64::NAN, ..mark("n") }], &[]).is_none());
    }
}
