//! SugarCrepe.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vlhub_sdk::prelude::*;

use super::listed::{Entry, ListedPictures, folder_of};
use super::{absent, json_of, require_path};

/// SugarCrepe (Hsieh et al., 2023, arXiv 2306.14610): pictures of COCO with a caption and one that was changed into a wrong one.
///
/// The first text of a sample is right, the second wrong; `category` is the file of the change. `add_att.json`, `add_obj.json`, `replace_att.json`,
/// `replace_obj.json`, `replace_rel.json`, `swap_att.json` and `swap_obj.json` are as https://github.com/RAIVNLab/sugar-crepe has them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct SugarcrepeConfig {
    /// The folder with the seven files (or with `data`, which has them).
    pub path: String,
    /// The folder of COCO's pictures; empty: `val2017` in `path`.
    pub images: String,
    /// Only these categories, such as `swap_att`; empty: those whose files are there.
    pub categories: Vec<String>,
}

const CATEGORIES: [&str; 7] = ["add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj"];

const LAYOUT: &str = "SugarCrepe is a folder with `add_att.json`, …, `swap_obj.json` (https://github.com/RAIVNLab/sugar-crepe has them in `data`) and COCO's \
                      pictures in `val2017`";

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Item {
    filename: String,
    caption: String,
    negative_caption: String,
}

impl SugarcrepeConfig {
    /// The categories and their files.
    fn files(&self, root: &Path) -> Result<Vec<(String, PathBuf)>> {
        let wanted: Vec<&str> = self.categories.iter().map(String::as_str).collect();
        if let Some(unknown) = wanted.iter().find(|name| !CATEGORIES.contains(name)) {
            let known = CATEGORIES.join(" ");
            return Err(Error::Options(format!("`categories`: no category is called `{unknown}`; known: {known}")));
        }
        let file = |name: &str| {
            let places = [root.join(format!("{name}.json")), root.join("data").join(format!("{name}.json"))];
            places.iter().find(|file| file.is_file()).cloned().ok_or_else(|| absent(&places[0], LAYOUT))
        };
        if !wanted.is_empty() {
            return wanted.into_iter().map(|name| Ok((name.to_owned(), file(name)?))).collect();
        }
        let found: Vec<_> = CATEGORIES.iter().filter_map(|name| Some(((*name).to_owned(), file(name).ok()?))).collect();
        if found.is_empty() { file(CATEGORIES[0]).map(|_| found) } else { Ok(found) }
    }
}

impl Config<dyn Source> for SugarcrepeConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        require_path(&self.path, LAYOUT)?;
        let root = cx.folder.join(&self.path);
        let mut entries = Vec::new();
        let files = self.files(&root)?;
        for (category, file) in &files {
            let items: BTreeMap<String, Item> = json_of(file)?;
            let mut items: Vec<_> = items.into_iter().collect();
            // The numbers are texts; the published order is that of their values.
            items.sort_by_key(|(number, _)| (number.parse::<u64>().unwrap_or(u64::MAX), number.clone()));
            entries.extend(items.into_iter().map(|(number, item)| Entry {
                picture: item.filename.into(),
                texts: vec![item.caption, item.negative_caption],
                meta: BTreeMap::from([("category".to_owned(), category.clone())]),
                key: format!("{category}/{number}"),
            }));
        }
        let first = entries.first().map(|entry| entry.picture.clone()).unwrap_or_default();
        let folder = match self.images.as_str() {
            "" => folder_of(&root, &["val2017", "images", ""], &first),
            images => cx.folder.join(images),
        };
        if !folder.is_dir() {
            return Err(absent(&folder, LAYOUT));
        }
        let missing: Vec<&str> = CATEGORIES.into_iter().filter(|name| files.iter().all(|(known, _)| known != name)).collect();
        let notes = if missing.is_empty() || !self.categories.is_empty() {
            Vec::new()
        } else {
            vec![format!("{}: the categories {} are not there", root.display(), missing.join(", "))]
        };
        Ok(Box::new(ListedPictures::new("sugarcrepe", folder, entries, notes, cx)?))
    }
}

register!(dyn Source, "sugarcrepe", SugarcrepeConfig);
