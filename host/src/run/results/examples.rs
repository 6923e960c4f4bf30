//! `examples/SUITE.json`: examples for the page, with their pictures beside it.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage};
use serde::{Deserialize, Serialize};
use vlhub_core::{Answer, Error, Example, Result};
use xxhash_rust::xxh3::xxh3_64;

use super::super::jsonl;

/// Quality of the JPEG files, of 100.
const QUALITY: u8 = 85;
/// Pictures of at most so many pixels are PNG: that is smaller, and exact.
const SMALL: u32 = 48 * 48;

/// An example as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredExample {
    /// Under which heading it stands.
    pub section: String,
    /// What was asked.
    pub title: String,
    /// Pictures that were asked about or found.
    #[serde(default)]
    pub pictures: Vec<StoredPicture>,
    /// Texts that were found.
    #[serde(default)]
    pub texts: Vec<StoredAnswer>,
}

/// A picture with what stands below it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredPicture {
    /// Its file in the folder of the list.
    pub file: String,
    /// What was answered.
    #[serde(flatten)]
    pub answer: StoredAnswer,
}

/// What a model answered, as [`Answer`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredAnswer {
    /// A class, a caption, a file.
    pub text: String,
    /// Its score, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Whether it is right, where that is the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<bool>,
}

impl From<&Answer> for StoredAnswer {
    fn from(answer: &Answer) -> Self {
        Self { text: answer.text.clone(), score: answer.score, right: answer.right }
    }
}

/// Writes the list `STEM.json` into a folder, and its pictures into `STEM/`. A picture's name is made of its content, the list comes after its
/// pictures, and those of an earlier list are removed at the end: a list always finds its pictures.
///
/// # Errors
/// The file and why it cannot be written.
pub fn write(folder: &Path, stem: &str, examples: &[Example]) -> Result<()> {
    let pictures = folder.join(stem);
    std::fs::create_dir_all(&pictures).map_err(|error| Error::io(&pictures, error))?;
    let mut used = BTreeSet::new();
    let mut stored = Vec::new();
    for example in examples {
        let mut kept = Vec::new();
        for picture in &example.pictures {
            let (bytes, end) = encoded(&picture.image)?;
            let name = format!("{:016x}.{end}", xxh3_64(&bytes));
            if used.insert(name.clone()) && !pictures.join(&name).exists() {
                jsonl::replace(&pictures.join(&name), &bytes)?;
            }
            kept.push(StoredPicture { file: format!("{stem}/{name}"), answer: (&picture.answer).into() });
        }
        let texts = example.texts.iter().map(StoredAnswer::from).collect();
        stored.push(StoredExample { section: example.section.clone(), title: example.title.clone(), pictures: kept, texts });
    }
    let list = folder.join(format!("{stem}.json"));
    let bytes = serde_json::to_vec_pretty(&stored).map_err(|error| Error::io(&list, error.into()))?;
    jsonl::replace(&list, &bytes)?;
    for entry in std::fs::read_dir(&pictures).into_iter().flatten().flatten() {
        if !used.contains(&*entry.file_name().to_string_lossy()) {
            // What stays costs room, and nothing else.
            std::fs::remove_file(entry.path()).ok();
        }
    }
    Ok(())
}

/// Reads a list; empty where there is none.
///
/// # Errors
/// The file and why it cannot be read.
pub fn read(folder: &Path, stem: &str) -> Result<Vec<StoredExample>> {
    let list = folder.join(format!("{stem}.json"));
    match std::fs::read(&list) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| Error::invalid(format!("{}: {error}", list.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io(&list, error)),
    }
}

/// A picture as a file, and the ending of its name.
fn encoded(image: &RgbImage) -> Result<(Vec<u8>, &'static str)> {
    let mut bytes = Vec::new();
    let fail = |error: image::ImageError| Error::invalid(format!("an example's picture cannot be encoded: {error}"));
    if image.width() * image.height() <= SMALL {
        image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).map_err(fail)?;
        return Ok((bytes, "png"));
    }
    image.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY)).map_err(fail)?;
    Ok((bytes, "jpg"))
}
