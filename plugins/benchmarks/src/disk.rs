//! A data set of picture files as a source, and folders of classes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vlhub_sdk::image::imageops::crop_imm;
use vlhub_sdk::prelude::*;
use vlhub_sdk::sources::picture_file::{self, is_named_like_a_picture};
use xxhash_rust::xxh3::Xxh3;

use crate::about::Published;

/// Folders deeper than this are not looked into.
const DEEPEST: usize = 16;
/// Names that a remark lists.
const LISTED: usize = 5;

/// A picture's file.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Its path below the data set's folder.
    pub path: PathBuf,
    /// Its classes.
    pub labels: Box<[u32]>,
    /// Other columns.
    pub meta: BTreeMap<String, String>,
}

/// A data set as it was found.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    /// Where paths start.
    pub root: PathBuf,
    /// The pictures, in the order in which they are read.
    pub entries: Vec<Entry>,
    /// Class names in the order of labels.
    pub classes: Vec<String>,
    /// Sentences around a class name.
    pub templates: Vec<String>,
    /// Labels of the classes among which a model chooses; empty for all.
    pub evaluated: Vec<u32>,
    /// What could not be used.
    pub problems: Vec<Bad>,
    /// Remarks for people.
    pub notes: Vec<String>,
    /// Pixels that are cut off on each side of a picture.
    pub border: u32,
    /// Leading folders of a path that name a variant of a picture, such as its corruption: behind them, paths of one picture are the same.
    pub variant_folders: usize,
}

impl Pictures {
    /// The source.
    ///
    /// # Errors
    /// No picture.
    pub fn source(mut self, set: &Published, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        let wants = cx.wants;
        if wants.label == Want::Required || wants.text == Want::Required {
            let before = self.entries.len();
            self.entries.retain(|entry| !entry.labels.is_empty());
            if before > self.entries.len() {
                self.notes.push(format!(
                    "{} of {before} pictures of `{}` have no label, and were left out",
                    before - self.entries.len(),
                    set.name
                ));
            }
        }
        if self.entries.is_empty() {
            let first = self.problems.first().map(|bad| format!("; the first problem is {bad}")).unwrap_or_default();
            return Err(set.unlike(&self.root).within(format!("no picture of `{}` was found{first}", set.name)));
        }
        let mut hash = Xxh3::new();
        self.classes.iter().for_each(|class| hash.update(class.as_bytes()));
        hash.update(&self.border.to_le_bytes());
        for entry in &self.entries {
            hash.update(entry.path.as_os_str().as_encoded_bytes());
            entry.labels.iter().for_each(|label| hash.update(&label.to_le_bytes()));
            hash.update(&self.root.join(&entry.path).metadata().map_or(0, |about| about.len()).to_le_bytes());
        }
        let fingerprint = format!("{}:{}:{:032x}", set.name, self.entries.len(), hash.digest128());
        Ok(Box::new(PublishedSet { pictures: self, wants, fingerprint }))
    }

    /// Makes the paths of pictures that are below the data set's folder start there, which makes their names short.
    pub fn below_root(&mut self) {
        for entry in &mut self.entries {
            if let Ok(inner) = entry.path.strip_prefix(&self.root) {
                entry.path = inner.to_owned();
            }
        }
    }

    /// Adds what is in the folders that are classes: `label_of` tells the labels of a folder's name. Other folders are counted, and told.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn class_folders(&mut self, below: &Path, glance: bool, label_of: impl Fn(&str) -> Option<Box<[u32]>>) -> Result<()> {
        let (mut others, mut empty) = (Vec::new(), Vec::new());
        for name in list(&self.root.join(below))? {
            let inner = below.join(&name);
            let text = name.to_string_lossy();
            if !self.root.join(&inner).is_dir() {
                self.problems.push(stray(&self.root, &inner, "not in a class folder"));
                continue;
            }
            let Some(labels) = label_of(&text) else {
                others.push(text.into_owned());
                continue;
            };
            let before = self.entries.len();
            self.folder(&inner, &labels);
            if before == self.entries.len() {
                empty.push(text.into_owned());
            }
            if glance && !self.entries.is_empty() {
                break;
            }
        }
        let place = self.root.join(below);
        self.notes.extend(told(
            &others,
            &format!("folders of {} are none of the classes that are evaluated, and were left out", place.display()),
        ));
        self.notes.extend(told(&empty, &format!("class folders of {} hold no picture", place.display())));
        Ok(())
    }

    /// Adds the pictures in a folder and below.
    fn folder(&mut self, inner: &Path, labels: &[u32]) {
        let mut paths = Vec::new();
        walk(&self.root, inner, 0, &mut paths, &mut self.problems);
        self.entries.extend(paths.into_iter().map(|path| Entry { path, labels: labels.into(), meta: BTreeMap::new() }));
    }
}

