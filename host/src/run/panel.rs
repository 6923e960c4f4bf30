//! A drawing: on a page it takes the page's colours, in a file of its own it brings its style along.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use vlhub_core::{Error, Result};

use super::jsonl;
use super::page::Html;
use super::svg::px;

/// Colours and letters of a drawing that stands alone: those of the page on light paper.
const STYLE: &str = "text{fill:#5c636b;font-family:'DejaVu Sans',Verdana,sans-serif;font-size:12px}.strong{fill:#1c1e21}.head{fill:#1c1e21;\
    font-size:14px;font-weight:bold}.gridline{stroke:#e2e4e7;stroke-width:1}.frame{fill:none;stroke:#e2e4e7}.curve{fill:none;stroke-width:2;\
    stroke-linejoin:round;stroke-linecap:round}.faint{stroke-width:1;stroke-opacity:.35}.dash{stroke-dasharray:5 5;stroke-width:1.5}\
    .hit{fill:none}.cell{fill:#1f5fd0}.on{fill:#fff}.s0{stroke:#2463c9}.s1{stroke:#c8590a}.s2{stroke:#18804b}.s3{stroke:#b3261e}\
    .s4{stroke:#7a3fb5}.s5{stroke:#0b7f8a}.s6{stroke:#a83279}.s7{stroke:#6b6f76}.d0{fill:#2463c9}.d1{fill:#c8590a}.d2{fill:#18804b}\
    .d3{fill:#b3261e}.d4{fill:#7a3fb5}.d5{fill:#0b7f8a}.d6{fill:#a83279}.d7{fill:#6b6f76}";
/// Room around drawings of a file, and between them.
const GAP: f64 = 16.0;
/// Room above a drawing for its title.
const TITLE: f64 = 24.0;

/// One drawing.
#[derive(Debug, Default)]
pub struct Panel {
    /// What it shows.
    pub title: String,
    /// Width and height in its own units, which are pixels where there is room.
    pub size: (f64, f64),
    /// Elements of an SVG.
    pub body: Html,
    /// Whether it may become as wide as the page; else it is as wide as it is.
    pub fills: bool,
}

impl Panel {
    /// Puts it into a page, below its title.
    pub fn show(&self, html: &mut Html) {
        html.leaf("h3", &[], &self.title);
        let size = format!("0 0 {} {}", px(self.size.0), px(self.size.1));
        // On a narrow screen a matrix is scrolled rather than made too small to read.
        let style =
            if self.fills { String::new() } else { format!("max-width:{:.0}px;min-width:{:.0}px", self.size.0, 0.62 * self.size.0) };
        html.el("div", &[("class", &"scroll")], |html| {
            html.el("svg", &[("viewBox", &size), ("style", &style), ("role", &"img"), ("aria-label", &self.title)], |html| {
                html.add(&self.body)
            });
        });
    }
}

/// Drawings side by side as one SVG file.
pub fn figure(panels: &[Panel], columns: usize) -> String {
    let columns = columns.clamp(1, panels.len().max(1));
    let wide = panels.iter().map(|panel| panel.size.0).fold(0.0, f64::max);
    let mut html = Html::default();
    let mut down = GAP;
    for row in panels.chunks(columns) {
        let high = row.iter().map(|panel| panel.size.1).fold(0.0, f64::max);
        for (at, panel) in row.iter().enumerate() {
            let left = GAP + at as f64 * (wide + GAP);
            html.leaf("text", &[("class", &"head"), ("x", &px(left)), ("y", &px(down + 14.0))], &panel.title);
            let view = format!("0 0 {} {}", px(panel.size.0), px(panel.size.1));
            let (x, y) = (px(left), px(down + TITLE));
            let place = [("x", x), ("y", y), ("width", px(panel.size.0)), ("height", px(panel.size.1))];
            let mut attributes: Vec<(&str, &dyn std::fmt::Display)> = place.iter().map(|(name, value)| (*name, value as _)).collect();
            attributes.push(("viewBox", &view));
            html.el("svg", &attributes, |html| html.add(&panel.body));
        }
        down += high + TITLE + GAP;
    }
    let (wide, high) = (px(GAP + columns as f64 * (wide + GAP)), px(down));
    let mut svg = String::new();
    write!(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" viewBox=\"0 0 {wide} {high}\">").ok();
    write!(svg, "<style>{STYLE}</style><rect width=\"{wide}\" height=\"{high}\" fill=\"#fff\"/>").ok();
    svg.push_str(html.as_str());
    svg.push_str("</svg>\n");
    svg
}

