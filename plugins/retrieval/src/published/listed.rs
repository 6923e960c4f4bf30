//! Pictures of a list, each with its captions.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use vlhub_sdk::prelude::*;
use vlhub_sdk::sources::picture_file;

/// One entry of a list.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Entry {
    /// The picture's path below the root.
    pub picture: PathBuf,
    /// Its captions.
    pub texts: Vec<String>,
    /// Other columns.
    pub meta: BTreeMap<String, String>,
    /// What it is called, where its picture's path does not tell it apart.
    pub key: String,
}

impl Entry {
    fn key(&self) -> String {
        if self.key.is_empty() { self.picture.display().to_string() } else { self.key.clone() }
    }
}

/// A list as a source.
#[derive(Debug)]
pub(super) struct ListedPictures {
    root: PathBuf,
    name: &'static str,
    entries: Vec<Entry>,
    wants: Wants,
    notes: Vec<String>,
}

impl ListedPictures {
    /// # Errors
    /// An empty list, or one whose samples can never have what is wanted.
    pub fn new(name: &'static str, root: PathBuf, entries: Vec<Entry>, notes: Vec<String>, cx: &SourceCx<'_>) -> Result<Self> {
        cx.wants.refuse_missing(name, &["picture", "text"])?;
        if entries.is_empty() {
            return Err(Error::invalid(format!("{}: the list of `{name}` has no picture", root.display())));
        }
        Ok(Self { root, name, entries, wants: cx.wants, notes })
    }
}

impl Source for ListedPictures {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn key(&self, index: usize) -> String {
        self.entries[index].key()
    }

    fn unit(&self, index: usize) -> Option<String> {
        // SugarCrepe asks about a picture several times.
        Some(self.entries[index].picture.display().to_string())
    }

    fn read(&self, index: usize) -> Result<Raw, Bad> {
        let entry = &self.entries[index];
        let key = entry.key();
        let is_read = self.wants.picture.is_read();
        let bytes = is_read.then(|| picture_file::read(&self.root.join(&entry.picture), &key)).transpose()?;
        let mut caption = Caption::default();
        if self.wants.text.is_read() {
            caption.texts.clone_from(&entry.texts);
            if entry.texts.is_empty() && self.wants.text == Want::Required {
                let place = self.root.join(&entry.picture).display().to_string();
                return Err(Bad { key, place, reason: "no caption", detail: "the list has none of this picture".into() });
            }
        }
        if self.wants.meta.is_read() {
            caption.meta.clone_from(&entry.meta);
        }
        Ok(Raw { key, picture: bytes.map(Picture::Encoded), caption })
    }

    fn fingerprint(&self) -> String {
        let mut hash = DefaultHasher::new();
        self.entries.hash(&mut hash);
        format!("{}:{}:{:016x}", self.name, self.entries.len(), hash.finish())
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// The folder below `root` in which the first picture of a list is, of several that are in use. Where it is in none, one that is there; else the
/// first of them, so that messages name what was expected.
pub(super) fn folder_of(root: &Path, folders: &[&str], first: &Path) -> PathBuf {
    let all: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let with_picture = all.iter().find(|folder| folder.join(first).is_file());
    let there = || all.iter().find(|folder| *folder != root && folder.is_dir());
    with_picture.or_else(there).or(all.first()).cloned().unwrap_or_else(|| root.to_owned())
}
