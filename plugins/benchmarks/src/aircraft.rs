//! FGVC-Aircraft.

use std::path::PathBuf;

use vlhub_sdk::prelude::*;
use vlhub_sdk::sources::ClassNames;

use crate::about::FGVC_AIRCRAFT;
use crate::disk::{Entry, Pictures, stray};
use crate::lists;

/// FGVC-Aircraft (Maji et al., 2013), laid out as it is published: 100 variants, 70 families or 41 manufacturers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) struct AircraftConfig {
    /// The folder that `fgvc-aircraft-2013b` is in, or that folder.
    pub path: String,
    /// `test`, `val`, `train` or `trainval`.
    pub split: String,
    /// What the classes are: `variant` as CLIP_benchmark has them, `family` as VL Hub has them (there with the split `val`), or `manufacturer`.
    pub level: AircraftLevel,
}

/// Levels of FGVC-Aircraft's classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) enum AircraftLevel {
    /// 100 variants: `737-200`.
    Variant,
    /// 70 families: `Boeing 737`.
    Family,
    /// 41 manufacturers: `Boeing`.
    Manufacturer,
}

impl AircraftLevel {
    /// What the level's files are called.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Variant => ("variant", "variants"),
            Self::Family => ("family", "families"),
            Self::Manufacturer => ("manufacturer", "manufacturers"),
        }
    }
}

impl Default for AircraftConfig {
    fn default() -> Self {
        Self { path: String::new(), split: "test".into(), level: AircraftLevel::Variant }
    }
}

impl Config<dyn Source> for AircraftConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        if !["test", "val", "train", "trainval"].contains(&self.split.as_str()) {
            return Err(Error::Options(format!("`split` is `{}`; it has to be `test`, `val`, `train` or `trainval`", self.split)));
        }
        let (one, many) = self.level.words();
        let places = ["fgvc-aircraft-2013b/data", "data", ""];
        let root = FGVC_AIRCRAFT.find(&self.path, cx, &places, |place| place.join("images").is_dir())?;
        let classes = ClassNames::file(&FGVC_AIRCRAFT.file(root.join(format!("{many}.txt")))?)?;
        let list = format!("images_{one}_{}.txt", self.split);
        let lines = ClassNames::file(&FGVC_AIRCRAFT.file(root.join(&list))?)?;
        let mut pictures = Pictures { root, classes, templates: lists::templates("fgvc_aircraft"), ..Pictures::default() };
        for (line, text) in (1..).zip(&lines) {
            let (name, class) = text.split_once(' ').unwrap_or((text, ""));
            match (0..).zip(&pictures.classes).find(|(_, known)| *known == class) {
                Some((label, _)) => {
                    let path = PathBuf::from(format!("images/{name}.jpg"));
                    pictures.entries.push(Entry { path, labels: [label].into(), ..Entry::default() });
                }
                None => pictures.problems.push(Bad {
                    place: format!("{list}:{line}"),
                    detail: format!("`{class}` is not in {many}.txt"),
                    ..stray(&pictures.root, name.as_ref(), "bad label")
                }),
            }
        }
        pictures.source(&FGVC_AIRCRAFT, cx)
    }
}

register!(dyn Source, "fgvc_aircraft", AircraftConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::testkit::source::every_law;

    use super::*;
    use crate::testing::{absent, named, open, picture, refused, text};

    #[test]
    fn classes_are_of_the_level_that_is_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("fgvc-aircraft-2013b/data");
        for name in ["0034309", "0056978", "0000001"] {
            picture(&root.join(format!("images/{name}.jpg")), 3);
        }
        text(&root.join("variants.txt"), "707-320\nA300B4\nDC-3\n");
        text(&root.join("families.txt"), "Boeing 707\nA300\n");
        text(&root.join("images_variant_test.txt"), "0034309 A300B4\n0056978 707-320\n0000001 DC 3\n");
        text(&root.join("images_family_val.txt"), "0034309 A300\n0056978 Boeing 707\n");
        let config = |split: &str, level| AircraftConfig { path: ".".into(), split: split.into(), level };
        let variant = config("test", AircraftLevel::Variant);
        let source = open(&variant, folder.path());
        assert_eq!((named(source.as_ref()), source.classes().len()), (vec!["A300B4".to_owned(), "707-320".into()], 3));
        assert_eq!(source.problems()[0].place, "images_variant_test.txt:3");
        every_law(&variant, folder.path()).expect("every law");
        let source = open(&config("val", AircraftLevel::Family), folder.path());
        assert_eq!(named(source.as_ref()), ["A300", "Boeing 707"], "a class name has spaces");
        absent(&config("test", AircraftLevel::Manufacturer), folder.path(), "manufacturers.txt");
        refused(&config("tst", AircraftLevel::Variant), folder.path(), "`trainval`");
        absent(&AircraftConfig { path: "gone".into(), ..AircraftConfig::default() }, folder.path(), "images_variant_test.txt");
    }
}