/// A remark that counts names and lists the first of them.
fn told(names: &[String], what: &str) -> Option<String> {
    let more = if names.len() > LISTED { ", …" } else { "" };
    (!names.is_empty()).then(|| format!("{} {what}: {}{more}", names.len(), names[..names.len().min(LISTED)].join(", ")))
}

/// Whether a folder has a sub-folder of such a name.
pub(crate) fn has_folder(place: &Path, named: impl Fn(&str) -> bool) -> bool {
    let Ok(entries) = std::fs::read_dir(place) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(&named) && entry.path().is_dir())
}

/// Entries of a folder that are not hidden, sorted by their bytes.
///
/// # Errors
/// It cannot be read.
pub(crate) fn list(path: &Path) -> Result<Vec<std::ffi::OsString>> {
    let io = |error| Error::io(path, error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        names.push(entry.map_err(io)?.file_name());
    }
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.sort_unstable();
    Ok(names)
}

/// The pictures below a folder, in the order of their paths; everything else is a problem.
pub(crate) fn walk(root: &Path, inner: &Path, depth: usize, paths: &mut Vec<PathBuf>, problems: &mut Vec<Bad>) {
    let names = match list(&root.join(inner)) {
        _ if depth > DEEPEST => return problems.push(stray(root, inner, "folders too deep")),
        Ok(names) => names,
        Err(error) => return problems.push(Bad { detail: error.to_string(), ..stray(root, inner, "unreadable folder") }),
    };
    for name in names {
        let path = inner.join(name);
        if is_named_like_a_picture(&path) {
            paths.push(path);
        } else if root.join(&path).is_dir() {
            walk(root, &path, depth + 1, paths, problems);
        } else {
            problems.push(stray(root, &path, "not an image file"));
        }
    }
}

/// What is there instead of something that can be used.
pub(crate) fn stray(root: &Path, path: &Path, reason: &'static str) -> Bad {
    Bad { key: path.display().to_string(), place: root.join(path).display().to_string(), reason, detail: String::new() }
}

/// A published data set as a source.
#[derive(Debug)]
struct PublishedSet {
    pictures: Pictures,
    wants: Wants,
    fingerprint: String,
}

impl PublishedSet {
    fn picture(&self, path: &Path, key: &str) -> Result<Picture, Bad> {
        let bytes = picture_file::read(&self.pictures.root.join(path), key)?;
        match self.pictures.border {
            0 => Ok(Picture::Encoded(bytes)),
            border => {
                let bad =
                    |detail: String| Bad { key: key.to_owned(), place: path.display().to_string(), reason: "undecodable image", detail };
                // The decoder's own limits keep a file that promises too much from taking the memory.
                let image = vlhub_sdk::image::load_from_memory(&bytes).map_err(|error| bad(error.to_string()))?.into_rgb8();
                let (width, height) = image.dimensions();
                if width <= 2 * border || height <= 2 * border {
                    return Err(bad(format!("{width}×{height} pixels leave nothing within a border of {border}")));
                }
                Ok(Picture::Decoded(crop_imm(&image, border, border, width - 2 * border, height - 2 * border).to_image()))
            }
        }
    }
}

impl Source for PublishedSet {
    fn len(&self) -> usize {
        self.pictures.entries.len()
    }

    fn key(&self, index: usize) -> String {
        self.pictures.entries[index].path.display().to_string()
    }

    fn read(&self, index: usize) -> Result<Raw, Bad> {
        let entry = &self.pictures.entries[index];
        let key = self.key(index);
        let picture = self.wants.picture.is_read().then(|| self.picture(&entry.path, &key)).transpose()?;
        let mut caption = Caption::default();
        if self.wants.text.is_read() {
            caption.texts = entry.labels.iter().filter_map(|label| self.pictures.classes.get(*label as usize).cloned()).collect();
        }
        if self.wants.label.is_read() {
            caption.labels = entry.labels.iter().copied().map(i64::from).collect();
        }
        if self.wants.meta.is_read() {
            caption.meta.clone_from(&entry.meta);
        }
        Ok(Raw { key, picture, caption })
    }

    fn classes(&self) -> &[String] {
        &self.pictures.classes
    }

    fn templates(&self) -> &[String] {
        &self.pictures.templates
    }

    fn evaluated(&self) -> &[u32] {
        &self.pictures.evaluated
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn problems(&self) -> &[Bad] {
        &self.pictures.problems
    }

    fn notes(&self) -> &[String] {
        &self.pictures.notes
    }

    fn unit(&self, index: usize) -> Option<String> {
        let path = self.pictures.entries[index].path.components().skip(self.pictures.variant_folders).collect::<PathBuf>();
        Some(path.display().to_string())
    }
}
