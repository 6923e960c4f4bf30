//! VL Hub's tables of species, and Birds-525.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use vlhub_sdk::prelude::*;

use crate::about::{self, Published};
use crate::disk::{Entry, Pictures};
use crate::lists;
use crate::relocate::Relocation;
use crate::table::CsvTable;

/// Pictures of species that a CSV of VL Hub names: Arboretum, BioCLIP's rare species, fungi, insects, confounding pairs of species; and
/// Birds-525.
///
/// Classes are the values of one column, in the order in which they first stand there. Leading folders of the CSV's paths that are not there are
/// left out, because they are those of another machine.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) struct SpeciesConfig {
    /// The CSV, or the folder that it is in.
    pub path: String,
    /// Which data set it is.
    pub set: SpeciesSet,
    /// Where the pictures are. Empty: the CSV's folder.
    pub images: String,
    /// Column of the classes: `kingdom`, `phylum`, `class`, `order`, `family`, `genus`, `species`, `scientific_name`, `common_name`, or what
    /// else the CSV has.
    pub taxon: String,
    /// Only the rows whose column `data set` says this: `test` of Birds-525. Empty: all rows.
    pub split: String,
}

/// Data sets that a CSV describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "snake_case")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) enum SpeciesSet {
    /// Arboretum.
    Arboretum,
    /// BioCLIP's rare species.
    BioclipRare,
    /// Danish fungi.
    Fungi,
    /// Insects of IP102.
    Insects2,
    /// Pairs of species that are easily confounded.
    Confounding,
    /// Birds-525.
    Birds525,
}

impl Default for SpeciesConfig {
    fn default() -> Self {
        Self::of(SpeciesSet::Arboretum)
    }
}

impl SpeciesConfig {
    fn of(set: SpeciesSet) -> Self {
        let (taxon, split) = match set {
            SpeciesSet::Arboretum | SpeciesSet::BioclipRare | SpeciesSet::Confounding => ("scientific_name", ""),
            SpeciesSet::Fungi | SpeciesSet::Insects2 => ("class", ""),
            SpeciesSet::Birds525 => ("labels", "test"),
        };
        Self { path: String::new(), set, images: String::new(), taxon: taxon.into(), split: split.into() }
    }

    /// What is known of the data set, and what its CSV is called.
    fn about(&self) -> (&'static Published, &'static [&'static str]) {
        match self.set {
            SpeciesSet::Arboretum => (&about::ARBORETUM, &["arboretum_test_metadata.csv", "arboretum_rare_combined_metadata.csv"]),
            SpeciesSet::BioclipRare => (&about::BIOCLIP_RARE, &["bioclip_rare_metadata_n.csv", "bioclip-rare-metadata.csv"]),
            SpeciesSet::Fungi => (&about::FUNGI, &["fungi_metadata_n.csv", "fungi_metadata.csv"]),
            SpeciesSet::Insects2 => (&about::INSECTS2, &["ins2_metadata_n.csv", "ins2_metadata.csv"]),
            SpeciesSet::Confounding => (&about::CONFOUNDING, &["confounding_species.csv"]),
            SpeciesSet::Birds525 => (&about::BIRDS525, &["birds.csv"]),
        }
    }

    /// The CSV.
    fn table(&self, cx: &SourceCx<'_>) -> Result<PathBuf> {
        let (set, files) = self.about();
        let place = set.place(&self.path, cx)?;
        if !place.is_dir() {
            return Ok(place);
        }
        files.iter().map(|file| place.join(file)).find(|file| file.is_file()).ok_or_else(|| set.absent(&place.join(files[0])))
    }

    /// Other names of the column of the classes: BioCLIP's tables call ranks so.
    fn columns(&self) -> Vec<&str> {
        match self.taxon.as_str() {
            "class" if self.set == SpeciesSet::BioclipRare => vec!["cls", "class"],
            "scientific_name" => vec!["scientific_name", "class"],
            column => vec![column],
        }
    }
}

/// Column of the classes among which a picture is judged.
const CANDIDATES: &str = "class_options";

impl Config<dyn Source> for SpeciesConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        let (set, _) = self.about();
        let file = self.table(cx)?;
        let mut table = CsvTable::read(&file)?;
        let path = table.column(&["path", "filepath", "filepaths"])?;
        let class = table.column(&self.columns())?;
        let split = if self.split.is_empty() { None } else { Some(table.column(&["data set", "split"])?) };
        let candidates = table.column(&[CANDIDATES]).ok();
        let root =
            if self.images.is_empty() { file.parent().map(Path::to_owned).unwrap_or_default() } else { cx.folder.join(&self.images) };
        let problems = std::mem::take(&mut table.problems);
        let mut pictures = Pictures { root, templates: lists::imagenet_templates(), problems, ..Pictures::default() };
        let wanted = |row: &csv::StringRecord| split.is_none_or(|split| row[split] == self.split);
        let rows: Vec<_> = table.rows.iter().filter(|(_, row)| wanted(row)).collect();
        let moved = Relocation::find(&pictures.root, rows.iter().map(|(_, row)| &row[path]));
        let mut labels: HashMap<String, u32> = HashMap::new();
        for (line, row) in rows {
            let name = row[class].trim();
            if name.is_empty() {
                pictures.problems.push(table.bad(*line, "no label", format!("its column `{}` is empty", self.taxon)));
                continue;
            }
            let next = labels.len() as u32;
            let label = *labels.entry(name.to_owned()).or_insert_with(|| {
                pictures.classes.push(name.to_owned());
                next
            });
            let meta: BTreeMap<_, _> = candidates.map(|at| (CANDIDATES.to_owned(), row[at].to_owned())).into_iter().collect();
            pictures.entries.push(Entry { path: moved.path(&row[path]), labels: [label].into(), meta });
        }
        pictures.below_root();
        pictures.source(set, cx)
    }
}

