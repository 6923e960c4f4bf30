//! ImageNet, and the data sets that have its classes in folders: V2, A, R, Sketch, Stylized.

use std::path::Path;

use vlhub_sdk::captions::ClassSet;
use vlhub_sdk::prelude::*;

use crate::about::{self, Published};
use crate::disk::{Pictures, has_folder};
use crate::lists;

/// Pictures of ImageNet's classes, in a folder for each: ImageNet itself (Russakovsky et al., 2015), V2 (Recht et al., 2019), A and R (Hendrycks
/// et al., 2021), Sketch (Wang et al., 2019) and Stylized (Geirhos et al., 2019).
///
/// Labels are ImageNet's, 0 to 999, whatever folders are there: by the WordNet number that a folder is called, and in V2 by its number (the
/// folders sort as text: 0, 1, 10, …). ImageNet-A and R have pictures of 200 of the classes, among which a model chooses. Names and templates
/// are CLIP's.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) struct ImageNetConfig {
    /// The folder.
    pub path: String,
    /// Which data set it is.
    pub variant: ImageNetVariant,
    /// Which part, where there are several: `val` (default) or `train` of ImageNet and Stylized; `matched-frequency` (default), `threshold-0.7`
    /// or `top-images` of V2.
    pub split: String,
    /// Names of the 1000 classes: a known list (`imagenet`, `openclip`, `default`, `default_first`, …), a file or a list.
    pub classes: ClassSet,
}

/// Data sets with ImageNet's classes in folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) enum ImageNetVariant {
    /// ImageNet itself.
    ImageNet,
    /// ImageNetV2.
    V2,
    /// ImageNet-A.
    A,
    /// ImageNet-R.
    R,
    /// ImageNet-Sketch.
    Sketch,
    /// Stylized-ImageNet.
    Stylized,
}

impl Default for ImageNetConfig {
    fn default() -> Self {
        Self::of(ImageNetVariant::ImageNet)
    }
}

impl ImageNetConfig {
    fn of(variant: ImageNetVariant) -> Self {
        let split = match variant {
            ImageNetVariant::ImageNet | ImageNetVariant::Stylized => "val",
            ImageNetVariant::V2 => V2_SPLITS[0].0,
            _ => "",
        };
        Self { path: String::new(), variant, split: split.into(), classes: ClassSet::Named("imagenet".into()) }
    }

    /// Folders below `path` where the class folders may be.
    fn places(&self) -> Result<Vec<String>> {
        let split = self.split.as_str();
        let refused = |known: &str| Err(Error::Options(format!("`split` is `{split}`; it has to be one of: {known}")));
        let places = match self.variant {
            ImageNetVariant::V2 => match V2_SPLITS.iter().find(|(known, _)| *known == split) {
                Some((_, unpacked)) => vec![format!("ImageNetV2-{split}"), (*unpacked).to_owned(), String::new()],
                None => return refused(&V2_SPLITS.map(|(split, _)| split).join(" ")),
            },
            ImageNetVariant::ImageNet | ImageNetVariant::Stylized if !["val", "train"].contains(&split) => return refused("val train"),
            ImageNetVariant::ImageNet | ImageNetVariant::Stylized => {
                vec![split.to_owned(), format!("ILSVRC/Data/CLS-LOC/{split}"), String::new()]
            }
            _ if !split.is_empty() => return Err(Error::Options(format!("`split` is `{split}`; this data set has no parts"))),
            ImageNetVariant::A => vec!["imagenet-a".into(), String::new()],
            ImageNetVariant::R => vec!["imagenet-r".into(), String::new()],
            ImageNetVariant::Sketch => vec!["sketch".into(), "ImageNet-Sketch".into(), String::new()],
        };
        Ok(places)
    }

    fn about(&self) -> (&'static Published, Vec<u32>) {
        match self.variant {
            ImageNetVariant::ImageNet => (&about::IMAGENET, Vec::new()),
            ImageNetVariant::V2 => (&about::IMAGENET_V2, Vec::new()),
            ImageNetVariant::A => (&about::IMAGENET_A, lists::imagenet_a()),
            ImageNetVariant::R => (&about::IMAGENET_R, lists::imagenet_r()),
            ImageNetVariant::Sketch => (&about::IMAGENET_SKETCH, Vec::new()),
            ImageNetVariant::Stylized => (&about::IMAGENET_STYLIZED, Vec::new()),
        }
    }
}

/// Parts of V2: their names, and what their folders are called when unpacked.
const V2_SPLITS: [(&str, &str); 3] = [
    ("matched-frequency", "imagenetv2-matched-frequency-format-val"),
    ("threshold-0.7", "imagenetv2-threshold0.7-format-val"),
    ("top-images", "imagenetv2-top-images-format-val"),
];

