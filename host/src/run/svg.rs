//! Line charts as inline SVG, with values that appear under the pointer.

use std::fmt::Write as _;

use super::page::Html;
use super::panel::Panel;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 256.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 34.0;
/// Points that a curve keeps at most: more than that is finer than a pixel.
const MOST_POINTS: usize = 500;

/// One curve.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
    /// The noisy points that it smooths.
    pub raw: Vec<(f64, f64)>,
    /// A reference, such as chance.
    pub dashed: bool,
}

impl Series {
    /// A plain curve.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points: finite(points), ..Self::default() }
    }
    /// A noisy curve and its exponential mean over about a fortieth of its length.
    pub fn smoothed(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        let raw = finite(points);
        let keep = 1.0 - 1.0 / (raw.len() as f64 / 40.0).max(1.0);
        let (mut mean, mut weight) = (0.0, 0.0);
        let points = raw
            .iter()
            .map(|&(x, y)| {
                mean = keep * mean + (1.0 - keep) * y;
                weight = keep * weight + (1.0 - keep);
                (x, mean / weight)
            })
            .collect();
        Self { name: name.into(), points, raw, dashed: false }
    }
}

fn finite(mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    points.retain(|(x, y)| x.is_finite() && y.is_finite());
    points
}

/// Puts a chart of one or more curves over steps or epochs into a page. Writes a remark when there is nothing to draw.
pub fn chart(html: &mut Html, title: &str, across: &str, series: &[Series]) {
    match chart_panel(title, across, series) {
        Some(panel) => panel.show(html),
        None => {
            html.leaf("h3", &[], title);
            html.leaf("p", &[("class", &"soft")], "nothing was recorded");
        }
    }
}

/// A chart of one or more curves over steps or epochs; none without points.
pub fn chart_panel(title: &str, across: &str, series: &[Series]) -> Option<Panel> {
    let every = || series.iter().flat_map(|one| one.points.iter().chain(&one.raw));
    every().next()?;
    let range =
        |of: fn(&(f64, f64)) -> f64| every().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let across_range = range(|point| point.0);
    let (x_low, x_high) = if across_range.0 < across_range.1 { across_range } else { (across_range.0 - 0.5, across_range.1 + 0.5) };
    let ups = ticks(range(|point| point.1), 5);
    let (y_low, y_high) = (ups.first().copied().unwrap_or(0.0), ups.last().copied().unwrap_or(1.0));
    let legend = if series.len() > 1 { 20.0 * series.len().div_ceil(2) as f64 } else { 0.0 };
    let x = |value: f64| LEFT + (value - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - (value - y_low) / (y_high - y_low) * (HEIGHT - BOTTOM - TOP);
    let mut body = Html::default();
    let html = &mut body;
    for up in &ups {
        html.void("line", &[("class", &"gridline"), ("x1", &LEFT), ("x2", &(WIDTH - RIGHT)), ("y1", &px(y(*up))), ("y2", &px(y(*up)))]);
        html.leaf("text", &[("x", &(LEFT - 8.0)), ("y", &px(y(*up) + 4.0)), ("text-anchor", &"end")], number(*up));
    }
    for tick in ticks((x_low, x_high), 6).into_iter().filter(|tick| (x_low..=x_high).contains(tick)) {
        html.leaf("text", &[("x", &px(x(tick))), ("y", &(HEIGHT - BOTTOM + 17.0)), ("text-anchor", &"middle")], number(tick));
    }
    html.leaf("text", &[("x", &(WIDTH - RIGHT)), ("y", &(HEIGHT - 3.0)), ("text-anchor", &"end")], across);
    let path = |points: &[(f64, f64)]| {
        points.iter().enumerate().fold(String::new(), |mut path, (at, &(across, up))| {
            write!(path, "{}{} {}", if at == 0 { "M" } else { "L" }, px(x(across)), px(y(up))).ok();
            path
        })
    };
    for (at, one) in series.iter().enumerate() {
        let colour = at % 8;
        if one.raw.len() > 1 {
            html.void("path", &[("class", &format_args!("curve faint s{colour}")), ("d", &path(&extremes(&one.raw)))]);
        }
        let dash = if one.dashed { " dash" } else { "" };
        html.void("path", &[("class", &format_args!("curve s{colour}{dash}")), ("d", &path(&thinned(&one.points)))]);
        if one.points.len() <= 12 && !one.dashed {
            for &(across, up) in &one.points {
                html.void("circle", &[("class", &format_args!("d{colour}")), ("cx", &px(x(across))), ("cy", &px(y(up))), ("r", &3)]);
            }
        }
        if legend > 0.0 {
            let (left, down) = (LEFT + (at % 2) as f64 * 250.0, HEIGHT + 14.0 + (at / 2) as f64 * 20.0);
            let class = format!("curve s{colour}{dash}");
            html.void("line", &[("class", &class), ("x1", &left), ("x2", &(left + 18.0)), ("y1", &(down - 4.0)), ("y2", &(down - 4.0))]);
            html.leaf("text", &[("class", &"strong"), ("x", &(left + 24.0)), ("y", &down)], short(&one.name, 22));
        }
    }
    hover(html, series, across, (x_low, x_high), x);
    Some(Panel { title: title.to_owned(), size: (WIDTH, HEIGHT + legend), body, fills: true })
}

/// Strips over the chart, each with the values below it as its title.
fn hover(html: &mut Html, series: &[Series], across: &str, (low, high): (f64, f64), x: impl Fn(f64) -> f64) {
    let Some(longest) = series.iter().filter(|one| !one.dashed).max_by_key(|one| one.points.len()) else { return };
    let strips = longest.points.len().clamp(1, 80);
    let width = (high - low) / strips as f64;
    for strip in 0..strips {
        let left = low + strip as f64 * width;
        let middle = left + width / 2.0;
        let nearest = |points: &[(f64, f64)]| points.iter().copied().min_by(|a, b| (a.0 - middle).abs().total_cmp(&(b.0 - middle).abs()));
        let Some((at, _)) = nearest(&longest.points) else { continue };
        let mut title = format!("{across} {}", number(at));
        for one in series {
            if let Some((_, up)) = nearest(&one.points) {
                write!(title, "\n{}: {}", one.name, super::console::digits(up)).ok();
            }
        }
        let (start, end) = (x(left), x(left + width));
        let height = HEIGHT - BOTTOM - TOP;
        html.el("rect", &[("class", &"hit"), ("x", &px(start)), ("y", &TOP), ("width", &px(end - start)), ("height", &height)], |html| {
            html.leaf("title", &[], title)
        });
    }
}

/// The least and the largest value of each piece, so that a spike is not thinned away.
fn extremes(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let pieces = points.chunks(points.len().div_ceil(MOST_POINTS / 2));
    let ends = |piece: &[(f64, f64)]| {
        let low = piece.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        let high = piece.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
        let mut both: Vec<_> = low.into_iter().chain(high).collect();
        both.sort_by(|a, b| a.0.total_cmp(&b.0));
        both
    };
    pieces.flat_map(ends).collect()
}

fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(MOST_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points.iter().enumerate().filter(|(at, _)| at % step == 0 || *at == last).map(|(_, point)| *point).collect()
}

/// About `wanted` round values that enclose a range.
pub(super) fn ticks((low, high): (f64, f64), wanted: usize) -> Vec<f64> {
    let (low, high) = if high - low > 1e-12 * high.abs().max(low.abs()).max(1e-300) { (low, high) } else { widened(low) };
    let rough = (high - low) / wanted as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|round| round * power).find(|step| *step >= rough * 0.999).unwrap_or(10.0 * power);
    let (first, last) = ((low / step + 1e-9).floor() as i64, (high / step - 1e-9).ceil() as i64);
    (first..=last).map(|tick| tick as f64 * step).collect()
}

