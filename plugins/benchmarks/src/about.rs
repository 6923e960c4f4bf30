//! What is known of each data set: its layout, and where it comes from.

use std::path::{Path, PathBuf};

use vlhub_sdk::prelude::*;

/// A published data set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    /// Its name in a run file.
    pub name: &'static str,
    /// What has to be in the folder that `path` names, a line for each thing.
    pub layout: &'static [&'static str],
    /// Where it comes from.
    pub from: &'static str,
}

impl Published {
    /// The folder, or the file, that the option `path` names.
    ///
    /// # Errors
    /// No `path`; [`Error::Absent`] where nothing is there, or an empty folder.
    pub fn place(&self, path: &str, cx: &SourceCx<'_>) -> Result<PathBuf> {
        if path.is_empty() {
            return Err(Error::invalid(format!("`path` is missing: where `{}` is; {}", self.name, self.expected())));
        }
        let place = cx.folder.join(path);
        let empty = || std::fs::read_dir(&place).is_ok_and(|mut entries| entries.next().is_none());
        if place.exists() && !empty() { Ok(place) } else { Err(self.absent(&place)) }
    }

    /// The first of several places, below the folder that `path` names, that `fits`.
    ///
    /// # Errors
    /// As [`Published::place`]; [`Error::Invalid`] where there is something else.
    pub fn find(&self, path: &str, cx: &SourceCx<'_>, inner: &[&str], fits: impl Fn(&Path) -> bool) -> Result<PathBuf> {
        let place = self.place(path, cx)?;
        let found = inner.iter().map(|inner| if inner.is_empty() { place.clone() } else { place.join(inner) }).find(|place| fits(place));
        found.ok_or_else(|| self.unlike(&place))
    }

    /// A file that has to be there.
    ///
    /// # Errors
    /// [`Error::Absent`] where it is not.
    pub fn file(&self, path: PathBuf) -> Result<PathBuf> {
        if path.exists() { Ok(path) } else { Err(self.absent(&path)) }
    }

    /// It is not where it was looked for.
    pub fn absent(&self, place: &Path) -> Error {
        Error::Absent { path: place.display().to_string(), layout: self.expected() }
    }

    /// Something else is there.
    pub fn unlike(&self, place: &Path) -> Error {
        Error::invalid(format!("{} is not `{}` as it is published; {}", place.display(), self.name, self.expected()))
    }

    fn expected(&self) -> String {
        format!("`path` has to be a folder with\n  {}\nIt comes from {}", self.layout.join("\n  "), self.from)
    }
}

