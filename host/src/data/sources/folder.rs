//! Pictures in a folder: with a sub-folder for each class, or without classes.

mod choice;
mod classes;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vlhub_core::{Bad, Caption, Config, Error, Extent, Picture, Raw, Result, Source, SourceCx, Want, Wants};
use vlhub_sdk::register;
use vlhub_sdk::schemars::JsonSchema;
use vlhub_sdk::sources::ClassNames;
use vlhub_sdk::sources::picture_file::{self, SUFFIXES, is_named_like_a_picture};
use xxhash_rust::xxh3::Xxh3;

use choice::Choice;
use classes::Classes;

/// A folder of pictures, with a sub-folder for each class; without sub-folders where neither captions nor labels are read.
///
/// Labels follow the names of the sub-folders by their bytes, as in torchvision's `ImageFolder`: `1`, `10`, `2`. timm's reader sorts them by
/// their numbers (`1`, `2`, `10`), which is the same where all have as many digits; `classes` gives any other order. A class without pictures
/// is allowed (torchvision refuses it, timm leaves it out and numbers the others anew).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct FolderConfig {
    /// The folder.
    pub path: String,
    /// Class names in the order of labels: a list, or a file with one a line. If they are the names of the sub-folders, each sub-folder is the
    /// class of its name. If the sub-folders are numbers from 0, as in ImageNetV2, sub-folder `n` is the class of line `n`, from 0. Else there are
    /// as many as sub-folders, and they name those in the order of their bytes. Without them the sub-folders' names.
    pub classes: Option<ClassNames>,
    /// Most classes: so many sub-folders are chosen, and the others are as if they were not there (labels are those of a folder with the chosen
    /// alone). 0: all of them. With the next option, VL Hub's `--size-controlled`, which moves the others away.
    pub max_classes: usize,
    /// Most pictures of a class, or of the whole folder where it has no classes: so many are chosen. 0: all of them.
    pub max_samples_per_class: usize,
    /// Which are chosen: the same for the same seed and the same names, whatever else is there. More of them contain fewer of them.
    pub choice_seed: u64,
}

register!(dyn Source, "imagefolder", FolderConfig);

impl Config<dyn Source> for FolderConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        Ok(Box::new(ImageFolder::open(self, cx)?))
    }
}

/// Folders deeper than this are not looked into.
const DEEPEST: usize = 16;
/// Class folders without pictures that a remark names.
const LISTED: usize = 5;

/// An indexed folder.
#[derive(Debug)]
pub struct ImageFolder {
    root: PathBuf,
    /// Label, and path below the root.
    files: Vec<(Option<u32>, Box<Path>)>,
    classes: Vec<String>,
    problems: Vec<Bad>,
    notes: Vec<String>,
    fingerprint: String,
    wants: Wants,
}

impl ImageFolder {
    /// Lists a folder. The order is that of labels, then of the paths' bytes; pictures without a class come last.
    ///
    /// # Errors
    /// No picture, no sub-folder where captions or labels are read, or class names that do not fit.
    pub fn open(config: &FolderConfig, cx: &SourceCx<'_>) -> Result<Self> {
        if config.path.is_empty() {
            return Err(Error::invalid("`path` is missing: a folder with a sub-folder for each class"));
        }
        let root = cx.folder.join(&config.path);
        let Wants { text, label, .. } = cx.wants;
        let (folders, files) = entries(&root)?;
        if folders.is_empty() && text.max(label) == Want::Required {
            return Err(Error::invalid(format!(
                "{} has no sub-folder; every class needs one, because {} are read (pictures alone need none)",
                root.display(),
                cx.wants
            )));
        }
        let is_read = text.is_read() || label.is_read();
        let classes = if folders.is_empty() {
            Classes::default()
        } else {
            let names = config.classes.as_ref().map(|names| names.read(cx.folder)).transpose();
            match names.and_then(|names| Classes::of(folders.clone(), names, &root)) {
                Ok(classes) => classes,
                Err(error) if is_read => return Err(error),
                // Nobody asks for classes, so they need not fit.
                Err(_) => Classes::of(folders, None, &root)?,
            }
        };
        let choice = Choice { seed: config.choice_seed };
        let all = classes.folders.iter().flatten().count();
        let classes = if config.max_classes == 0 { classes } else { classes.chosen(config.max_classes, choice) };
        let most = Some(config.max_samples_per_class).filter(|most| *most > 0);
        let mut listing = Listing { root: &root, hash: Xxh3::new(), files: Vec::new(), problems: Vec::new(), most, choice, left_out: 0 };
        let mut empty = Vec::new();
        for (label, folder) in classes.folders.iter().enumerate().filter_map(|(label, folder)| Some((label, folder.as_ref()?))) {
            let before = listing.files.len();
            listing.folder(Path::new(folder), Some(label as u32))?;
            if listing.files.len() == before {
                empty.push(folder.as_str());
            }
            if cx.extent == Extent::Glance && !listing.files.is_empty() {
                break;
            }
        }
        let mut plain = Vec::new();
        for name in &files {
            if !is_named_like_a_picture(name) {
                listing.problems.push(stray(&root, name, "not an image file"));
            } else if is_read && !classes.folders.is_empty() {
                listing.problems.push(stray(&root, name, "not in a class folder"));
            } else {
                plain.push(name.clone());
            }
        }
        listing.all_of(plain, None);
        let Listing { files, mut hash, problems, left_out, .. } = listing;
        if files.is_empty() {
            return Err(Error::invalid(format!("{} holds no picture ({})", root.display(), SUFFIXES.join(", "))));
        }
        let mut notes = classes.notes;
        let chosen = classes.folders.iter().flatten().count();
        if chosen < all || left_out > 0 {
            let pictures = files.len() + left_out;
            notes.push(format!(
                "{chosen} of {all} class folders of {}, and {} of their {pictures} pictures, were chosen",
                root.display(),
                files.len()
            ));
        }
        if !empty.is_empty() {
            let more = if empty.len() > LISTED { ", …" } else { "" };
            let named = empty[..empty.len().min(LISTED)].join(", ");
            let (count, all) = (empty.len(), classes.folders.iter().flatten().count());
            notes.push(format!("{count} of {all} class folders of {} hold no picture: {named}{more}", root.display()));
        }
        classes.names.iter().for_each(|class| hash.update(class.as_bytes()));
        let fingerprint = format!("imagefolder:{}:{:032x}", files.len(), hash.digest128());
        Ok(Self { root, files, classes: classes.names, problems, notes, fingerprint, wants: cx.wants })
    }
}

