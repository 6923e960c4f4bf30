//! Flowers-102.

use std::path::PathBuf;

use vlhub_sdk::prelude::*;

use crate::about::FLOWERS102;
use crate::disk::{Entry, Pictures};
use crate::{lists, mat};

/// Flowers-102 (Nilsback and Zisserman, 2008), laid out as it is published and as torchvision reads it. The names are CLIP's.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) struct FlowersConfig {
    /// The folder that `flowers-102` is in, or that folder.
    pub path: String,
    /// `test`, `val` or `train`.
    pub split: String,
}

impl Default for FlowersConfig {
    fn default() -> Self {
        Self { path: String::new(), split: "test".into() }
    }
}

impl Config<dyn Source> for FlowersConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        let list = match self.split.as_str() {
            "test" => "tstid",
            "val" => "valid",
            "train" => "trnid",
            split => return Err(Error::Options(format!("`split` is `{split}`; it has to be `test`, `val` or `train`"))),
        };
        let root = FLOWERS102.find(&self.path, cx, &["flowers-102", ""], |place| place.join("jpg").is_dir())?;
        let numbers = |file: &str, name: &str| -> Result<Vec<f64>> {
            let path = FLOWERS102.file(root.join(file))?;
            let array = mat::array(&path, name)?;
            array.numbers().map(<[f64]>::to_vec).ok_or_else(|| Error::invalid(format!("{}: `{name}` has no numbers", path.display())))
        };
        let (labels, split) = (numbers("imagelabels.mat", "labels")?, numbers("setid.mat", list)?);
        let mut pictures =
            Pictures { root: root.clone(), classes: lists::flowers(), templates: lists::templates("flowers102"), ..Pictures::default() };
        for number in split {
            let key = format!("jpg/image_{:05}.jpg", number as u64);
            // Pictures and classes are counted from 1.
            let class = (number >= 1.0).then(|| labels.get(number as usize - 1)).flatten().copied().unwrap_or_default();
            if class >= 1.0 && class <= pictures.classes.len() as f64 {
                pictures.entries.push(Entry { path: PathBuf::from(key), labels: [class as u32 - 1].into(), ..Entry::default() });
            } else {
                let place = root.join("setid.mat").display().to_string();
                pictures.problems.push(Bad { key, place, reason: "bad label", detail: format!("class {class} of 102") });
            }
        }
        pictures.source(&FLOWERS102, cx)
    }
}

register!(dyn Source, "flowers102", FlowersConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::testkit::source::every_law;

    use super::*;
    use crate::testing::{absent, labels, named, open, picture, refused};

    #[test]
    fn splits_and_labels_are_those_of_the_mat_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("flowers-102");
        (1..=4).for_each(|number| picture(&root.join(format!("jpg/image_{number:05}.jpg")), number));
        let config = |path: &str, split: &str| FlowersConfig { path: path.into(), split: split.into() };
        absent(&config(".", "test"), folder.path(), "imagelabels.mat");
        for name in ["imagelabels.mat", "setid.mat"] {
            std::fs::copy(format!("{}/tests/mat/{name}", env!("CARGO_MANIFEST_DIR")), root.join(name)).expect("room");
        }
        let source = open(&config(".", "test"), folder.path());
        assert_eq!((labels(source.as_ref()), source.key(0).as_str()), (vec![0, 101], "jpg/image_00004.jpg"), "in the order of the list");
        assert_eq!(named(source.as_ref()), ["pink primrose", "blackberry lily"]);
        assert_eq!((source.problems().len(), source.classes().len()), (1, 102), "the split names a fifth picture");
        assert_eq!(labels(open(&config("flowers-102", "val"), folder.path()).as_ref()), [76]);
        assert_eq!(labels(open(&config(".", "train"), folder.path()).as_ref()), [0]);
        every_law(&config(".", "test"), folder.path()).expect("every law");
        refused(&config(".", "tst"), folder.path(), "`test`, `val` or `train`");
        absent(&config("gone", "test"), folder.path(), "jpg/image_00001.jpg");
    }
}
