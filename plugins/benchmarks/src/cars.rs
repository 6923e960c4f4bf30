//! Stanford Cars.

use std::path::PathBuf;

use vlhub_sdk::prelude::*;

use crate::about::STANFORD_CARS;
use crate::disk::{Entry, Pictures, stray};
use crate::{lists, mat};

/// Stanford Cars (Krause et al., 2013): 196 makes, models and years, laid out as torchvision reads it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) struct CarsConfig {
    /// The folder that `stanford_cars` is in, or that folder.
    pub path: String,
    /// `test` or `train`.
    pub split: String,
}

impl Default for CarsConfig {
    fn default() -> Self {
        Self { path: String::new(), split: "test".into() }
    }
}

impl Config<dyn Source> for CarsConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        let (list, folder) = match self.split.as_str() {
            "test" => ("cars_test_annos_withlabels.mat", "cars_test"),
            "train" => ("devkit/cars_train_annos.mat", "cars_train"),
            split => return Err(Error::Options(format!("`split` is `{split}`; it has to be `test` or `train`"))),
        };
        let root = STANFORD_CARS.find(&self.path, cx, &["stanford_cars", ""], |place| place.join("devkit").is_dir())?;
        let names = mat::array(&STANFORD_CARS.file(root.join("devkit/cars_meta.mat"))?, "class_names")?;
        let list = STANFORD_CARS.file(root.join(list))?;
        let annotations = mat::array(&list, "annotations")?;
        let broken = |what: &str| Error::invalid(format!("{}: {what}", list.display()));
        let classes = names.texts().ok_or_else(|| broken("`class_names` of cars_meta.mat is no list of names"))?;
        let files = annotations.field("fname").ok_or_else(|| broken("`annotations` has no field `fname`"))?;
        let labels = annotations.field("class").ok_or_else(|| broken("`annotations` has no field `class`"))?;
        let mut pictures = Pictures { root, classes, templates: lists::templates("stanford_cars"), ..Pictures::default() };
        for (file, label) in files.into_iter().zip(labels) {
            let file = file.text().ok_or_else(|| broken("a file's name is no text"))?;
            // Classes are counted from 1.
            let class = label.numbers().and_then(|numbers| numbers.first()).copied().unwrap_or_default();
            if class >= 1.0 && class <= pictures.classes.len() as f64 {
                let path = PathBuf::from(folder).join(file);
                pictures.entries.push(Entry { path, labels: [class as u32 - 1].into(), ..Entry::default() });
            } else {
                let detail = format!("class {class} of {}", pictures.classes.len());
                pictures.problems.push(Bad { detail, ..stray(&pictures.root, file.as_ref(), "bad label") });
            }
        }
        pictures.source(&STANFORD_CARS, cx)
    }
}

register!(dyn Source, "stanford_cars", CarsConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::testkit::source::every_law;

    use super::*;
    use crate::testing::{absent, named, open, picture, refused};

    #[test]
    fn names_and_labels_are_those_of_the_devkit() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("stanford_cars");
        for name in ["00001", "00002", "00003"] {
            picture(&root.join(format!("cars_test/{name}.jpg")), 3);
        }
        std::fs::create_dir_all(root.join("devkit")).expect("room");
        let config = |path: &str, split: &str| CarsConfig { path: path.into(), split: split.into() };
        absent(&config(".", "test"), folder.path(), "devkit/cars_meta.mat");
        let mat = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mat");
        std::fs::copy(format!("{mat}/cars_meta.mat"), root.join("devkit/cars_meta.mat")).expect("room");
        std::fs::copy(format!("{mat}/cars_annos.mat"), root.join("cars_test_annos_withlabels.mat")).expect("room");
        for path in [".", "stanford_cars"] {
            let source = open(&config(path, "test"), folder.path());
            assert_eq!(named(source.as_ref()), ["Acura TL Sedan 2012", "AM General Hummer SUV 2000"]);
            assert_eq!((source.templates().len(), source.problems()[0].detail.as_str()), (8, "class 4 of 3"));
            every_law(&config(path, "test"), folder.path()).expect("every law");
        }
        absent(&config(".", "train"), folder.path(), "cars_train_annos.mat");
        absent(&config("gone", "test"), folder.path(), "cars_test_annos_withlabels.mat");
        refused(&config(".", "val"), folder.path(), "`test` or `train`");
        std::fs::copy(format!("{mat}/setid.mat"), root.join("devkit/cars_meta.mat")).expect("room");
        refused(&config(".", "test"), folder.path(), "no array `class_names`");
    }
}
