//! Embeddings for TensorBoard's PROJECTOR tab: `projector_config.pbtxt`, which names the files of each suite in `projector/SUITE/`.

use std::fmt::Write as _;
use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage, imageops};
use vlhub_core::{Error, Result};

use super::super::super::jsonl;
use crate::evaluation::EmbeddingSample;

/// The folder within the event files' folder.
const FOLDER: &str = "projector";

/// Writes the files of a suite, and the list of all suites.
///
/// # Errors
/// The file and why it cannot be written.
pub(super) fn write(events: &Path, suite: &str, sample: &EmbeddingSample) -> Result<()> {
    let folder = events.join(FOLDER).join(suite);
    std::fs::create_dir_all(&folder).map_err(|error| Error::io(&folder, error))?;
    jsonl::replace(&folder.join("tensors.tsv"), tensors(sample).as_bytes())?;
    jsonl::replace(&folder.join("metadata.tsv"), metadata(sample).as_bytes())?;
    jsonl::replace(&folder.join("sprite.png"), &sprite(sample)?)?;
    let mut suites: Vec<String> = std::fs::read_dir(events.join(FOLDER))
        .map_err(|error| Error::io(events.join(FOLDER), error))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    suites.sort();
    let side = EmbeddingSample::SIDE;
    let text: String = suites
        .iter()
        .map(|suite| {
            format!(
                "embeddings {{\n  tensor_name: \"{suite}\"\n  tensor_path: \"{FOLDER}/{suite}/tensors.tsv\"\n  metadata_path: \
                 \"{FOLDER}/{suite}/metadata.tsv\"\n  sprite {{\n    image_path: \"{FOLDER}/{suite}/sprite.png\"\n    single_image_dim: \
                 {side}\n    single_image_dim: {side}\n  }}\n}}\n"
            )
        })
        .collect();
    jsonl::replace(&events.join("projector_config.pbtxt"), text.as_bytes())
}

/// A row a line, with tabs between its numbers.
fn tensors(sample: &EmbeddingSample) -> String {
    let mut text = String::new();
    for row in sample.values.chunks(sample.width.max(1)) {
        for (at, value) in row.iter().enumerate() {
            write!(text, "{}{value}", if at == 0 { "" } else { "\t" }).ok();
        }
        text.push('\n');
    }
    text
}

/// What each row is: `label`, by which rows are called at first, and `kind`.
fn metadata(sample: &EmbeddingSample) -> String {
    let mut text = String::from("label\tkind\n");
    for (at, label) in sample.labels.iter().enumerate() {
        let kind = if at < sample.pictures.len() { "picture" } else { "text" };
        writeln!(text, "{}\t{kind}", label.replace(|letter: char| letter.is_control(), " ")).ok();
    }
    text
}

/// A small picture for each row, in lines of a square; grey for a text.
fn sprite(sample: &EmbeddingSample) -> Result<Vec<u8>> {
    let side = EmbeddingSample::SIDE;
    let across = (sample.len() as f64).sqrt().ceil().max(1.0) as u32;
    let mut sheet = RgbImage::from_pixel(across * side, across * side, Rgb([96; 3]));
    for (at, picture) in (0u32..).zip(&sample.pictures) {
        imageops::replace(&mut sheet, picture, i64::from(at % across * side), i64::from(at / across * side));
    }
    let mut png = Cursor::new(Vec::new());
    sheet.write_to(&mut png, ImageFormat::Png).map_err(|error| Error::invalid(format!("the pictures of the projector: {error}")))?;
    Ok(png.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_suite_has_its_files_and_a_row_for_each_embedding() {
        let folder = tempfile::tempdir().expect("a folder");
        let pictures = vec![RgbImage::from_pixel(32, 32, Rgb([1, 2, 3])); 2];
        let labels = ["cat", "a\tdog", "a photo of a cat"].map(str::to_owned).to_vec();
        let sample = EmbeddingSample { width: 2, values: vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8], pictures, labels };
        write(folder.path(), "shapes", &sample).expect("it can be written");
        write(folder.path(), "other", &sample).expect("it can be written");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("it is there");
        assert_eq!(read("projector/shapes/tensors.tsv"), "1\t0\n0\t1\n0.6\t0.8\n");
        assert_eq!(read("projector/shapes/metadata.tsv"), "label\tkind\ncat\tpicture\na dog\tpicture\na photo of a cat\ttext\n");
        let config = read("projector_config.pbtxt");
        assert!(config.contains("projector/shapes/sprite.png") && config.contains("projector/other/tensors.tsv"), "{config}");
        let sprite = image::open(folder.path().join("projector/shapes/sprite.png")).expect("a picture").to_rgb8();
        assert_eq!((sprite.dimensions(), *sprite.get_pixel(33, 0), *sprite.get_pixel(0, 33)), ((64, 64), Rgb([1, 2, 3]), Rgb([96; 3])));
    }
}
