//! What the tests of every source need.

use std::path::Path;

use vlhub_sdk::image::{ImageFormat, Rgb, RgbImage};
use vlhub_sdk::prelude::*;

/// Writes a file; where it is named like a picture, one of 8×6 pixels of one colour that `shade` chooses.
pub(crate) fn picture(path: &Path, shade: u8) {
    std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("room");
    let format = match path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default().to_lowercase().as_str() {
        "png" => ImageFormat::Png,
        "jpg" | "jpeg" => ImageFormat::Jpeg,
        _ => return std::fs::write(path, "no picture").expect("room"),
    };
    RgbImage::from_pixel(8, 6, Rgb([shade, 100, 200])).save_with_format(path, format).expect("room");
}

/// Writes a text.
pub(crate) fn text(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("room");
    std::fs::write(path, text).expect("room");
}

/// The first label of every sample, in order.
pub(crate) fn labels(source: &dyn Source) -> Vec<i64> {
    let label = |index| source.read(index).expect("it can be read").caption.labels.first().copied();
    (0..source.len()).map(|index| label(index).unwrap_or(-1)).collect()
}

/// The name of the class of every sample, in order.
pub(crate) fn named(source: &dyn Source) -> Vec<String> {
    labels(source).into_iter().map(|label| source.classes()[label as usize].clone()).collect()
}

/// Opens it.
#[track_caller]
pub(crate) fn open(config: &dyn Config<dyn Source>, folder: &Path) -> Box<dyn Source> {
    config.build(&SourceCx::new(folder)).expect("it is whole")
}

/// Expects it to be refused with a message that has `wanted` in it.
#[track_caller]
pub(crate) fn refused(config: &dyn Config<dyn Source>, folder: &Path, wanted: &str) {
    let error = config.build(&SourceCx::new(folder)).expect_err(wanted).to_string();
    assert!(error.contains(wanted), "{error}");
}

/// Expects it to be absent, with a layout that has `wanted` in it.
#[track_caller]
pub(crate) fn absent(config: &dyn Config<dyn Source>, folder: &Path, wanted: &str) {
    let error = config.build(&SourceCx::new(folder)).expect_err(wanted);
    assert!(error.is_absent() && error.to_string().contains(wanted), "{error}");
}
