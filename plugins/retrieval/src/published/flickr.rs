//! Flickr8k and Flickr30k.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use vlhub_sdk::prelude::*;

use super::listed::{Entry, ListedPictures, folder_of};
use super::{absent, karpathy, require_path, text_of};

/// Pictures of Flickr with five captions each: Flickr8k (Hodosh et al., 2013) and Flickr30k (Young et al., 2014).
///
/// Captions come from the first of these files that is in `path`: Karpathy's `dataset_flickr30k.json`, whose `test` split is what is reported by
/// custom (1,000 pictures); CLIP_benchmark's `flickr30k_test_karpathy.txt`; the authors' `results_20130124.token` or `results.csv`, and for
/// Flickr8k `Flickr8k.token.txt` with `Flickr_8k.testImages.txt`, or `captions.txt`. Pictures lie in `flickr30k-images`, `flickr30k_images`, `Images`
/// or `images` (`Flicker8k_Dataset` for Flickr8k), or in `path` itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct FlickrConfig {
    /// Which of the two.
    pub name: FlickrSet,
    /// The folder with the captions and the folder of pictures.
    pub path: String,
    /// Karpathy's split: `train`, `val`, `test`, or `all`. Files that know no splits have every picture, and a note says so.
    pub split: String,
}

/// Which set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum FlickrSet {
    /// 8,000 pictures.
    Flickr8k,
    /// 31,783 pictures.
    #[default]
    Flickr30k,
}

/// What is where.
struct Layout {
    name: &'static str,
    json: &'static str,
    /// Lists of one split, with the split's name in place of `{}`.
    tables: &'static [&'static str],
    /// Lists of everything.
    whole: &'static [&'static str],
    /// The names of one split's pictures.
    names: Option<&'static str>,
    folders: &'static [&'static str],
    text: &'static str,
}

const FLICKR8K: Layout = Layout {
    name: "flickr8k",
    json: "dataset_flickr8k.json",
    tables: &["flickr8k_{}_karpathy.txt"],
    whole: &["Flickr8k.token.txt", "captions.txt"],
    names: Some("Flickr_8k.{}Images.txt"),
    folders: &["Flicker8k_Dataset", "Flickr8k_Dataset", "Images", "images", ""],
    text: "Flickr8k is a folder with `dataset_flickr8k.json` (Karpathy's splits), `flickr8k_test_karpathy.txt`, `Flickr8k.token.txt` or `captions.txt`, and \
           the pictures in `Flicker8k_Dataset` or `Images`; its authors send it on request",
};

const FLICKR30K: Layout = Layout {
    name: "flickr30k",
    json: "dataset_flickr30k.json",
    tables: &["flickr30k_{}_karpathy.txt"],
    whole: &["results_20130124.token", "results.csv"],
    names: None,
    folders: &["flickr30k-images", "flickr30k_images", "Images", "images", ""],
    text: "Flickr30k is a folder with `dataset_flickr30k.json` (Karpathy's splits), `flickr30k_test_karpathy.txt` or `results_20130124.token`, and the pictures \
           in `flickr30k-images`; its authors send it on request",
};

impl FlickrConfig {
    fn of(name: FlickrSet) -> Self {
        Self { name, split: "test".into(), ..Self::default() }
    }

    fn layout(&self) -> &'static Layout {
        match self.name {
            FlickrSet::Flickr8k => &FLICKR8K,
            FlickrSet::Flickr30k => &FLICKR30K,
        }
    }

    /// The entries of the first list that is there, and what a reader should know of it.
    fn entries(&self, root: &Path, layout: &Layout) -> Result<(Vec<Entry>, Vec<String>)> {
        let json = root.join(layout.json);
        if json.is_file() {
            return Ok((karpathy::read(&json, &self.split)?, Vec::new()));
        }
        for table in layout.tables {
            let file = root.join(table.replace("{}", &self.split));
            if file.is_file() {
                return Ok((table_of(&file)?, Vec::new()));
            }
        }
        let Some(file) = layout.whole.iter().map(|name| root.join(name)).find(|file| file.is_file()) else {
            return Err(absent(&json, layout.text));
        };
        let mut entries = table_of(&file)?;
        let names = layout.names.map(|names| root.join(names.replace("{}", if self.split == "val" { "dev" } else { &self.split })));
        if let Some(names) = names.filter(|names| names.is_file()) {
            let names: BTreeSet<PathBuf> = text_of(&names)?.lines().map(|line| PathBuf::from(line.trim())).collect();
            entries.retain(|entry| names.contains(&entry.picture));
            return Ok((entries, Vec::new()));
        }
        let known =
            if self.split == "all" { Vec::new() } else { vec![format!("{} knows no split: every picture is read", file.display())] };
        Ok((entries, known))
    }
}

impl Config<dyn Source> for FlickrConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        let layout = self.layout();
        require_path(&self.path, layout.text)?;
        let root = cx.folder.join(&self.path);
        let (entries, notes) = self.entries(&root, layout)?;
        let first = entries.first().map(|entry| entry.picture.clone()).unwrap_or_default();
        let folder = folder_of(&root, layout.folders, &first);
        if !folder.is_dir() {
            return Err(absent(&folder, layout.text));
        }
        Ok(Box::new(ListedPictures::new(layout.name, folder, entries, notes, cx)?))
    }
}

/// Pictures and captions of a list with a line for each caption: `1000092795.jpg#0`, a tab, the caption (the authors'); `name.jpg,caption` behind a
/// line of headings (CLIP_benchmark's, Kaggle's); or `name.jpg| 0| caption` (Kaggle's `results.csv`, one line of which lacks the second
/// bar). Pictures come in the order of their first caption.
fn table_of(file: &Path) -> Result<Vec<Entry>> {
    let text = text_of(file)?;
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut entries: Vec<Entry> = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let Some((picture, caption)) = parts_of(line) else {
            // A line of headings.
            if number == 0 {
                continue;
            }
            return Err(Error::invalid(format!("{}:{}: no picture and caption in `{}`", file.display(), number + 1, shortened(line))));
        };
        let place = *places.entry(picture).or_insert(entries.len());
        if place == entries.len() {
            entries.push(Entry { picture: picture.into(), ..Entry::default() });
        }
        entries[place].texts.push(caption.trim().to_owned());
    }
    Ok(entries)
}

/// The picture and the caption of a line.
fn parts_of(line: &str) -> Option<(&str, &str)> {
    let numbered = |text: &str| text.len() == 1 && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((name, caption)) = line.split_once('\t') {
        let (picture, number) = name.rsplit_once('#')?;
        return numbered(number.trim()).then_some((picture.trim(), caption));
    }
    if let Some((picture, rest)) = line.split_once('|') {
        // The published file has `2199200615.jpg| 4   A dog runs across the grass .`, without the second bar.
        let (number, caption) = rest.split_once('|').or_else(|| rest.trim().split_once(char::is_whitespace))?;
        return numbered(number.trim()).then_some((picture.trim(), caption));
    }
    let end = line.find(".jpg,")? + ".jpg".len();
    Some((line[..end].trim(), line[end + 1..].trim().trim_matches('"')))
}

fn shortened(line: &str) -> String {
    line.chars().take(40).collect()
}

register!(dyn Source, "flickr8k", FlickrConfig, || FlickrConfig::of(FlickrSet::Flickr8k));
register!(dyn Source, "flickr30k", FlickrConfig, || FlickrConfig::of(FlickrSet::Flickr30k));
