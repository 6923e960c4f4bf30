//! A folder with a sub-folder for each class.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vlhub_core::{Caption, Error, Result};
use vlhub_sdk::schemars::JsonSchema;
use xxhash_rust::xxh3::Xxh3;

use super::tar_index::MAX_MEMBER;
use super::{Bad, ClassNames, Picture, Raw, Source, SourceConfig, below};

/// A folder with a sub-folder of pictures for each class.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct FolderConfig {
    /// The folder.
    pub path: String,
    /// Class names: a list, or a file with one a line. If they are the names of the sub-folders, they give the order of the labels; else they are
    /// the names of the sub-folders' classes in the order of the sub-folders' bytes. Without them the sub-folders' names.
    pub classes: ClassNames,
}

#[typetag::serde(name = "imagefolder")]
impl SourceConfig for FolderConfig {
    fn open(&self, folder: &Path) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(ImageFolder::open(self, folder)?))
    }
    fn missing(&self, folder: &Path) -> Vec<String> {
        let path = super::below(folder, &self.path);
        if path.exists() { Vec::new() } else { vec![format!("there is no file or folder `{}`", path.display())] }
    }
}

/// Suffixes of files that are read as pictures.
const SUFFIXES: [&str; 6] = ["jpg", "jpeg", "png", "webp", "gif", "bmp"];
/// Folders deeper than this are not looked into.
const DEEPEST: usize = 16;

/// An indexed folder.
#[derive(Debug)]
pub struct ImageFolder {
    root: PathBuf,
    /// Label, and path below the root.
    files: Vec<(u32, Box<Path>)>,
    classes: Vec<String>,
    problems: Vec<Bad>,
    fingerprint: String,
}

impl ImageFolder {
    /// Lists a folder. The order is that of labels, then of the paths' bytes.
    ///
    /// # Errors
    /// No sub-folder, a class without any picture, or class names that do not fit.
    pub fn open(config: &FolderConfig, folder: &Path) -> Result<Self> {
        if config.path.is_empty() {
            return Err(Error::invalid("`path` is missing: a folder with a sub-folder for each class"));
        }
        let root = below(folder, &config.path);
        let mut names = Vec::new();
        let mut problems = Vec::new();
        for name in list(&root)? {
            if root.join(&name).is_dir() {
                names.push(name.to_string_lossy().into_owned());
            } else {
                problems.push(stray(&root, Path::new(&name), "not in a class folder"));
            }
        }
        if names.is_empty() {
            return Err(Error::invalid(format!("{} has no sub-folder; every class needs one", root.display())));
        }
        let (folders, classes) = ordered_classes(names, config.classes.read(folder)?, &root)?;
        let mut hash = Xxh3::new();
        let mut files = Vec::new();
        for (label, name) in folders.iter().enumerate() {
            let before = files.len();
            let mut paths = Vec::new();
            walk(&root, Path::new(name), 0, &mut paths, &mut problems)?;
            paths.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
            for path in paths {
                hash.update(path.as_os_str().as_encoded_bytes());
                hash.update(&root.join(&path).metadata().map_or(0, |about| about.len()).to_le_bytes());
                files.push((label as u32, path.into_boxed_path()));
            }
            if files.len() == before {
                return Err(Error::invalid(format!(
                    "class folder {} holds no picture ({})",
                    root.join(name).display(),
                    SUFFIXES.join(", ")
                )));
            }
        }
        classes.iter().for_each(|class| hash.update(class.as_bytes()));
        let fingerprint = format!("imagefolder:{}:{:032x}", files.len(), hash.digest128());
        Ok(Self { root, files, classes, problems, fingerprint })
    }
}

