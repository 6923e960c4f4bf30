//! ImageNet's validation pictures with ReaL's labels.

use std::path::Path;

use vlhub_sdk::captions::ClassSet;
use vlhub_sdk::prelude::*;

use crate::about::IMAGENET_REAL;
use crate::disk::{Entry, Pictures, has_folder, list, stray, walk};
use crate::lists;
use crate::relocate::Relocation;
use crate::table::CsvTable;

/// ImageNet's validation pictures with the labels of ReaL (Beyer et al., 2020): all of ImageNet's classes that a picture shows.
///
/// One of them is enough to be right. The 3,163 pictures for which ReaL has no label are left out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) struct ImageNetRealConfig {
    /// The folder of ImageNet; or VL Hub's CSV with the columns `path` and `idx_real`.
    pub path: String,
    /// Where the pictures of a CSV are. Empty: its own folder.
    pub images: String,
    /// Names of the 1000 classes: a known list (`imagenet`, `openclip`, `default`, `default_first`, …), a file or a list.
    pub classes: ClassSet,
}

impl Default for ImageNetRealConfig {
    fn default() -> Self {
        Self { path: String::new(), images: String::new(), classes: ClassSet::Named("imagenet".into()) }
    }
}

/// The number that a picture's file name has, from 1.
fn number(path: &Path) -> Option<usize> {
    path.file_stem()?.to_str()?.strip_prefix("ILSVRC2012_val_")?.parse().ok()
}

/// Whether a folder has class folders, or the validation pictures without them.
fn fits(place: &Path) -> bool {
    let numbered = |name: &std::ffi::OsString| number(Path::new(name)).is_some();
    has_folder(place, |name| lists::label_of_wnid(name).is_some()) || list(place).is_ok_and(|names| names.iter().any(numbered))
}

impl ImageNetRealConfig {
    fn of_folder(&self, pictures: &mut Pictures, cx: &SourceCx<'_>) -> Result<()> {
        pictures.root = IMAGENET_REAL.find(&self.path, cx, &["val", "ILSVRC/Data/CLS-LOC/val", ""], fits)?;
        let real = lists::real()?;
        let mut paths = Vec::new();
        let mut problems = Vec::new();
        walk(&pictures.root, Path::new(""), 0, &mut paths, &mut problems);
        // With or without class folders, the pictures come in the order of their numbers.
        paths.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        for path in paths {
            match number(&path).and_then(|number| real.get(number.checked_sub(1)?)) {
                Some(labels) => pictures.entries.push(Entry { path, labels: labels.as_slice().into(), ..Entry::default() }),
                None => problems.push(stray(&pictures.root, &path, "no picture of ImageNet's validation set")),
            }
        }
        pictures.problems = problems;
        Ok(())
    }

    fn of_table(&self, table: &Path, pictures: &mut Pictures, cx: &SourceCx<'_>) -> Result<()> {
        let mut table_read = CsvTable::read(table)?;
        let (path, labels) = (table_read.column(&["path", "filepath"])?, table_read.column(&["idx_real"])?);
        pictures.root = match self.images.as_str() {
            "" => table.parent().map(Path::to_owned).unwrap_or_default(),
            images => cx.folder.join(images),
        };
        let moved = Relocation::find(&pictures.root, table_read.rows.iter().map(|(_, row)| &row[path]));
        pictures.problems = std::mem::take(&mut table_read.problems);
        for (line, row) in &table_read.rows {
            match list_of_labels(&row[labels]) {
                Some(labels) => {
                    pictures.entries.push(Entry { path: moved.path(&row[path]), labels, ..Entry::default() });
                }
                None => pictures.problems.push(table_read.bad(*line, "bad label", format!("`{}` is no list of labels", &row[labels]))),
            }
        }
        pictures.below_root();
        Ok(())
    }
}