fn widened(value: f64) -> (f64, f64) {
    let by = if value == 0.0 { 1.0 } else { value.abs() * 0.1 };
    (value - by, value + by)
}

/// A number for an axis.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let plain = |value: f64, places: usize| {
        let text = format!("{value:.places$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    match size {
        0.0 => "0".into(),
        _ if size >= 1e6 => format!("{}M", plain(value / 1e6, 3)),
        _ if size >= 1e4 => format!("{}k", plain(value / 1e3, 3)),
        _ if size >= 1e-3 => plain(value, 4),
        _ => {
            let text = format!("{value:.2e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
            format!("{digits}e{exponent}")
        }
    }
}

/// A text of at most `longest` letters.
pub(super) fn short(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest.saturating_sub(1)).chain(['…']).collect()
}

/// A coordinate, to a tenth of a pixel.
pub(super) fn px(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        for (range, expected) in [
            ((0.0, 1.0), vec!["0", "0.2", "0.4", "0.6", "0.8", "1"]),
            ((2.13, 4.4), vec!["2", "2.5", "3", "3.5", "4", "4.5"]),
            ((0.0, 5e-4), vec!["0", "1e-4", "2e-4", "3e-4", "4e-4", "5e-4"]),
            ((0.0, 30_000.0), vec!["0", "10k", "20k", "30k"]),
            ((7.0, 7.0), vec!["6.2", "6.4", "6.6", "6.8", "7", "7.2", "7.4", "7.6", "7.8"]),
        ] {
            let found: Vec<_> = ticks(range, 5).into_iter().map(number).collect();
            if range.0 < range.1 {
                assert_eq!(found, expected, "{range:?}");
            } else {
                assert!(found.contains(&"7".to_owned()) && found.len() < 12, "{found:?}");
            }
        }
        assert!(ticks((0.0, 0.0), 5).len() < 12);
    }

    #[test]
    fn thinning_keeps_spikes_and_the_end() {
        let mut points: Vec<_> = (0..10_000).map(|at| (f64::from(at), 1.0)).collect();
        points[7_777].1 = 99.0;
        assert!(extremes(&points).contains(&(7_777.0, 99.0)));
        assert!(extremes(&points).len() <= MOST_POINTS + 2 && thinned(&points).len() <= MOST_POINTS + 1);
        assert_eq!(thinned(&points).last(), Some(&(9_999.0, 1.0)));
    }

    #[test]
    fn smoothing_starts_without_bias_and_drops_what_is_not_finite() {
        let series = Series::smoothed("loss", vec![(0.0, 3.0), (1.0, f64::NAN), (2.0, 3.0)]);
        assert_eq!(series.points, [(0.0, 3.0), (2.0, 3.0)]);
    }
}
