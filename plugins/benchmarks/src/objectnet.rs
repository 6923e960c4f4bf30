//! ObjectNet.

use std::collections::HashMap;
use std::path::Path;

use vlhub_sdk::captions::ClassSet;
use vlhub_sdk::prelude::*;

use crate::about::OBJECTNET;
use crate::disk::{Pictures, has_folder};
use crate::lists;

/// ObjectNet (Barbu et al., 2019): objects at home, in unusual places and views. The 113 of its 313 classes that ImageNet has too are read; the
/// folders of the others are counted.
///
/// Each picture has a red border of 2 pixels, which its authors ask to remove. A class may be several of ImageNet's, of which one is enough to
/// be right.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) struct ObjectNetConfig {
    /// The folder.
    pub path: String,
    /// Whose classes: `objectnet`, the 113 under ObjectNet's names in small letters, as CLIP_benchmark has them; or `imagenet`, ImageNet's 1000,
    /// of which a model chooses among the 125 that these are, for supervised heads and as VL Hub has it.
    pub labels: ObjectNetLabels,
    /// Names of ImageNet's 1000 classes, where they are the classes: a known list (`imagenet`, `openclip`, `default`, …), a file or a list.
    pub classes: ClassSet,
    /// Pixels that are cut off on each side. 0 leaves the border, as CLIP_benchmark does.
    pub border: u32,
}

/// Whose classes ObjectNet's pictures have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) enum ObjectNetLabels {
    /// ObjectNet's.
    ObjectNet,
    /// ImageNet's.
    ImageNet,
}

impl Default for ObjectNetConfig {
    fn default() -> Self {
        Self { path: String::new(), labels: ObjectNetLabels::ObjectNet, classes: ClassSet::Named("imagenet".into()), border: 2 }
    }
}

impl Config<dyn Source> for ObjectNetConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        let known = lists::objectnet();
        let of_imagenet = self.labels == ObjectNetLabels::ImageNet;
        let labels: HashMap<&str, Box<[u32]>> = (0..)
            .zip(&known)
            .map(|(place, class)| (class.folder, if of_imagenet { class.imagenet.clone().into() } else { [place].into() }))
            .collect();
        let places = ["objectnet-1.0/images", "images", ""];
        let root = OBJECTNET.find(&self.path, cx, &places, |place| has_folder(place, |name| labels.contains_key(name)))?;
        let mut pictures = Pictures { root, border: self.border, templates: lists::imagenet_templates(), ..Pictures::default() };
        if of_imagenet {
            pictures.classes = lists::imagenet_names(&self.classes, cx)?;
            pictures.evaluated = known.iter().flat_map(|class| class.imagenet.iter().copied()).collect();
            pictures.evaluated.sort_unstable();
        } else {
            pictures.classes = known.iter().map(|class| class.name.to_owned()).collect();
        }
        pictures.class_folders(Path::new(""), cx.extent == Extent::Glance, |name| labels.get(name).cloned())?;
        pictures.source(&OBJECTNET, cx)
    }
}

register!(dyn Source, "objectnet", ObjectNetConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::testkit::source::every_law;

    use super::*;
    use crate::testing::{absent, named, open, picture, refused};

    #[test]
    fn overlapping_classes_are_read_and_the_others_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in ["alarm_clock/a.png", "backpack/b.png", "air_freshener/c.png", "band_aid/d.png"] {
            picture(&folder.path().join("objectnet-1.0/images").join(path), 9);
        }
        let own = ObjectNetConfig { path: ".".into(), ..ObjectNetConfig::default() };
        let source = open(&own, folder.path());
        assert_eq!(named(source.as_ref()), ["alarm clock", "backpack", "band aid"]);
        assert_eq!((source.classes().len(), source.evaluated().len()), (113, 0));
        assert!(source.notes()[0].starts_with("1 folders of ") && source.notes()[0].ends_with(": air_freshener"), "{:?}", source.notes());
        let Some(Picture::Decoded(image)) = source.read(0).expect("it can be read").picture else { panic!("its border is cut off") };
        assert_eq!(image.dimensions(), (4, 2), "8×6 without 2 pixels on each side");
        let imagenet = ObjectNetConfig { labels: ObjectNetLabels::ImageNet, border: 0, ..own.clone() };
        let source = open(&imagenet, folder.path());
        let first = source.read(0).expect("it can be read");
        assert_eq!(first.caption.labels, [409, 530], "an alarm clock is one of two of ImageNet's");
        assert!(matches!(first.picture, Some(Picture::Encoded(_))));
        assert_eq!((source.classes().len(), source.evaluated().len()), (1000, 125));
        for config in [&own, &imagenet] {
            every_law(config, folder.path()).expect("every law");
        }
        let wide = ObjectNetConfig { border: 3, ..own.clone() };
        let error = open(&wide, folder.path()).read(0).expect_err("nothing is left");
        assert!(error.detail.contains("8×6"), "{error}");
        absent(&ObjectNetConfig { path: "gone".into(), ..own.clone() }, folder.path(), "objectnet-1.0/images/alarm_clock");
        std::fs::create_dir_all(folder.path().join("other/cat")).expect("room");
        refused(&ObjectNetConfig { path: "other".into(), ..own }, folder.path(), "is not `objectnet`");
    }
}