/// Sub-folders in the order of labels, and what the classes are called.
fn ordered_classes(mut folders: Vec<String>, names: Option<Vec<String>>, root: &Path) -> Result<(Vec<String>, Vec<String>)> {
    folders.sort_unstable();
    let Some(names) = names else { return Ok((folders.clone(), folders)) };
    if names.iter().any(|name| folders.contains(name)) {
        let missing = folders.iter().find(|folder| !names.contains(folder)).map(|folder| format!("folder `{folder}` is no class"));
        let extra = names.iter().find(|name| !folders.contains(name)).map(|name| format!("class `{name}` has no folder"));
        let twice = (names.len() != folders.len()).then(|| "a class is listed twice".to_owned());
        if let Some(problem) = missing.or(extra).or(twice) {
            return Err(Error::invalid(format!("`classes` does not fit {}: {problem}", root.display())));
        }
        return Ok((names.clone(), names));
    }
    if names.len() != folders.len() {
        return Err(Error::invalid(format!(
            "`classes` has {} names, but {} has {} sub-folders",
            names.len(),
            root.display(),
            folders.len()
        )));
    }
    Ok((folders, names))
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

fn walk(root: &Path, inner: &Path, depth: usize, paths: &mut Vec<PathBuf>, problems: &mut Vec<Bad>) -> Result<()> {
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
        let suffix = path.extension().map(|suffix| suffix.to_string_lossy().to_lowercase()).unwrap_or_default();
        let full = root.join(&path);
        if full.is_dir() {
            if full.is_symlink() && loops(&full, &root.join(inner)) {
                problems.push(stray(root, &path, "loop of links"));
                continue;
            }
            walk(root, &path, depth + 1, paths, problems)?;
        } else if SUFFIXES.contains(&suffix.as_str()) {
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

/// Reads a picture's file, with a reason that tells what is there instead.
pub(crate) fn read_picture(path: &Path, key: &str) -> Result<Vec<u8>, Bad> {
    let bad = |reason, detail: String| Bad { key: key.to_owned(), place: path.display().to_string(), reason, detail };
    let about = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => bad("missing file", String::new()),
        _ => bad("unreadable file", error.to_string()),
    })?;
    if !about.is_file() {
        // A pipe would make a reader wait for ever.
        return Err(bad("not a file", if about.is_dir() { "it is a folder".into() } else { "it is a device or a pipe".into() }));
    }
    if about.len() > MAX_MEMBER {
        return Err(bad("file too large", format!("{} bytes; {MAX_MEMBER} are allowed", about.len())));
    }
    std::fs::read(path).map_err(|error| bad("unreadable file", error.to_string()))
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
        let bytes = read_picture(&self.root.join(path), &key)?;
        let class = self.classes[*label as usize].clone();
        let caption = Caption { texts: vec![class], labels: vec![i64::from(*label)], ..Caption::default() };
        Ok(Raw { key, picture: Some(Picture::Encoded(bytes)), caption })
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("room");
            std::fs::write(path, file).expect("room");
        }
        folder
    }

    fn open(folder: &Path, classes: serde_json::Value) -> Result<Arc<dyn Source>> {
        crate::data::open(&json!({"use": "imagefolder", "path": folder, "classes": classes}), Path::new("/"))
    }

    #[test]
    fn classes_and_files_are_in_the_order_of_their_bytes() {
        let folder =
            tree(&["b/2.jpg", "b/10.JPG", "B/1.png", "a/deep/er/1.webp", "a/.hidden.jpg", "a/notes.txt", "stray.jpg", ".git/x.jpg"]);
        let source = open(folder.path(), json!(null)).expect("it is whole");
        assert_eq!(source.classes(), ["B", "a", "b"]);
        assert_eq!((0..source.len()).map(|at| source.key(at)).collect::<Vec<_>>(), ["B/1.png", "a/deep/er/1.webp", "b/10.JPG", "b/2.jpg"]);
        let reasons: Vec<_> = source.problems().iter().map(|bad| (bad.key.as_str(), bad.reason)).collect();
        assert_eq!(reasons, [("stray.jpg", "not in a class folder"), ("a/notes.txt", "not an image file")]);
        let raw = source.read(2).expect("it is there");
        assert_eq!((raw.caption.labels[0], raw.caption.texts[0].as_str()), (2, "b"));
        assert_eq!(raw.picture, Some(Picture::Encoded(b"b/10.JPG".to_vec())));
    }

    #[test]
    fn class_names_give_an_order_or_better_names() {
        let folder = tree(&["n1/1.jpg", "n2/1.jpg"]);
        let label = |classes| {
            let source = open(folder.path(), classes).expect("it is whole");
            (0..2).map(|at| format!("{}={}", source.key(at), source.read(at).expect("it is there").caption.texts[0])).collect::<Vec<_>>()
        };
        assert_eq!(label(json!(["n2", "n1"])), ["n2/1.jpg=n2", "n1/1.jpg=n1"], "the names of the folders are an order");
        assert_eq!(label(json!(["tench", "shark"])), ["n1/1.jpg=tench", "n2/1.jpg=shark"], "other names are names");
        for (classes, wanted) in [
            (json!(["n1"]), "folder `n2` is no class"),
            (json!(["n1", "n2", "n3"]), "class `n3` has no folder"),
            (json!(["n1", "n2", "n2"]), "listed twice"),
            (json!(["tench"]), "1 names, but"),
        ] {
            let error = open(folder.path(), classes).expect_err(wanted).to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn folders_that_cannot_be_right_are_refused() {
        for (files, wanted, why) in [
            (&["a/1.jpg", "b/notes.txt"][..], "b holds no picture", "an empty class"),
            (&["1.jpg"], "has no sub-folder", "pictures without classes"),
        ] {
            let folder = tree(files);
            let error = open(folder.path(), json!(null)).expect_err(why).to_string();
            assert!(error.contains(wanted), "{why}: {error}");
        }
        assert!(open(Path::new("/nowhere/at/all"), json!(null)).expect_err("no folder").to_string().contains("/nowhere/at/all"));
    }

    #[test]
    fn a_loop_of_links_ends_and_a_folder_named_like_a_picture_is_no_picture() {
        let folder = tree(&["a/1.jpg", "a/2.jpg/3.png"]);
        std::os::unix::fs::symlink(folder.path().join("a"), folder.path().join("a/loop")).expect("a link");
        let source = open(folder.path(), json!(null)).expect("it ends");
        assert!(source.len() == 2 && source.problems().iter().any(|bad| bad.reason == "loop of links"));
        std::fs::remove_file(folder.path().join("a/1.jpg")).expect("it was there");
        assert_eq!(source.read(0).expect_err("it is gone").reason, "missing file");
        std::fs::create_dir(folder.path().join("a/1.jpg")).expect("room");
        assert_eq!(source.read(0).expect_err("it is a folder").reason, "not a file");
    }
}
