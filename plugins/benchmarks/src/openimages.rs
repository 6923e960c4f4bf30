//! VL Hub's part of OpenImages.

use std::path::Path;

use vlhub_sdk::captions::ClassSet;
use vlhub_sdk::prelude::*;

use crate::about::OPENIMAGES;
use crate::disk::{Entry, Pictures};
use crate::lists;
use crate::relocate::Relocation;
use crate::table::CsvTable;

/// Pictures of OpenImages with ImageNet's labels: VL Hub's `oi1000_val.csv`, whose columns `path` and `idx` are read.
///
/// A picture stands there once for each of its labels, and is measured as often. Classes differ much in size, so the suite `openimages` reports
/// `balanced_top1` too.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) struct OpenImagesConfig {
    /// The CSV, or the folder that it is in.
    pub path: String,
    /// Where the pictures are. Empty: the CSV's folder. Leading folders of the CSV's paths that are not there are left out.
    pub images: String,
    /// Names of the 1000 classes: a known list (`imagenet`, `openclip`, `default`, `default_first`, …), a file or a list.
    pub classes: ClassSet,
}

impl Default for OpenImagesConfig {
    fn default() -> Self {
        Self { path: String::new(), images: String::new(), classes: ClassSet::Named("imagenet".into()) }
    }
}

impl Config<dyn Source> for OpenImagesConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        let place = OPENIMAGES.place(&self.path, cx)?;
        let table = if place.is_dir() { OPENIMAGES.file(place.join("oi1000_val.csv"))? } else { place };
        let mut rows = CsvTable::read(&table)?;
        let (path, label) = (rows.column(&["path", "filepath"])?, rows.column(&["idx"])?);
        let own = table.parent().unwrap_or(Path::new(""));
        let root = if self.images.is_empty() { own.to_owned() } else { cx.folder.join(&self.images) };
        let moved = Relocation::find(&root, rows.rows.iter().map(|(_, row)| &row[path]));
        let classes = lists::imagenet_names(&self.classes, cx)?;
        let problems = std::mem::take(&mut rows.problems);
        let mut pictures = Pictures { root, classes, templates: lists::imagenet_templates(), problems, ..Pictures::default() };
        for (line, row) in &rows.rows {
            match row[label].trim().parse().ok().filter(|label| (*label as usize) < lists::IMAGENET_CLASSES) {
                Some(label) => pictures.entries.push(Entry { path: moved.path(&row[path]), labels: [label].into(), ..Entry::default() }),
                None => pictures.problems.push(rows.bad(*line, "bad label", format!("`{}` is no label of ImageNet's", &row[label]))),
            }
        }
        pictures.below_root();
        pictures.source(&OPENIMAGES, cx)
    }
}

register!(dyn Source, "openimages", OpenImagesConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::testkit::source::every_law;

    use super::*;
    use crate::testing::{absent, labels, open, picture, text};

    #[test]
    fn rows_are_pictures_with_imagenets_labels() {
        let folder = tempfile::tempdir().expect("a folder");
        picture(&folder.path().join("oi/validation/0001.jpg"), 3);
        text(
            &folder.path().join("oi/oi1000_val.csv"),
            "ImageID,idx,path\n0001,404,/open-images-dataset/validation/0001.jpg\n0001,232,/open-images-dataset/validation/0001.jpg\n2,1000,x.jpg\n",
        );
        for path in ["oi", "oi/oi1000_val.csv"] {
            let config = OpenImagesConfig { path: path.into(), ..OpenImagesConfig::default() };
            let source = open(&config, folder.path());
            assert_eq!(labels(source.as_ref()), [404, 232]);
            assert_eq!((source.key(0).as_str(), source.problems().len()), ("validation/0001.jpg", 1));
            assert!(source.unit(0).is_some() && source.unit(0) == source.unit(1), "both labels are of one picture");
            every_law(&config, folder.path()).expect("every law");
        }
        absent(&OpenImagesConfig { path: "gone".into(), ..Default::default() }, folder.path(), "oi1000_val.csv");
        absent(&OpenImagesConfig { path: "oi/validation".into(), ..Default::default() }, folder.path(), "oi1000_val.csv");
    }
}