register!(dyn Source, "arboretum", SpeciesConfig);
register!(dyn Source, "bioclip_rare", SpeciesConfig, || SpeciesConfig::of(SpeciesSet::BioclipRare));
register!(dyn Source, "fungi", SpeciesConfig, || SpeciesConfig::of(SpeciesSet::Fungi));
register!(dyn Source, "insects2", SpeciesConfig, || SpeciesConfig::of(SpeciesSet::Insects2));
register!(dyn Source, "confounding", SpeciesConfig, || SpeciesConfig::of(SpeciesSet::Confounding));
register!(dyn Source, "birds525", SpeciesConfig, || SpeciesConfig::of(SpeciesSet::Birds525));

#[cfg(test)]
mod tests {
    use vlhub_sdk::testkit::source::every_law;

    use super::*;
    use crate::testing::{absent, labels, named, open, picture, refused, text};

    #[test]
    fn classes_are_the_values_of_a_column_in_the_order_of_the_table() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for path in [
            "arb/Aves/1.jpg",
            "arb/Aves/2.jpg",
            "rare/A/1.jpg",
            "fungi/DF20M/1.JPG",
            "ip/test/67/1.jpg",
            "pairs/C1/1.jpg",
            "birds/test/B/1.jpg",
        ] {
            picture(&root.join(path), 3);
        }
        text(
            &root.join("arb/arboretum_rare_combined_metadata.csv"),
            "filenumber,scientific_name,kingdom,genus,common_name,path\n1,Accipiter nisus granti,Animalia,Accipiter,Canarian Sparrowhawk,/arboretum/Aves/1.jpg\n\
             2,Buteo buteo,Animalia,Buteo,,/arboretum/Aves/2.jpg\n",
        );
        text(
            &root.join("rare/bioclip_rare_metadata_n.csv"),
            "Unnamed: 0,kingdom,cls,path,scientific_name\n0,Animalia,Bivalvia,/scratch/x/A/1.jpg,Cyclonaias tuberculata\n",
        );
        text(&root.join("fungi/fungi_metadata_n.csv"), ",path,class\n0,/DF20M/1.JPG,Amanita excelsa Gonn. & Rabenh.\n");
        text(&root.join("ip/ins2_metadata_n.csv"), "Unnamed: 0,path,class\n0,/ip02/classification/test/67/1.jpg,Lycorma delicatula\n");
        text(
            &root.join("pairs/confounding_species.csv"),
            "path,pair,scientific_name,class_options,idx\n/s/C1/1.jpg,C1,Adalia bipunctata,Harmonia axyridis!Adalia bipunctata,8\n",
        );
        text(
            &root.join("birds/birds.csv"),
            "class id,filepaths,labels,data set,scientific name\n0,train/A/1.jpg,ALBATROSS,train,X\n1,test/B/1.jpg,BARN OWL,test,Y\n",
        );
        let config = |set, path: &str, taxon: &str| {
            let default = SpeciesConfig::of(set);
            SpeciesConfig { path: path.into(), taxon: if taxon.is_empty() { default.taxon.clone() } else { taxon.into() }, ..default }
        };
        for (set, path, taxon, expected) in [
            (SpeciesSet::Arboretum, "arb", "", vec!["Accipiter nisus granti", "Buteo buteo"]),
            (SpeciesSet::Arboretum, "arb/arboretum_rare_combined_metadata.csv", "genus", vec!["Accipiter", "Buteo"]),
            (SpeciesSet::Arboretum, "arb", "kingdom", vec!["Animalia", "Animalia"]),
            (SpeciesSet::Arboretum, "arb", "common_name", vec!["Canarian Sparrowhawk"]),
            (SpeciesSet::BioclipRare, "rare", "class", vec!["Bivalvia"]),
            (SpeciesSet::BioclipRare, "rare", "", vec!["Cyclonaias tuberculata"]),
            (SpeciesSet::Fungi, "fungi", "", vec!["Amanita excelsa Gonn. & Rabenh."]),
            (SpeciesSet::Insects2, "ip", "", vec!["Lycorma delicatula"]),
            (SpeciesSet::Confounding, "pairs", "", vec!["Adalia bipunctata"]),
            (SpeciesSet::Birds525, "birds", "", vec!["BARN OWL"]),
        ] {
            let config = config(set, path, taxon);
            let source = open(&config, root);
            assert_eq!(named(source.as_ref()), expected, "{path} {taxon}");
            every_law(&config, root).expect(path);
        }
        let source = open(&config(SpeciesSet::Confounding, "pairs", ""), root);
        assert_eq!(source.read(0).expect("it can be read").caption.meta[CANDIDATES], "Harmonia axyridis!Adalia bipunctata");
        let source = open(&config(SpeciesSet::Arboretum, "arb", "common_name"), root);
        assert_eq!((source.problems()[0].reason, labels(source.as_ref())), ("no label", vec![0]));
        refused(&config(SpeciesSet::Arboretum, "arb", "gens"), root, "did you mean `genus`?");
        for (set, file) in [
            (SpeciesSet::Arboretum, "arboretum_test_metadata.csv"),
            (SpeciesSet::BioclipRare, "bioclip_rare_metadata_n.csv"),
            (SpeciesSet::Fungi, "fungi_metadata_n.csv"),
            (SpeciesSet::Insects2, "ins2_metadata_n.csv"),
            (SpeciesSet::Confounding, "confounding_species.csv"),
            (SpeciesSet::Birds525, "birds.csv"),
        ] {
            absent(&config(set, "gone", ""), root, file);
        }
        absent(&config(SpeciesSet::Fungi, "birds", ""), root, "fungi_metadata_n.csv");
    }
}
