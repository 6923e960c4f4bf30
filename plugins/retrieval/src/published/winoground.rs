//! Winoground.

use std::collections::BTreeMap;
use std::path::Path;

use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json;

use super::listed::{Entry, ListedPictures, folder_of};
use super::{absent, require_path, text_of};

/// Winoground (Thrush et al., 2022, arXiv 2204.03162): pairs of pictures and captions that have the same words in another order.
///
/// Every picture is a sample whose first text is its own caption and whose second is the other's; `pair` tells which belong together, and
/// `category` is the tag of the paper. `examples.jsonl` and `images/ex_0_img_0.png`, … are as https://huggingface.co/datasets/facebook/winoground
/// has them, `images.zip` unpacked.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct WinogroundConfig {
    /// The folder with `examples.jsonl` (or `data/examples.jsonl`) and the pictures in `images`.
    pub path: String,
}

const LAYOUT: &str = "Winoground is a folder with `examples.jsonl` and the pictures in `images`; https://huggingface.co/datasets/facebook/winoground has it, \
                      behind its terms";

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Example {
    id: u64,
    image_0: String,
    image_1: String,
    caption_0: String,
    caption_1: String,
    #[serde(default)]
    collapsed_tag: String,
}

/// The two samples of one line.
fn entries_of(line: &str) -> Result<[Entry; 2], String> {
    let Example { id, image_0, image_1, caption_0, caption_1, collapsed_tag } =
        serde_json::from_str(line).map_err(|error| error.to_string())?;
    let meta = BTreeMap::from([("pair".to_owned(), id.to_string()), ("category".to_owned(), collapsed_tag)]);
    let entry = |image: &str, texts: [&String; 2]| {
        let name = if image.ends_with(".png") { image.to_owned() } else { format!("{image}.png") };
        Entry { picture: name.into(), texts: texts.map(String::clone).to_vec(), meta: meta.clone(), ..Entry::default() }
    };
    Ok([entry(&image_0, [&caption_0, &caption_1]), entry(&image_1, [&caption_1, &caption_0])])
}

impl Config<dyn Source> for WinogroundConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        require_path(&self.path, LAYOUT)?;
        let root = cx.folder.join(&self.path);
        let lists = ["examples.jsonl", "data/examples.jsonl"].map(|name| root.join(name));
        let list = lists.iter().find(|list| list.is_file()).ok_or_else(|| absent(&lists[0], LAYOUT))?;
        let mut entries = Vec::new();
        for (number, line) in text_of(list)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            entries.extend(entries_of(line).map_err(|error| Error::invalid(format!("{}:{}: {error}", list.display(), number + 1)))?);
        }
        let first = entries.first().map(|entry: &Entry| entry.picture.clone()).unwrap_or_default();
        let folder = folder_of(&root, &["images", "data/images"], Path::new(&first));
        if !folder.is_dir() {
            return Err(absent(&folder, LAYOUT));
        }
        Ok(Box::new(ListedPictures::new("winoground", folder, entries, Vec::new(), cx)?))
    }
}

register!(dyn Source, "winoground", WinogroundConfig);
