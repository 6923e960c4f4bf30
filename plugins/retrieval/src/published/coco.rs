//! COCO's captions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vlhub_sdk::prelude::*;

use super::listed::{Entry, ListedPictures, folder_of};
use super::{absent, json_of, karpathy, require_path};

/// COCO's pictures with five captions or more each (Chen et al., 2015, arXiv 1504.00325).
///
/// `split` is a year's (`val2017`, `val2014`, `train2017`: `annotations/captions_val2017.json`, pictures in `val2017`), or Karpathy's (`test`, 5,000
/// pictures by custom; `val`, `restval`, `train`: `dataset_coco.json`, pictures in `val2014` and `train2014`; or CLIP_benchmark's
/// `coco_test_karpathy.json`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct CocoCaptionsConfig {
    /// The folder with the captions and the folders of pictures.
    pub path: String,
    /// Which pictures.
    pub split: String,
}

impl Default for CocoCaptionsConfig {
    fn default() -> Self {
        Self { path: String::new(), split: "val2017".into() }
    }
}

const LAYOUT: &str = "COCO's captions are a folder with `annotations/captions_val2017.json` and the pictures in `val2017`, or `dataset_coco.json` (Karpathy's \
                      splits) and the pictures in `val2014` and `train2014`; https://cocodataset.org has them";

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Annotations {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Image {
    id: u64,
    file_name: String,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Annotation {
    image_id: u64,
    id: u64,
    caption: String,
}

/// Entries of COCO's own format, by the number of the picture and of the caption, as pycocotools and torchvision order them.
fn entries_of(file: &Path) -> Result<Vec<Entry>> {
    let Annotations { images, mut annotations } = json_of(file)?;
    annotations.sort_by_key(|annotation| annotation.id);
    let mut entries: BTreeMap<u64, Entry> =
        images.into_iter().map(|image| (image.id, Entry { picture: image.file_name.into(), ..Entry::default() })).collect();
    for Annotation { image_id, id, caption } in annotations {
        let entry = entries.get_mut(&image_id);
        let entry = entry
            .ok_or_else(|| Error::invalid(format!("{}: caption {id} is of picture {image_id}, which is not listed", file.display())))?;
        entry.texts.push(caption.trim().to_owned());
    }
    Ok(entries.into_values().collect())
}

impl CocoCaptionsConfig {
    /// The entries, and the folders in which their pictures may be.
    fn entries(&self, root: &Path) -> Result<(Vec<Entry>, [String; 3])> {
        let named = |file: &str| root.join(file.replace("{}", &self.split));
        let of_year = ["annotations/captions_{}.json", "captions_{}.json"].map(named);
        if let Some(file) = of_year.iter().find(|file| file.is_file()) {
            return Ok((entries_of(file)?, [self.split.clone(), "images".into(), String::new()]));
        }
        let folders = ["".into(), "val2014".into(), "images".into()];
        let listing = root.join("dataset_coco.json");
        let is_year = self.split.ends_with(|letter: char| letter.is_ascii_digit());
        if !is_year && listing.is_file() {
            return Ok((karpathy::read(&listing, &self.split)?, folders));
        }
        let table = named("coco_{}_karpathy.json");
        if table.is_file() { Ok((entries_of(&table)?, folders)) } else { Err(absent(&of_year[0], LAYOUT)) }
    }
}

impl Config<dyn Source> for CocoCaptionsConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        require_path(&self.path, LAYOUT)?;
        let root = cx.folder.join(&self.path);
        let (entries, folders) = self.entries(&root)?;
        let first = entries.first().map(|entry| entry.picture.clone()).unwrap_or_default();
        let folder: PathBuf = folder_of(&root, &folders.each_ref().map(String::as_str), &first);
        if !folder.join(first.parent().unwrap_or(Path::new(""))).is_dir() {
            return Err(absent(&folder, LAYOUT));
        }
        Ok(Box::new(ListedPictures::new("coco_captions", folder, entries, Vec::new(), cx)?))
    }
}

register!(dyn Source, "coco_captions", CocoCaptionsConfig);