/// Writes `STEM.svg`, and the same as `STEM.png` where this build can (feature `png`).
///
/// # Errors
/// The file and why it cannot be written.
pub fn write(svg: &str, stem: &Path) -> Result<()> {
    jsonl::replace(&with_end(stem, "svg"), svg.as_bytes())?;
    let path = with_end(stem, "png");
    match raster(svg) {
        Some(Ok(png)) => jsonl::replace(&path, &png),
        Some(Err(why)) => Err(Error::invalid(format!("{}: cannot be drawn: {why}", path.display()))),
        None => Ok(()),
    }
}

/// A path with an ending; its name may have dots of its own.
pub fn with_end(stem: &Path, end: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_os_string();
    name.push(format!(".{end}"));
    PathBuf::from(name)
}

/// Pixels for each unit of a drawing.
#[cfg(feature = "png")]
const SCALE: f32 = 2.0;

/// A drawing as PNG.
#[cfg(feature = "png")]
fn raster(svg: &str) -> Option<Result<Vec<u8>, String>> {
    use resvg::{tiny_skia, usvg};
    use std::sync::{Arc, LazyLock};

    // Only the letters that the program brings: a picture does not depend on what is installed.
    static FONTS: LazyLock<Arc<usvg::fontdb::Database>> = LazyLock::new(|| {
        let mut fonts = usvg::fontdb::Database::new();
        fonts.load_font_data(include_bytes!("../../assets/font/DejaVuSans-latin.ttf").to_vec());
        Arc::new(fonts)
    });
    let options = usvg::Options { fontdb: Arc::clone(&FONTS), font_family: "DejaVu Sans".into(), ..usvg::Options::default() };
    let drawn = usvg::Tree::from_str(svg, &options).map_err(|error| error.to_string()).and_then(|tree| {
        let size = tree.size().to_int_size();
        let side = |pixels: u32| (pixels as f32 * SCALE).ceil() as u32;
        let mut pixels = tiny_skia::Pixmap::new(side(size.width()), side(size.height())).ok_or("it is too large")?;
        resvg::render(&tree, tiny_skia::Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
        pixels.encode_png().map_err(|error| error.to_string())
    });
    Some(drawn)
}

/// This build draws no PNG.
#[cfg(not(feature = "png"))]
fn raster(_svg: &str) -> Option<Result<Vec<u8>, String>> {
    None
}

#[cfg(test)]
mod tests {
    use super::super::svg::{Series, chart_panel};
    use super::*;

    #[test]
    fn a_figure_stands_alone_and_is_escaped() {
        let panels: Vec<_> =
            (0..3).filter_map(|at| chart_panel(&format!("<{at}>"), "step", &[Series::new("a", vec![(0.0, 1.0), (9.0, 2.0)])])).collect();
        let svg = figure(&panels, 2);
        assert!(svg.starts_with("<svg xmlns=") && svg.contains("&lt;2&gt;") && !svg.contains("<2>") && !svg.contains("var("), "{svg}");
        assert_eq!(svg.matches("<svg").count(), 4);
        let dir = tempfile::tempdir().expect("a directory");
        write(&svg, &dir.path().join("curves")).expect("written");
        assert_eq!(std::fs::read_to_string(dir.path().join("curves.svg")).expect("there"), svg);
    }

    #[cfg(feature = "png")]
    #[test]
    fn a_png_has_curves_and_letters() {
        let series = [Series::new("a", vec![(0.0, 1.0), (9.0, 2.0)]), Series::new("b", vec![(0.0, 2.0), (9.0, 1.0)])];
        let svg = figure(&[chart_panel("Loss", "step", &series).expect("a chart")], 1);
        let bytes = raster(&svg).expect("this build draws").expect("it can be drawn");
        let picture = image::load_from_memory(&bytes).expect("a PNG").to_rgb8();
        let has = |wanted: [u8; 3]| picture.pixels().filter(|pixel| pixel.0.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) < 6)).count();
        assert!(has([0x24, 0x63, 0xc9]) > 300 && has([0xc8, 0x59, 0x0a]) > 300, "two curves");
        // The title is the only thing in this colour above the chart.
        let head = picture.rows().take(70).flatten().filter(|pixel| pixel.0.iter().all(|value| *value < 80)).count();
        assert!(head > 60, "the letters of the title: {head}");
    }
}
