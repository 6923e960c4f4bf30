//! iNaturalist 2021.

use std::path::Path;

use vlhub_sdk::prelude::*;

use crate::about::INAT2021;
use crate::disk::{Pictures, has_folder, list};
use crate::lists;

/// iNaturalist 2021: 10,000 species, in a folder for each that begins with its label (`00000_Animalia_…_Lumbricus_terrestris`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) struct Inat2021Config {
    /// The folder that `2021_valid` is in, or that folder.
    pub path: String,
    /// `2021_valid`, `2021_train` or `2021_train_mini`, as torchvision calls them.
    pub split: String,
    /// What species are called: `vlhub` (common name, group and genus: `Common Earthworm Animalia Lumbricus`), or `scientific` (genus and
    /// species).
    pub names: SpeciesNames,
}

/// What species are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) enum SpeciesNames {
    /// VL Hub's names.
    Vlhub,
    /// Genus and species.
    Scientific,
}

impl Default for Inat2021Config {
    fn default() -> Self {
        Self { path: String::new(), split: SPLITS[0].0.into(), names: SpeciesNames::Vlhub }
    }
}

/// Parts, and what their folders are called when unpacked.
const SPLITS: [(&str, &str); 3] = [("2021_valid", "val"), ("2021_train", "train"), ("2021_train_mini", "train_mini")];

/// The label with which a folder's name begins.
fn label_of(name: &str) -> Option<u32> {
    let (number, rest) = name.split_once('_')?;
    let digits = number.len() == 5 && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|label| digits && *label < 10_000 && rest.split('_').count() >= 7)
}

/// Gives classes the names that their folders tell: a folder is called by number, kingdom, phylum, class, order, family, genus and the rest of the
/// species' name. Tells for how many.
fn name_scientifically(classes: &mut [String], folders: &[String]) -> usize {
    let labelled = folders.iter().filter_map(|folder| Some((label_of(folder)?, folder)));
    labelled.map(|(label, folder)| classes[label as usize] = folder.split('_').skip(6).collect::<Vec<_>>().join(" ")).count()
}

impl Config<dyn Source> for Inat2021Config {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        let Some((split, unpacked)) = SPLITS.iter().find(|(split, _)| *split == self.split) else {
            let known = SPLITS.map(|(split, _)| split).join(" ");
            return Err(Error::Options(format!("`split` is `{}`; it has to be one of: {known}", self.split)));
        };
        let root = INAT2021.find(&self.path, cx, &[split, unpacked, ""], |place| has_folder(place, |name| label_of(name).is_some()))?;
        let mut classes = lists::inat2021()?;
        if self.names == SpeciesNames::Scientific {
            let folders: Vec<String> = list(&root)?.into_iter().map(|name| name.to_string_lossy().into_owned()).collect();
            let known = name_scientifically(&mut classes, &folders);
            if known < classes.len() {
                let (path, all) = (root.display(), classes.len());
                return Err(Error::Options(format!(
                    "{path} has {known} of {all} folders, which tell the scientific names; use `names = \"vlhub\"`"
                )));
            }
        }
        let mut pictures = Pictures { root, classes, templates: lists::imagenet_templates(), ..Pictures::default() };
        pictures.class_folders(Path::new(""), cx.extent == Extent::Glance, |name| Some([label_of(name)?].into()))?;
        pictures.source(&INAT2021, cx)
    }
}

register!(dyn Source, "inat2021", Inat2021Config);

#[cfg(test)]
mod tests {
    use vlhub_sdk::testkit::source::every_law;

    use super::*;
    use crate::testing::{absent, labels, named, open, picture, refused};

    const FIRST: &str = "00000_Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_terrestris";
    const LAST: &str = "09999_Plantae_Tracheophyta_Polypodiopsida_Polypodiales_Thelypteridaceae_Phegopteris_connectilis";

    #[test]
    fn a_folder_begins_with_its_label() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [FIRST, LAST] {
            picture(&folder.path().join("2021_valid").join(name).join("a.jpg"), 3);
            picture(&folder.path().join("unpacked/val").join(name).join("a.jpg"), 3);
        }
        for path in [".", "unpacked", "2021_valid"] {
            let config = Inat2021Config { path: path.into(), ..Inat2021Config::default() };
            let source = open(&config, folder.path());
            assert_eq!((labels(source.as_ref()), source.classes().len()), (vec![0, 9999], 10_000));
            assert_eq!(named(source.as_ref())[0], "Common Earthworm Animalia Lumbricus");
            every_law(&config, folder.path()).expect("every law");
        }
        let config = |change: fn(&mut Inat2021Config)| {
            let mut config = Inat2021Config { path: ".".into(), ..Inat2021Config::default() };
            change(&mut config);
            config
        };
        refused(&config(|config| config.names = SpeciesNames::Scientific), folder.path(), "2 of 10000 folders");
        refused(&config(|config| config.split = "2021".into()), folder.path(), "2021_valid 2021_train");
        absent(&config(|config| config.path = "gone".into()), folder.path(), FIRST);
        let mut classes = lists::inat2021().expect("whole");
        let folders = [FIRST, "00005_A_B_C_D_E_Genus_species_var", "other"].map(str::to_owned);
        assert_eq!(name_scientifically(&mut classes, &folders), 2);
        assert_eq!((classes[0].as_str(), classes[5].as_str()), ("Lumbricus terrestris", "Genus species var"));
    }
}
