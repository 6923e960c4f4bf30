//! The published lists of this crate. Their sources and licences: `assets/README.md`.

use std::collections::HashMap;
use std::io::Read;
use std::sync::LazyLock;

use vlhub_sdk::captions::{ClassSet, IMAGENET};
use vlhub_sdk::prelude::*;

/// Number of ImageNet's classes.
pub(crate) const IMAGENET_CLASSES: usize = 1000;

/// ImageNet's classes by their WordNet numbers (`n01440764`), which are in the order of labels.
static WNIDS: LazyLock<HashMap<&str, u32>> = LazyLock::new(|| include_str!("../assets/imagenet_wnids.txt").lines().zip(0..).collect());

/// ImageNet's label of a WordNet number.
pub(crate) fn label_of_wnid(wnid: &str) -> Option<u32> {
    WNIDS.get(wnid).copied()
}

/// ImageNet's labels of the 200 classes of ImageNet-A.
pub(crate) fn imagenet_a() -> Vec<u32> {
    labels(include_str!("../assets/imagenet_a.txt"))
}

/// ImageNet's labels of the 200 classes of ImageNet-R.
pub(crate) fn imagenet_r() -> Vec<u32> {
    labels(include_str!("../assets/imagenet_r.txt"))
}

fn labels(wnids: &str) -> Vec<u32> {
    wnids.lines().filter_map(label_of_wnid).collect()
}

/// ImageNet's class names, 1000 of them.
///
/// # Errors
/// A list that is not known, a file that cannot be read, or another number of names.
pub(crate) fn imagenet_names(classes: &ClassSet, cx: &SourceCx<'_>) -> Result<Vec<String>> {
    let names = classes.names(cx.folder)?;
    if names.len() != IMAGENET_CLASSES {
        return Err(Error::Options(format!("`classes` has {} names; ImageNet has {IMAGENET_CLASSES} classes", names.len())));
    }
    Ok(names)
}

/// CLIP's 80 templates.
pub(crate) fn imagenet_templates() -> Vec<String> {
    IMAGENET.iter().map(|template| (*template).to_owned()).collect()
}

/// CLIP_benchmark's templates of a data set.
pub(crate) fn templates(name: &str) -> Vec<String> {
    let lines = include_str!("../assets/templates.txt").lines();
    lines.filter_map(|line| line.split_once('\t').filter(|(set, _)| *set == name)).map(|(_, template)| template.to_owned()).collect()
}

/// Names of the classes of Flowers-102.
pub(crate) fn flowers() -> Vec<String> {
    include_str!("../assets/flowers102.txt").lines().map(str::to_owned).collect()
}

/// Names of the 2,525 classes of Insecta.
pub(crate) fn insecta() -> Vec<String> {
    include_str!("../assets/insecta.txt").lines().map(str::to_owned).collect()
}

/// VL Hub's names of the 10,000 classes of iNaturalist 2021.
///
/// # Errors
/// Never, unless the program is damaged.
pub(crate) fn inat2021() -> Result<Vec<String>> {
    Ok(unpacked(include_bytes!("../assets/inat2021.txt.gz"))?.lines().map(str::to_owned).collect())
}

/// ReaL's labels of ImageNet's 50,000 validation pictures, in the order of their file names.
///
/// # Errors
/// Never, unless the program is damaged.
pub(crate) fn real() -> Result<Vec<Vec<u32>>> {
    let text = unpacked(include_bytes!("../assets/imagenet_real.txt.gz"))?;
    Ok(text.lines().map(|line| line.split(' ').filter_map(|number| number.parse().ok()).collect()).collect())
}

fn unpacked(packed: &[u8]) -> Result<String> {
    let mut text = String::new();
    let read = flate2::read::GzDecoder::new(packed).read_to_string(&mut text);
    read.map_err(|error| Error::invalid(format!("a list of this program is damaged: {error}")))?;
    Ok(text)
}

/// A class of ObjectNet that ImageNet has too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectNetClass {
    /// Its folder.
    pub folder: &'static str,
    /// Its name.
    pub name: &'static str,
    /// ImageNet's labels of it: one or several.
    pub imagenet: Vec<u32>,
}

/// The 113 classes of ObjectNet that overlap ImageNet's, in the order of their folders.
pub(crate) fn objectnet() -> Vec<ObjectNetClass> {
    let row = |line: &'static str| {
        let mut columns = line.split('\t');
        let (folder, name) = (columns.next()?, columns.next()?);
        Some(ObjectNetClass { folder, name, imagenet: columns.next()?.split(' ').filter_map(|number| number.parse().ok()).collect() })
    };
    include_str!("../assets/objectnet.txt").lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_whole() {
        assert_eq!((WNIDS.len(), label_of_wnid("n01440764"), label_of_wnid("n15075141")), (1000, Some(0), Some(999)));
        for (list, first, last) in [(imagenet_a(), 6, 988), (imagenet_r(), 1, 988)] {
            assert_eq!((list.len(), list[0], list[199]), (200, first, last));
            assert!(list.is_sorted());
        }
        let objectnet = objectnet();
        assert_eq!((objectnet.len(), objectnet.iter().map(|class| class.imagenet.len()).sum::<usize>()), (113, 125));
        assert!(objectnet.is_sorted_by_key(|class| class.folder));
        assert_eq!((objectnet[0].name, objectnet[0].imagenet.clone()), ("alarm clock", vec![409, 530]));
        let real = real().expect("whole");
        assert_eq!((real.len(), real.iter().filter(|labels| labels.is_empty()).count(), real[1].clone()), (50_000, 3163, vec![970, 795]));
        let inat = inat2021().expect("whole");
        assert_eq!((inat.len(), inat[0].as_str()), (10_000, "Common Earthworm Animalia Lumbricus"));
        assert_eq!((flowers().len(), insecta().len(), imagenet_templates().len()), (102, 2525, 80));
        for (name, count) in [("food101", 1), ("stanford_cars", 8), ("fgvc_aircraft", 2), ("flowers102", 1)] {
            assert_eq!(templates(name).len(), count, "{name}");
        }
    }
}
