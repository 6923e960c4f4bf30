//! img2dataset's `output_format = "files"`: a folder for each shard, in it a picture, a `.txt` and a `.json` for each sample.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json::{self, Map, Value};
use vlhub_sdk::sources::picture_file::{self, is_named_like_a_picture};
use xxhash_rust::xxh3::Xxh3;

/// The samples of all shards.
#[derive(Debug)]
pub(super) struct PictureFolders {
    root: PathBuf,
    /// Pictures, below the root, and whether a caption stands beside each.
    pictures: Vec<(PathBuf, bool)>,
    problems: Vec<Bad>,
    fingerprint: String,
    wants: Wants,
}

impl PictureFolders {
    /// Lists folders. The order is that of the shards, then of the pictures' names.
    ///
    /// # Errors
    /// A folder that cannot be read, labels that are required, or no sample.
    pub fn open(root: &Path, folders: &[PathBuf], cx: &SourceCx<'_>) -> Result<Self> {
        cx.wants.refuse_missing("img2dataset", &["picture", "text"])?;
        let mut this =
            Self { root: root.to_owned(), pictures: Vec::new(), problems: Vec::new(), fingerprint: String::new(), wants: cx.wants };
        let mut hash = Xxh3::new();
        for folder in folders {
            let io = |error| Error::io(folder, error);
            let names = std::fs::read_dir(folder).map_err(io)?.map(|entry| Ok(entry.map_err(io)?.file_name()));
            let names = names.collect::<Result<HashSet<OsString>>>()?;
            let mut pictures: Vec<&Path> = names.iter().map(Path::new).filter(|name| is_named_like_a_picture(name)).collect();
            pictures.sort_unstable();
            for name in pictures {
                let captioned = names.contains(name.with_extension("txt").as_os_str());
                let inner = Path::new(folder.file_name().unwrap_or_default()).join(name);
                hash.update(inner.as_os_str().as_encoded_bytes());
                hash.update(&folder.join(name).metadata().map_or(0, |about| about.len()).to_le_bytes());
                if captioned || cx.wants.text != Want::Required {
                    this.pictures.push((inner, captioned));
                } else {
                    let key = inner.display().to_string();
                    this.problems.push(Bad { place: key.clone(), key, reason: "no caption", detail: "no .txt beside it".into() });
                }
            }
            if cx.extent == Extent::Glance && !this.pictures.is_empty() {
                break;
            }
        }
        if this.pictures.is_empty() {
            return Err(Error::invalid(format!("{} holds no usable sample", root.display())));
        }
        this.fingerprint = format!("img2dataset:{}:{:032x}", this.pictures.len(), hash.digest128());
        Ok(this)
    }
}

impl Source for PictureFolders {
    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn key(&self, index: usize) -> String {
        self.pictures[index].0.display().to_string()
    }

    fn read(&self, index: usize) -> Result<Raw, Bad> {
        let (inner, captioned) = &self.pictures[index];
        let (key, path) = (self.key(index), self.root.join(inner));
        let bad = |reason, detail: String| Bad { key: key.clone(), place: key.clone(), reason, detail };
        let mut caption = Caption::default();
        if self.wants.text.is_read() && *captioned {
            let bytes = picture_file::read(&path.with_extension("txt"), &key)?;
            let text = String::from_utf8(bytes).map_err(|_| bad("not UTF-8", "its .txt".into()))?;
            // Of an address without a caption img2dataset writes an empty file.
            caption.texts.extend(Some(text).filter(|text| !text.trim().is_empty()));
        }
        if self.wants.text == Want::Required && caption.texts.is_empty() {
            return Err(bad("empty caption", String::new()));
        }
        if self.wants.meta.is_read()
            && let Ok(bytes) = std::fs::read(path.with_extension("json"))
        {
            let about: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|error| bad("bad json", error.to_string()))?;
            let plain = |(key, value)| match value {
                Value::Null => None,
                Value::String(text) => Some((key, text)),
                other => Some((key, other.to_string())),
            };
            caption.meta.extend(about.into_iter().filter(|(key, _)| key != "caption").filter_map(plain));
        }
        let picture = self.wants.picture.is_read().then(|| picture_file::read(&path, &key)).transpose()?;
        Ok(Raw { key, picture: picture.map(Picture::Encoded), caption })
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn problems(&self) -> &[Bad] {
        &self.problems
    }
}