/// Files as they are found.
struct Listing<'a> {
    root: &'a Path,
    hash: Xxh3,
    files: Vec<(Option<u32>, Box<Path>)>,
    problems: Vec<Bad>,
    /// Most pictures of a folder, which are chosen so, and how many were not.
    most: Option<usize>,
    choice: Choice,
    left_out: usize,
}

impl Listing<'_> {
    /// Every picture in a folder and below.
    fn folder(&mut self, folder: &Path, label: Option<u32>) -> Result<()> {
        let mut paths = Vec::new();
        walk(self.root, folder, 0, &mut paths, &mut self.problems)?;
        paths.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
        self.all_of(paths, label);
        Ok(())
    }

    /// The pictures of one class, as many of them as are wanted.
    fn all_of(&mut self, mut paths: Vec<PathBuf>, label: Option<u32>) {
        if let Some(most) = self.most {
            let before = paths.len();
            self.choice.keep(&mut paths, most, |path| path.as_os_str().as_encoded_bytes());
            self.left_out += before - paths.len();
        }
        paths.into_iter().for_each(|path| self.file(path, label));
    }

    fn file(&mut self, path: PathBuf, label: Option<u32>) {
        self.hash.update(path.as_os_str().as_encoded_bytes());
        self.hash.update(&self.root.join(&path).metadata().map_or(0, |about| about.len()).to_le_bytes());
        self.files.push((label, path.into_boxed_path()));
    }
}

/// Names of the sub-folders, and of the files, of a folder.
fn entries(root: &Path) -> Result<(Vec<String>, Vec<PathBuf>)> {
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for name in list(root)? {
        if root.join(&name).is_dir() {
            folders.push(name.to_string_lossy().into_owned());
        } else {
            files.push(PathBuf::from(name));
        }
    }
    Ok((folders, files))
}

/// Entries of a folder that are not hidden, sorted by their bytes.
fn list(path: &Path) -> Result<Vec<std::ffi::OsString>> {
    let io = |error| Error::io(path, error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Lists what is below `root`: paths of pictures, and everything else as a problem. `inner` is a path below `root`; both lists get such paths.
///
/// # Errors
/// None but that of a root that cannot be read; a folder further down that cannot be is a problem.
pub(crate) fn walk(root: &Path, inner: &Path, depth: usize, paths: &mut Vec<PathBuf>, problems: &mut Vec<Bad>) -> Result<()> {
    if depth > DEEPEST {
        problems.push(stray(root, inner, "folders too deep"));
        return Ok(());
    }
    let names = match list(&root.join(inner)) {
        Ok(names) => names,
        Err(error) => {
            problems.push(Bad { detail: error.to_string(), ..stray(root, inner, "unreadable folder") });
            return Ok(());
        }
    };
    for name in names {
        let path = inner.join(name);
        let full = root.join(&path);
        if full.is_dir() {
            if full.is_symlink() && loops(&full, &root.join(inner)) {
                problems.push(stray(root, &path, "loop of links"));
                continue;
            }
            walk(root, &path, depth + 1, paths, problems)?;
        } else if is_named_like_a_picture(&path) {
            paths.push(path);
        } else {
            problems.push(stray(root, &path, "not an image file"));
        }
    }
    Ok(())
}

/// Whether a link leads to a folder that it stands in.
fn loops(link: &Path, place: &Path) -> bool {
    match (link.canonicalize(), place.canonicalize()) {
        (Ok(target), Ok(place)) => place.starts_with(target),
        _ => true,
    }
}

fn stray(root: &Path, path: &Path, reason: &'static str) -> Bad {
    Bad { key: path.display().to_string(), place: root.join(path).display().to_string(), reason, detail: String::new() }
}

impl Source for ImageFolder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn key(&self, index: usize) -> String {
        self.files[index].1.display().to_string()
    }

    fn read(&self, index: usize) -> Result<Raw, Bad> {
        let (label, path) = &self.files[index];
        let key = self.key(index);
        let is_read = self.wants.picture.is_read();
        let bytes = is_read.then(|| picture_file::read(&self.root.join(path), &key)).transpose()?;
        let mut caption = Caption::default();
        if let Some(label) = label {
            if self.wants.text.is_read() {
                caption.texts.push(self.classes[*label as usize].clone());
            }
            if self.wants.label.is_read() {
                caption.labels.push(i64::from(*label));
            }
        }
        Ok(Raw { key, picture: bytes.map(Picture::Encoded), caption })
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn problems(&self) -> &[Bad] {
        &self.problems
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