/// Labels as Python writes a list: `[970, 795]`, and `-1` or nothing for none.
fn list_of_labels(text: &str) -> Option<Box<[u32]>> {
    let text = text.trim();
    let inner = text.strip_prefix('[').map_or(Some(text), |text| text.strip_suffix(']'))?;
    let parts = inner.split(',').map(str::trim).filter(|part| !part.is_empty() && *part != "-1");
    parts.map(|part| part.parse().ok().filter(|label| (*label as usize) < lists::IMAGENET_CLASSES)).collect()
}

impl Config<dyn Source> for ImageNetRealConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        let place = IMAGENET_REAL.place(&self.path, cx)?;
        let classes = lists::imagenet_names(&self.classes, cx)?;
        let mut pictures = Pictures { classes, templates: lists::imagenet_templates(), ..Pictures::default() };
        if place.is_dir() {
            self.of_folder(&mut pictures, cx)?;
        } else {
            self.of_table(&place, &mut pictures, cx)?;
        }
        if cx.wants.label.is_read() {
            let before = pictures.entries.len();
            pictures.entries.retain(|entry| !entry.labels.is_empty());
            let none = before - pictures.entries.len();
            pictures.notes.extend((none > 0).then(|| format!("{none} of {before} pictures have no label in ReaL, and were left out")));
        }
        pictures.source(&IMAGENET_REAL, cx)
    }
}

register!(dyn Source, "imagenet_real", ImageNetRealConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::testkit::source::every_law;

    use super::*;
    use crate::testing::{absent, open, picture, refused, text};

    fn all_labels(source: &dyn Source) -> Vec<Vec<i64>> {
        (0..source.len()).map(|index| source.read(index).expect("it can be read").caption.labels).collect()
    }

    #[test]
    fn pictures_have_all_their_labels() {
        let folder = tempfile::tempdir().expect("a folder");
        // The first picture of the validation set has no label, the second two, the third two, the fourth one.
        for (name, wnid) in [(1, "n01440764"), (2, "n01751748"), (4, "n01440764")] {
            let name = format!("ILSVRC2012_val_{name:08}.JPEG");
            picture(&folder.path().join("sorted/val").join(wnid).join(&name), 3);
            picture(&folder.path().join("flat/val").join(&name), 3);
        }
        picture(&folder.path().join("flat/val/other.JPEG"), 3);
        for path in ["sorted", "flat", "flat/val"] {
            let config = ImageNetRealConfig { path: path.into(), ..ImageNetRealConfig::default() };
            let source = open(&config, folder.path());
            assert_eq!(all_labels(source.as_ref()), [vec![970, 795], vec![809]], "{path}");
            assert!(source.notes()[0].starts_with("1 of 3 pictures have no label"), "{:?}", source.notes());
            assert_eq!(source.problems().len(), usize::from(path != "sorted"));
            every_law(&config, folder.path()).expect("every law");
        }
        absent(&ImageNetRealConfig { path: "gone".into(), ..Default::default() }, folder.path(), "ILSVRC2012_val_00000001.JPEG");
    }

    #[test]
    fn vl_hubs_table_has_lists_of_labels() {
        let folder = tempfile::tempdir().expect("a folder");
        picture(&folder.path().join("val/a.jpg"), 3);
        picture(&folder.path().join("val/b.jpg"), 4);
        text(&folder.path().join("real.csv"), "path,idx_real\n/data/val/a.jpg,\"[970, 795]\"\n/data/val/b.jpg,[]\n/data/val/a.jpg,[x]\n");
        let config = ImageNetRealConfig { path: "real.csv".into(), ..ImageNetRealConfig::default() };
        let source = open(&config, folder.path());
        assert_eq!(all_labels(source.as_ref()), [vec![970, 795]]);
        assert_eq!(source.problems()[0].to_string(), "`real.csv:4` (real.csv:4): bad label, `[x]` is no list of labels");
        every_law(&config, folder.path()).expect("every law");
        text(&folder.path().join("other.csv"), "path,idx\na.jpg,1\n");
        refused(&ImageNetRealConfig { path: "other.csv".into(), ..config }, folder.path(), "no column `idx_real`");
    }
}