macro_rules! published {
    ($($constant:ident = $name:literal: $layout:expr, $from:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`.")]
            pub(crate) const $constant: Published = Published { name: $name, layout: &$layout, from: $from };
        )*
        /// All of them.
        #[cfg(test)]
        pub(crate) const ALL: &[Published] = &[$($constant),*];
    };
}

published! {
    IMAGENET = "imagenet": [
        "val/n01440764/ILSVRC2012_val_00000293.JPEG, … (1000 folders; `val` may be left out, or be `split`)",
    ], "https://image-net.org/challenges/LSVRC/2012/ (ILSVRC2012_img_val.tar, sorted into folders)";
    IMAGENET_V2 = "imagenet_v2": [
        "ImageNetV2-matched-frequency/0/….jpeg, 1/, … 999/ (or imagenetv2-matched-frequency-format-val/, or the folders themselves)",
    ], "https://huggingface.co/datasets/vaishaal/ImageNetV2 (imagenetv2-matched-frequency.tar.gz)";
    IMAGENET_A = "imagenet_a": [
        "imagenet-a/n01498041/….jpg, … (200 folders; `imagenet-a` may be left out)",
    ], "https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar";
    IMAGENET_R = "imagenet_r": [
        "imagenet-r/n01443537/….jpg, … (200 folders; `imagenet-r` may be left out)",
    ], "https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar";
    IMAGENET_SKETCH = "imagenet_sketch": [
        "sketch/n01440764/….JPEG, … (1000 folders; `sketch` may be left out)",
    ], "https://github.com/HaohanWang/ImageNet-Sketch (ImageNet-Sketch.zip)";
    IMAGENET_STYLIZED = "imagenet_stylized": [
        "val/n01440764/….png or .JPEG, … (1000 folders; `val` may be left out)",
    ], "https://github.com/rgeirhos/Stylized-ImageNet, which makes it of ImageNet";
    IMAGENET_C = "imagenet_c": [
        "gaussian_noise/1/n01440764/….JPEG, … gaussian_noise/5/, brightness/1/, … (a folder for each corruption)",
    ], "https://zenodo.org/records/2235448 (blur.tar, digital.tar, extra.tar, noise.tar, weather.tar)";
    IMAGENET_REAL = "imagenet_real": [
        "val/n01440764/ILSVRC2012_val_00000293.JPEG, … (or val/ILSVRC2012_val_00000001.JPEG, … without folders; `val` may be left \
         out)",
        "or `path` is VL Hub's CSV with the columns `path` and `idx_real`",
    ], "https://image-net.org/challenges/LSVRC/2012/ (ILSVRC2012_img_val.tar); the labels of ReaL come with VL Hub";
    OBJECTNET = "objectnet": [
        "objectnet-1.0/images/alarm_clock/….png, … (313 folders; `objectnet-1.0` may be left out)",
    ], "https://objectnet.dev (objectnet-1.0.zip)";
    OPENIMAGES = "openimages": [
        "oi1000_val.csv with the columns `path` and `idx` (or `path` is the CSV itself), and the pictures that it names",
    ], "https://github.com/penfever/vlhub (metadata/oi1000_val.csv), with the validation pictures of \
         https://storage.googleapis.com/openimages/web";
    FOOD101 = "food101": [
        "food-101/images/apple_pie/1005649.jpg, …",
        "food-101/meta/test.txt, train.txt, classes.txt (or test.json, train.json; `food-101` may be left out)",
    ], "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/ (food-101.tar.gz)";
    FGVC_AIRCRAFT = "fgvc_aircraft": [
        "fgvc-aircraft-2013b/data/images/0034309.jpg, …",
        "fgvc-aircraft-2013b/data/images_variant_test.txt, variants.txt (`fgvc-aircraft-2013b` may be left out)",
    ], "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/ (fgvc-aircraft-2013b.tar.gz)";
    STANFORD_CARS = "stanford_cars": [
        "stanford_cars/cars_test/00001.jpg, …",
        "stanford_cars/cars_test_annos_withlabels.mat",
        "stanford_cars/devkit/cars_meta.mat (`stanford_cars` may be left out)",
    ], "https://ai.stanford.edu/~jkrause/cars/car_dataset.html (no longer served there; torchvision's documentation names copies)";
    FLOWERS102 = "flowers102": [
        "flowers-102/jpg/image_00001.jpg, …",
        "flowers-102/imagelabels.mat, setid.mat (`flowers-102` may be left out)",
    ], "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/ (102flowers.tgz, imagelabels.mat, setid.mat)";
    INAT2017 = "inat2017": [
        "val2017.json",
        "train_val_images/Aves/…/….jpg, … (as the JSON file names them)",
    ], "https://github.com/visipedia/inat_comp/tree/master/2017";
    INAT2018 = "inat2018": [
        "val2018.json (and categories.json, which has the names)",
        "train_val2018/Aves/…/….jpg, … (as the JSON file names them)",
    ], "https://github.com/visipedia/inat_comp/tree/master/2018";
    INAT2021 = "inat2021": [
        "2021_valid/00000_Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_terrestris/….jpg, … (10,000 folders; \
         `2021_valid` may be `val` or be left out)",
    ], "https://github.com/visipedia/inat_comp/tree/master/2021";
    BIRDS525 = "birds525": [
        "birds.csv with the columns `filepaths`, `labels`, `data set`",
        "test/ABBOTTS BABBLER/1.jpg, … (as the CSV names them)",
    ], "https://www.kaggle.com/datasets/gpiosenka/100-bird-species";
    INSECTA = "insecta": [
        "a folder for each of 2,525 insects, called by its name (`Satyrium spini`) or its number in VL Hub's list, from 0",
    ], "https://github.com/penfever/vlhub (metadata/insecta_classes.txt has the names)";
    FUNGI = "fungi": [
        "fungi_metadata_n.csv with the columns `path` and `class` (or `path` is the CSV itself), and the pictures that it names",
    ], "https://github.com/penfever/vlhub (metadata/fungi_metadata_n.csv), with the pictures of \
         https://sites.google.com/view/danish-fungi-dataset (DF20M)";
    INSECTS2 = "insects2": [
        "ins2_metadata_n.csv with the columns `path` and `class` (or `path` is the CSV itself), and the pictures that it names",
    ], "https://github.com/penfever/vlhub (metadata/ins2_metadata_n.csv), with the pictures of https://github.com/xpwu95/IP102 (ip02)";
    CONFOUNDING = "confounding": [
        "confounding_species.csv with the columns `path`, `scientific_name`, `class_options` (or `path` is the CSV itself), and \
         the pictures that it names",
    ], "https://github.com/penfever/vlhub (metadata/confounding_species.csv), with the pictures of Arboretum's confounding species";
    ARBORETUM = "arboretum": [
        "arboretum_test_metadata.csv or arboretum_rare_combined_metadata.csv with `path` and the ranks' columns (or `path` is the \
         CSV itself), and the pictures that it names",
    ], "https://github.com/penfever/vlhub (metadata/), with the pictures of https://baskargroup.github.io/Arboretum/";
    BIOCLIP_RARE = "bioclip_rare": [
        "bioclip_rare_metadata_n.csv or bioclip-rare-metadata.csv with `path` or `filepath` and the ranks' columns (or `path` is \
         the CSV itself), and the pictures that it names",
    ], "https://github.com/penfever/vlhub (metadata/), with the pictures of https://huggingface.co/datasets/imageomics/rare-species";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_absent_and_what_is_something_else_is_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let cx = SourceCx::new(folder.path());
        let find = |path: &str| FOOD101.find(path, &cx, &["food-101", ""], |place| place.join("meta").is_dir());
        std::fs::create_dir_all(folder.path().join("empty")).expect("room");
        for path in ["gone", "empty"] {
            let error = find(path).expect_err("nothing is there");
            assert!(
                error.is_absent() && error.to_string().contains("food-101/images/apple_pie") && error.to_string().contains("ethz.ch"),
                "{error}"
            );
        }
        std::fs::create_dir_all(folder.path().join("other/n01440764")).expect("room");
        let error = find("other").expect_err("something else");
        assert!(!error.is_absent() && error.to_string().contains("is not `food101` as it is published"), "{error}");
        assert!(find("").expect_err("no path").to_string().contains("`path` is missing"));
        std::fs::create_dir_all(folder.path().join("whole/food-101/meta")).expect("room");
        assert!(find("whole").expect("it is there").ends_with("food-101"));
    }

    #[test]
    fn every_data_set_says_what_is_expected() {
        for set in ALL {
            assert!(!set.layout.is_empty() && set.from.contains("https://"), "{}", set.name);
        }
    }
}