/// The label that a folder of V2 is called.
fn number(name: &str) -> Option<u32> {
    name.parse().ok().filter(|number| (*number as usize) < lists::IMAGENET_CLASSES && name.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Config<dyn Source> for ImageNetConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        let (set, evaluated) = self.about();
        let label_of = if self.variant == ImageNetVariant::V2 { number } else { lists::label_of_wnid };
        let places = self.places()?;
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        let root = set.find(&self.path, cx, &places, |place| has_folder(place, |name| label_of(name).is_some()))?;
        let classes = lists::imagenet_names(&self.classes, cx)?;
        let mut pictures = Pictures { root, classes, templates: lists::imagenet_templates(), evaluated, ..Pictures::default() };
        let asked = pictures.evaluated.clone();
        pictures.class_folders(Path::new(""), cx.extent == Extent::Glance, |name| {
            let label = label_of(name).filter(|label| asked.is_empty() || asked.contains(label))?;
            Some([label].into())
        })?;
        pictures.source(set, cx)
    }
}

register!(dyn Source, "imagenet", ImageNetConfig);
register!(dyn Source, "imagenet_v2", ImageNetConfig, || ImageNetConfig::of(ImageNetVariant::V2));
register!(dyn Source, "imagenet_a", ImageNetConfig, || ImageNetConfig::of(ImageNetVariant::A));
register!(dyn Source, "imagenet_r", ImageNetConfig, || ImageNetConfig::of(ImageNetVariant::R));
register!(dyn Source, "imagenet_sketch", ImageNetConfig, || ImageNetConfig::of(ImageNetVariant::Sketch));
register!(dyn Source, "imagenet_stylized", ImageNetConfig, || ImageNetConfig::of(ImageNetVariant::Stylized));

#[cfg(test)]
mod tests {
    use vlhub_sdk::testkit::source::every_law;

    use super::*;
    use crate::testing::{labels, picture, refused};

    #[test]
    fn labels_are_imagenets_whatever_folders_are_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |path: &str| picture(&folder.path().join(path), 3);
        for path in ["in/val/n01440764/a.JPEG", "in/val/n01443537/b.JPEG", "in/val/n15075141/c.JPEG", "in/val/other/d.JPEG"] {
            put(path);
        }
        for number in [0, 1, 2, 10, 11, 999] {
            put(&format!("v2/ImageNetV2-matched-frequency/{number}/a.jpeg"));
        }
        for path in ["a/imagenet-a/n01498041/a.jpg", "a/imagenet-a/n01440764/not-in-a.jpg", "a/imagenet-a/README.txt"] {
            put(path);
        }
        for path in ["r/n01443537/a.jpg", "sketch/sketch/n01440764/a.JPEG", "stylized/val/n01440764/a.png"] {
            put(path);
        }
        for (variant, path, expected, why) in [
            (ImageNetVariant::ImageNet, "in", vec![0, 1, 999], "by WordNet number"),
            (ImageNetVariant::ImageNet, "in/val", vec![0, 1, 999], "the folder itself"),
            (ImageNetVariant::V2, "v2", vec![0, 1, 10, 11, 2, 999], "by number, in the order of text"),
            (ImageNetVariant::A, "a", vec![6], "one of the 200"),
            (ImageNetVariant::R, "r", vec![1], "one of the 200"),
            (ImageNetVariant::Sketch, "sketch", vec![0], "all 1000"),
            (ImageNetVariant::Stylized, "stylized", vec![0], "all 1000"),
        ] {
            let config = ImageNetConfig { path: path.into(), ..ImageNetConfig::of(variant) };
            let source = config.build(&SourceCx::new(folder.path())).expect(why);
            assert_eq!(labels(source.as_ref()), expected, "{why}");
            assert_eq!((source.classes().len(), source.classes()[0].as_str(), source.templates().len()), (1000, "tench", 80));
            every_law(&config, folder.path()).expect(why);
        }
        let config = ImageNetConfig { path: "a".into(), ..ImageNetConfig::of(ImageNetVariant::A) };
        let source = config.build(&SourceCx::new(folder.path())).expect("there");
        assert!(source.evaluated().len() == 200 && source.notes()[0].contains("n01440764"), "{:?}", source.notes());
        assert_eq!(source.problems()[0].reason, "not in a class folder");
    }

    #[test]
    fn what_is_not_there_or_not_known_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        for variant in [ImageNetVariant::ImageNet, ImageNetVariant::V2, ImageNetVariant::A, ImageNetVariant::R, ImageNetVariant::Sketch] {
            let config = ImageNetConfig { path: "gone".into(), ..ImageNetConfig::of(variant) };
            let error = config.build(&SourceCx::new(folder.path())).expect_err("nothing is there");
            assert!(error.is_absent(), "{error}");
        }
        picture(&folder.path().join("cats/cat/a.jpg"), 3);
        let config = |change: fn(&mut ImageNetConfig)| {
            let mut config = ImageNetConfig { path: "cats".into(), ..ImageNetConfig::default() };
            change(&mut config);
            config
        };
        refused(&config(|_| {}), folder.path(), "is not `imagenet` as it is published");
        refused(&config(|config| config.split = "test".into()), folder.path(), "one of: val train");
        refused(
            &config(|config| config.variant = ImageNetVariant::V2),
            folder.path(),
            "one of: matched-frequency threshold-0.7 top-images",
        );
        refused(&config(|config| config.variant = ImageNetVariant::A), folder.path(), "has no parts");
        picture(&folder.path().join("cats/n01440764/a.jpg"), 3);
        refused(&config(|config| config.classes = ClassSet::List(vec!["a".into()])), folder.path(), "`classes` has 1 names");
    }
}
