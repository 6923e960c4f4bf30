//! ImageNet-C: ImageNet's validation pictures, corrupted.

use std::path::Path;

use vlhub_sdk::captions::ClassSet;
use vlhub_sdk::prelude::*;
use vlhub_sdk::suggest;

use crate::about::IMAGENET_C;
use crate::disk::{Pictures, has_folder, list};
use crate::lists;

/// ImageNet's validation pictures with common corruptions, each at severities 1 to 5 (Hendrycks and Dietterich, 2019).
///
/// All corruptions and severities that are there are read unless options choose among them; they have the same pictures, so the accuracy over
/// all is the mean of theirs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) struct ImageNetCConfig {
    /// The folder, with one for each corruption.
    pub path: String,
    /// The corruption, such as `gaussian_noise`. Empty: all that are there.
    pub corruption: String,
    /// How strong it is, 1 to 5. 0: all that are there.
    pub severity: u8,
    /// Names of the 1000 classes: a known list (`imagenet`, `openclip`, `default`, `default_first`, …), a file or a list.
    pub classes: ClassSet,
}

impl Default for ImageNetCConfig {
    fn default() -> Self {
        Self { path: String::new(), corruption: String::new(), severity: 0, classes: ClassSet::Named("imagenet".into()) }
    }
}

/// Whether a folder's name is a severity.
fn is_severity(name: &str) -> bool {
    matches!(name, "1" | "2" | "3" | "4" | "5")
}

impl Config<dyn Source> for ImageNetCConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        if self.severity > 5 {
            return Err(Error::Options(format!("`severity` is {}; it has to be 1 to 5, or 0 for all", self.severity)));
        }
        let root = IMAGENET_C.place(&self.path, cx)?;
        let mut found: Vec<String> = list(&root)?.into_iter().map(|name| name.to_string_lossy().into_owned()).collect();
        found.retain(|name| has_folder(&root.join(name), is_severity));
        if found.is_empty() {
            return Err(IMAGENET_C.unlike(&root));
        }
        if !self.corruption.is_empty() && !found.contains(&self.corruption) {
            let near = suggest(&self.corruption, found.iter().map(String::as_str)).map(|near| format!("; did you mean `{near}`?"));
            let text = format!("{} has no corruption `{}`; it has: {}", root.display(), self.corruption, found.join(" "));
            return Err(Error::Options(text + &near.unwrap_or_default()));
        }
        found.retain(|name| self.corruption.is_empty() || *name == self.corruption);
        let classes = lists::imagenet_names(&self.classes, cx)?;
        // A picture is there once for each corruption and severity, whose folders come first.
        let mut pictures = Pictures { root, classes, templates: lists::imagenet_templates(), variant_folders: 2, ..Pictures::default() };
        for corruption in &found {
            for severity in (1..=5).filter(|severity| self.severity == 0 || *severity == self.severity) {
                let inner = Path::new(corruption).join(severity.to_string());
                if pictures.root.join(&inner).is_dir() {
                    pictures.class_folders(&inner, cx.extent == Extent::Glance, |name| Some([lists::label_of_wnid(name)?].into()))?;
                }
            }
            if cx.extent == Extent::Glance && !pictures.entries.is_empty() {
                break;
            }
        }
        pictures.notes.push(format!("corruptions of ImageNet-C that were read: {}", found.join(" ")));
        pictures.source(&IMAGENET_C, cx)
    }
}

register!(dyn Source, "imagenet_c", ImageNetCConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::testkit::source::every_law;

    use super::*;
    use crate::testing::{absent, labels, open, picture, refused};

    #[test]
    fn corruptions_of_one_picture_are_one_sampling_unit() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in ["fog/1/n01440764/a.JPEG", "fog/3/n01440764/a.JPEG", "blur/1/n01440764/a.JPEG", "blur/1/n01440764/b.JPEG"] {
            picture(&folder.path().join("c").join(path), 3);
        }
        let source = open(&ImageNetCConfig { path: "c".into(), ..ImageNetCConfig::default() }, folder.path());
        let units: Vec<_> = (0..source.len()).map(|index| source.unit(index).expect("each has one")).collect();
        assert_eq!(units, ["a", "b", "a", "a"].map(|name| format!("n01440764/{name}.JPEG")), "blur comes first");
    }

    #[test]
    fn corruptions_and_severities_are_chosen() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in ["fog/1/n01440764/a.JPEG", "fog/3/n01443537/a.JPEG", "blur/1/n15075141/a.JPEG"] {
            picture(&folder.path().join("c").join(path), 3);
        }
        let config = |corruption: &str, severity| ImageNetCConfig {
            path: "c".into(),
            corruption: corruption.into(),
            severity,
            ..ImageNetCConfig::default()
        };
        for (corruption, severity, expected) in
            [("", 0, vec![999, 0, 1]), ("fog", 0, vec![0, 1]), ("fog", 3, vec![1]), ("", 1, vec![999, 0])]
        {
            let config = config(corruption, severity);
            assert_eq!(labels(open(&config, folder.path()).as_ref()), expected, "{corruption} {severity}");
            every_law(&config, folder.path()).expect("every law");
        }
        refused(&config("fg", 0), folder.path(), "did you mean `fog`?");
        refused(&config("fog", 6), folder.path(), "1 to 5");
        refused(&config("fog", 5), folder.path(), "no picture of `imagenet_c` was found");
        absent(&ImageNetCConfig { path: "gone".into(), ..config("", 0) }, folder.path(), "gaussian_noise/1/n01440764");
    }
}
