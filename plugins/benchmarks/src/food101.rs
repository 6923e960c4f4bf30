//! Food-101.

use std::collections::BTreeMap;
use std::path::PathBuf;

use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json;
use vlhub_sdk::sources::ClassNames;

use crate::about::FOOD101;
use crate::disk::{Entry, Pictures};
use crate::lists;

/// Food-101 (Bossard et al., 2014), laid out as it is published and as torchvision reads it.
///
/// Classes are in alphabetical order, their names with spaces for `_`, as CLIP_benchmark has them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) struct Food101Config {
    /// The folder that `food-101` is in, or that folder.
    pub path: String,
    /// `test` or `train`.
    pub split: String,
}

impl Default for Food101Config {
    fn default() -> Self {
        Self { path: String::new(), split: "test".into() }
    }
}

impl Config<dyn Source> for Food101Config {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        if !["test", "train"].contains(&self.split.as_str()) {
            return Err(Error::Options(format!("`split` is `{}`; it has to be `test` or `train`", self.split)));
        }
        let root = FOOD101.find(&self.path, cx, &["food-101", ""], |place| place.join("meta").is_dir())?;
        // For each class, the pictures of it: `apple_pie/1005649`.
        let mut listed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let json = root.join("meta").join(format!("{}.json", self.split));
        if json.exists() {
            let text = std::fs::read_to_string(&json).map_err(|error| Error::io(&json, error))?;
            listed = serde_json::from_str(&text)
                .map_err(|error| Error::invalid(format!("{} is no list of pictures for each class: {error}", json.display())))?;
        } else {
            let lines = FOOD101.file(root.join("meta").join(format!("{}.txt", self.split)))?;
            for line in ClassNames::file(&lines)? {
                let class = line.split('/').next().unwrap_or_default().to_owned();
                listed.entry(class).or_default().push(line);
            }
        }
        let classes = listed.keys().map(|class| class.replace('_', " ")).collect();
        let mut pictures = Pictures { root, classes, templates: lists::templates("food101"), ..Pictures::default() };
        for (label, names) in (0..).zip(listed.values()) {
            let entry =
                |name: &String| Entry { path: PathBuf::from(format!("images/{name}.jpg")), labels: [label].into(), ..Entry::default() };
            pictures.entries.extend(names.iter().map(entry));
        }
        pictures.source(&FOOD101, cx)
    }
}

register!(dyn Source, "food101", Food101Config);

#[cfg(test)]
mod tests {
    use vlhub_sdk::testkit::source::every_law;

    use super::*;
    use crate::testing::{absent, labels, open, picture, refused, text};

    #[test]
    fn pictures_are_those_of_the_split() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("data/food-101");
        for name in ["apple_pie/1", "apple_pie/2", "waffles/3"] {
            picture(&root.join(format!("images/{name}.jpg")), 3);
        }
        text(&root.join("meta/test.txt"), "apple_pie/2\nwaffles/3\n");
        text(&root.join("meta/train.txt"), "apple_pie/1\n");
        let config = |path: &str, split: &str| Food101Config { path: path.into(), split: split.into() };
        for path in ["data", "data/food-101"] {
            let source = open(&config(path, "test"), folder.path());
            assert_eq!((labels(source.as_ref()), source.classes()), (vec![0, 1], &["apple pie".to_owned(), "waffles".into()][..]));
            assert_eq!(source.templates(), ["a photo of {c}, a type of food."]);
            every_law(&config(path, "test"), folder.path()).expect("every law");
        }
        text(&root.join("meta/train.json"), r#"{"waffles": ["waffles/3"], "apple_pie": ["apple_pie/1"]}"#);
        assert_eq!(labels(open(&config("data", "train"), folder.path()).as_ref()), [0, 1], "classes are sorted");
        refused(&config("data", "val"), folder.path(), "`test` or `train`");
        absent(&config("gone", "test"), folder.path(), "food-101/meta/test.txt");
        std::fs::remove_file(root.join("meta/test.txt")).expect("it was there");
        absent(&config("data", "test"), folder.path(), "test.txt");
    }
}
