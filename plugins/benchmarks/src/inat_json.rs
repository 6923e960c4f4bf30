//! iNaturalist 2017 and 2018, by their annotation files.

use std::collections::HashMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json;

use crate::about::{INAT2017, INAT2018, Published};
use crate::disk::{Entry, Pictures};
use crate::lists;

/// iNaturalist's challenges of 2017 (5,089 species) and 2018 (8,142 species; Van Horn et al., 2018), by their annotation files.
///
/// Classes are in the order of the categories' numbers. The categories of 2018 have names only in `categories.json`, which its authors published
/// later; where it lies beside the annotations, they are taken from there.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) struct InatJsonConfig {
    /// The folder of the annotation file and of the pictures that it names.
    pub path: String,
    /// Which year's.
    pub year: u16,
    /// `val` or `train`: the annotation file is `val2018.json`.
    pub split: String,
}

impl Default for InatJsonConfig {
    fn default() -> Self {
        Self::of(2018)
    }
}

impl InatJsonConfig {
    fn of(year: u16) -> Self {
        Self { path: String::new(), year, split: "val".into() }
    }

    fn about(&self) -> Result<&'static Published> {
        match self.year {
            2017 => Ok(&INAT2017),
            2018 => Ok(&INAT2018),
            year => Err(Error::Options(format!("`year` is {year}; it has to be 2017 or 2018"))),
        }
    }
}

/// An annotation file, as far as it is read.
#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Annotations {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    #[serde(default)]
    categories: Vec<Category>,
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
    category_id: u64,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Category {
    id: u64,
    name: String,
}

fn parsed<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    let file = std::fs::File::open(path).map_err(|error| Error::io(path, error))?;
    let read = serde_json::from_reader(BufReader::new(file));
    read.map_err(|error| Error::invalid(format!("{} is no annotation file of iNaturalist: {error}", path.display())))
}

impl Config<dyn Source> for InatJsonConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        let set = self.about()?;
        if !["val", "train"].contains(&self.split.as_str()) {
            return Err(Error::Options(format!("`split` is `{}`; it has to be `val` or `train`", self.split)));
        }
        let root = set.place(&self.path, cx)?;
        let list = format!("{}{}.json", self.split, self.year);
        let all: Annotations = parsed(&set.file(root.join(&list))?)?;
        let named = root.join("categories.json");
        let mut categories = if named.exists() { parsed(&named)? } else { all.categories };
        categories.sort_by_key(|category| category.id);
        let labels: HashMap<u64, u32> = categories.iter().map(|category| category.id).zip(0..).collect();
        let mut of_image: HashMap<u64, u64> = all.annotations.iter().map(|found| (found.image_id, found.category_id)).collect();
        let classes: Vec<String> = categories.into_iter().map(|category| category.name).collect();
        let mut pictures = Pictures { root, templates: lists::imagenet_templates(), ..Pictures::default() };
        if !classes.is_empty() && classes.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            pictures
                .notes
                .push(format!("the categories of {list} are called by numbers; put categories.json beside it, which has the names"));
        }
        pictures.classes = classes;
        for image in all.images {
            match of_image.remove(&image.id).map(|category| labels.get(&category).copied().ok_or(category)) {
                Some(Ok(label)) => {
                    let path = PathBuf::from(image.file_name);
                    pictures.entries.push(Entry { path, labels: [label].into(), ..Entry::default() });
                }
                other => {
                    let detail = match other {
                        Some(Err(category)) => format!("no category has the number {category}"),
                        _ => "it has no annotation".into(),
                    };
                    pictures.problems.push(Bad { place: list.clone(), key: image.file_name, reason: "bad label", detail });
                }
            }
        }
        pictures.source(set, cx)
    }
}

register!(dyn Source, "inat2017", InatJsonConfig, || InatJsonConfig::of(2017));
register!(dyn Source, "inat2018", InatJsonConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::testkit::source::every_law;

    use super::*;
    use crate::testing::{absent, labels, named, open, picture, refused, text};

    #[test]
    fn annotations_name_pictures_and_categories() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["train_val2018/Aves/2/a.jpg", "train_val2018/Insecta/7/b.jpg"] {
            picture(&folder.path().join("inat").join(name), 3);
        }
        let annotations = r#"{"info": {"year": 2018}, "images": [
            {"id": 11, "file_name": "train_val2018/Insecta/7/b.jpg", "width": 8, "rights_holder": "x"},
            {"id": 12, "file_name": "train_val2018/Aves/2/a.jpg"}, {"id": 13, "file_name": "c.jpg"}, {"id": 14, "file_name": "d.jpg"}],
            "annotations": [{"id": 1, "image_id": 12, "category_id": 2}, {"id": 2, "image_id": 11, "category_id": 7},
            {"id": 3, "image_id": 14, "category_id": 9}],
            "categories": [{"id": 7, "name": "7", "supercategory": "Insecta"}, {"id": 2, "name": "2", "supercategory": "Aves"}]}"#;
        text(&folder.path().join("inat/val2018.json"), annotations);
        let config = |change: fn(&mut InatJsonConfig)| {
            let mut config = InatJsonConfig { path: "inat".into(), ..InatJsonConfig::default() };
            change(&mut config);
            config
        };
        let source = open(&config(|_| {}), folder.path());
        assert_eq!((labels(source.as_ref()), source.classes()), (vec![1, 0], &["2".to_owned(), "7".into()][..]));
        assert!(source.notes()[0].contains("categories.json"), "{:?}", source.notes());
        let told: Vec<&str> = source.problems().iter().map(|bad| bad.detail.as_str()).collect();
        assert_eq!(told, ["it has no annotation", "no category has the number 9"]);
        text(
            &folder.path().join("inat/categories.json"),
            r#"[{"id": 2, "name": "Turdus merula", "kingdom": "Animalia"}, {"id": 7, "name": "Apis mellifera"}]"#,
        );
        let source = open(&config(|_| {}), folder.path());
        assert_eq!((named(source.as_ref()), source.notes().len()), (vec!["Apis mellifera".to_owned(), "Turdus merula".into()], 0));
        every_law(&config(|_| {}), folder.path()).expect("every law");
        absent(&config(|config| config.year = 2017), folder.path(), "val2017.json");
        absent(&config(|config| config.split = "train".into()), folder.path(), "train2018.json");
        refused(&config(|config| config.year = 2019), folder.path(), "2017 or 2018");
        refused(&config(|config| config.split = "test".into()), folder.path(), "`val` or `train`");
        text(&folder.path().join("inat/val2018.json"), "{}");
        refused(&config(|_| {}), folder.path(), "no annotation file");
    }
}
