//! The lists with which Karpathy split Flickr8k, Flickr30k and COCO (Karpathy and Fei-Fei, 2015, arXiv 1412.2306): `dataset_NAME.json`.

use std::path::{Path, PathBuf};

use vlhub_sdk::prelude::*;

use super::json_of;
use super::listed::Entry;

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Listing {
    images: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Listed {
    /// The folder of the picture, for COCO.
    #[serde(default)]
    filepath: String,
    filename: String,
    split: String,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Sentence {
    raw: String,
}

/// The pictures of one split, in the order of the file; every one for `all`.
///
/// # Errors
/// What is no such list, or a split that it does not have, with those that it has.
pub(super) fn read(file: &Path, split: &str) -> Result<Vec<Entry>> {
    let Listing { images } = json_of(file)?;
    let mut known: Vec<&str> = images.iter().map(|image| image.split.as_str()).collect();
    known.sort_unstable();
    known.dedup();
    if split != "all" && !known.contains(&split) {
        let known = known.join(" ");
        return Err(Error::invalid(format!("{}: no picture is of the split `{split}`; known: {known} all", file.display())));
    }
    let of = |image: Listed| Entry {
        picture: PathBuf::from(image.filepath).join(image.filename),
        texts: image.sentences.into_iter().map(|sentence| sentence.raw.trim().to_owned()).collect(),
        ..Entry::default()
    };
    Ok(images.into_iter().filter(|image| split == "all" || image.split == split).map(of).collect())
}
