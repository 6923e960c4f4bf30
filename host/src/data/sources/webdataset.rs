//! Tar shards in the layout of WebDataset and img2dataset, on local disks.
//!
//! One pass over the headers of all shards gives random access; nothing is extracted, and no command in a shard list is run.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use vlhub_core::{Caption, Error, Result};
use vlhub_sdk::schemars::JsonSchema;
use xxhash_rust::xxh3::Xxh3;

use super::group::group;
pub use super::shards::{Shards, shard_paths};
use super::tar_index::{self, Member, read_full};
use super::{Bad, ClassNames, Picture, Raw, Source, SourceConfig};

/// Tar shards in the layout of WebDataset.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct WebDatasetConfig {
    /// Shards: `"cc3m/{00000..00331}.tar"`, several joined by `::`, or a list. Braces as in a shell; `*` and `?` too.
    pub shards: Shards,
    /// Suffixes of pictures, joined by `;`: the first that a sample has is read.
    pub image_key: String,
    /// Suffix of captions.
    pub text_key: String,
    /// Key of the `json` member that holds the caption, or a list of captions; empty reads the `text_key` member.
    pub json_text_key: String,
    /// Suffix of class labels: a number, or the name of a class.
    pub class_key: String,
    /// Class names: a list, or a file with one a line. Without it `classnames.txt` beside the first shard, if there is one.
    pub classes: ClassNames,
}

impl Default for WebDatasetConfig {
    fn default() -> Self {
        Self {
            shards: Shards::Many(Vec::new()),
            image_key: "jpg;png;jpeg;webp".into(),
            text_key: "txt".into(),
            json_text_key: String::new(),
            class_key: "cls".into(),
            classes: ClassNames::None,
        }
    }
}

#[typetag::serde(name = "webdataset")]
impl SourceConfig for WebDatasetConfig {
    fn open(&self, folder: &Path) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(WebDataset::open(self, folder)?))
    }
    fn missing(&self, folder: &Path) -> Vec<String> {
        match shard_paths(&self.shards, folder) {
            Ok(paths) => {
                let lacking: Vec<_> = paths.iter().filter(|path| !path.is_file()).collect();
                let first = lacking
                    .first()
                    .map(|path| format!("{} of {} shards are missing, {} first", lacking.len(), paths.len(), path.display()));
                first.into_iter().collect()
            }
            Err(error) => vec![error.to_string()],
        }
    }
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    /// For people: the file's name without its folder.
    name: String,
    size: u64,
    modified: Option<SystemTime>,
}

/// Where a member's data are. No data: `size` is [`Span::ABSENT`].
#[derive(Clone, Copy, Debug)]
struct Span {
    offset: u64,
    size: u32,
}

impl Span {
    const ABSENT: Self = Self { offset: 0, size: u32::MAX };

    fn of(members: &[Member], number: Option<usize>) -> Self {
        // Members are at most 256 MiB, so a size fits.
        number.map_or(Self::ABSENT, |number| Self { offset: members[number].offset, size: members[number].size as u32 })
    }
}

#[derive(Debug)]
struct Entry {
    shard: u32,
    key: Box<[u8]>,
    image: Span,
    text: Span,
    label: Span,
    json: Span,
}

/// An indexed list of shards.
#[derive(Debug)]
pub struct WebDataset {
    shards: Vec<Shard>,
    entries: Vec<Entry>,
    classes: Vec<String>,
    problems: Vec<Bad>,
    fingerprint: String,
    json_text_key: String,
    /// Open shards, at most [`OPEN_FILES`].
    files: Mutex<BTreeMap<u32, Arc<File>>>,
}

/// How many shards are held open at a time.
const OPEN_FILES: usize = 256;

struct Indexed {
    shard: Shard,
    entries: Vec<Entry>,
    problems: Vec<Bad>,
    hash: u64,
}

impl WebDataset {
    /// Indexes shards.
    ///
    /// # Errors
    /// A shard that is missing, empty or compressed, or no usable sample at all.
    pub fn open(config: &WebDatasetConfig, folder: &Path) -> Result<Self> {
        let paths = shard_paths(&config.shards, folder)?;
        let missing: Vec<String> = paths.iter().filter(|path| !path.is_file()).map(|path| path.display().to_string()).collect();
        if let Some(first) = missing.first() {
            return Err(Error::invalid(format!(
                "{} of {} shards are missing or no files; the first is {first}",
                missing.len(),
                paths.len()
            )));
        }
        let mut classes = config.classes.read(folder)?;
        let beside = paths[0].with_file_name("classnames.txt");
        if classes.is_none() && beside.is_file() {
            classes = Some(ClassNames::file(&beside)?);
        }
        let mut this = Self {
            shards: Vec::new(),
            entries: Vec::new(),
            classes: classes.unwrap_or_default(),
            problems: Vec::new(),
            fingerprint: String::new(),
            json_text_key: config.json_text_key.clone(),
            files: Mutex::default(),
        };
        let mut hash = Xxh3::new();
        hash.update(
            serde_json::to_string(&(&config.image_key, &config.text_key, &config.json_text_key, &config.class_key))
                .unwrap_or_default()
                .as_bytes(),
        );
        let numbered: Vec<(u32, PathBuf)> = (0..).zip(paths).collect();
        let keys = config.clone();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let count = numbered.len();
        let read = move |at: usize| index_shard(&keys, numbered[at].0, &numbered[at].1);
        for indexed in super::ordered::ordered(threads, 0..count, Arc::new(read)) {
            let indexed = indexed?;
            hash.update(indexed.shard.name.as_bytes());
            hash.update(&indexed.hash.to_le_bytes());
            this.shards.push(indexed.shard);
            this.entries.extend(indexed.entries);
            this.problems.extend(indexed.problems);
        }
        if this.entries.is_empty() {
            let first = this.problems.first().map(|bad| format!("; the first problem is {bad}"));
            return Err(Error::invalid(format!("{} shards hold no usable sample{}", this.shards.len(), first.unwrap_or_default())));
        }
        this.fingerprint = format!("webdataset:{}:{:032x}", this.entries.len(), hash.digest128());
        Ok(this)
    }

    fn file(&self, number: u32) -> Result<Arc<File>, String> {
        let mut files = self.files.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(file) = files.get(&number) {
            return Ok(Arc::clone(file));
        }
        let shard = &self.shards[number as usize];
        let file = File::open(&shard.path).map_err(|error| error.to_string())?;
        let now = file.metadata().map_err(|error| error.to_string())?;
        if now.len() != shard.size || now.modified().ok() != shard.modified {
            return Err("it is no longer the file that was indexed; start again".into());
        }
        if files.len() >= OPEN_FILES {
            files.pop_first();
        }
        Ok(Arc::clone(files.entry(number).or_insert_with(|| Arc::new(file))))
    }

    fn bad(&self, entry: &Entry, span: Span, reason: &'static str, detail: impl Into<String>) -> Bad {
        let shard = &self.shards[entry.shard as usize].name;
        Bad { key: key_of(shard, &entry.key), place: format!("{shard}:{}", span.offset), reason, detail: detail.into() }
    }

    fn bytes(&self, entry: &Entry, span: Span) -> Result<Option<Vec<u8>>, Bad> {
        if span.size == u32::MAX {
            return Ok(None);
        }
        let file = self.file(entry.shard).map_err(|error| self.bad(entry, span, "shard changed", error))?;
        let mut bytes = vec![0; span.size as usize];
        match read_full(&*file, span.offset, &mut bytes) {
            Ok(count) if count == bytes.len() => Ok(Some(bytes)),
            Ok(count) => Err(self.bad(entry, span, "shard changed", format!("{count} of {} bytes are left", bytes.len()))),
            Err(error) => Err(self.bad(entry, span, "unreadable file", error.to_string())),
        }
    }

    fn text(&self, entry: &Entry, span: Span) -> Result<Option<String>, Bad> {
        let Some(bytes) = self.bytes(entry, span)? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|error| self.bad(entry, span, "not UTF-8", error.utf8_error().to_string()))
    }

    fn label(&self, entry: &Entry, text: &str) -> Result<i64, Bad> {
        let text = text.trim();
        let label = text.parse().ok().or_else(|| self.classes.iter().position(|name| name == text).map(|at| at as i64));
        let known = |label: &i64| *label >= 0 && (self.classes.is_empty() || (*label as usize) < self.classes.len());
        label.filter(known).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            self.bad(entry, entry.label, "bad label", format!("`{shown}` is no class of {}", self.classes.len()))
        })
    }
}

fn key_of(shard: &str, key: &[u8]) -> String {
    format!("{shard}:{}", String::from_utf8_lossy(key))
}

fn index_shard(config: &WebDatasetConfig, number: u32, path: &Path) -> Result<Indexed> {
    let io = |error| Error::io(path, error);
    let file = File::open(path).map_err(io)?;
    let about = file.metadata().map_err(io)?;
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    let mut start = [0; 4];
    let count = read_full(&file, 0, &mut start).map_err(io)?;
    match &start[..count] {
        [] => return Err(Error::invalid(format!("shard {} has no bytes", path.display()))),
        [0x1F, 0x8B, ..] | [0x28, 0xB5, 0x2F, 0xFD] | [b'B', b'Z', b'h', _] => {
            return Err(Error::invalid(format!("shard {} is compressed; unpack it, because samples are read at random", path.display())));
        }
        _ => {}
    }
    let index = tar_index::index(&file, about.len()).map_err(io)?;
    let shard = Shard { path: path.to_owned(), name, size: about.len(), modified: about.modified().ok() };
    let mut hash = Xxh3::new();
    for member in &index.members {
        hash.update(&member.name);
        hash.update(&member.offset.to_le_bytes());
        hash.update(&member.size.to_le_bytes());
    }
    let mut problems: Vec<Bad> = index
        .damage
        .iter()
        .map(|damage| Bad {
            key: shard.name.clone(),
            place: format!("{}:{}", shard.name, damage.offset),
            reason: damage.reason,
            detail: damage.detail.clone(),
        })
        .collect();
    let entries = entries(config, number, &shard.name, &index.members, &mut problems);
    Ok(Indexed { shard, entries, problems, hash: hash.digest() })
}

/// The complete samples of a shard; what is incomplete goes to `problems`.
fn entries(config: &WebDatasetConfig, shard: u32, name: &str, members: &[Member], problems: &mut Vec<Bad>) -> Vec<Entry> {
    let (groups, nameless) = group(members);
    let mut bad = |key: &[u8], offset: u64, reason, detail: String| {
        problems.push(Bad { key: key_of(name, key), place: format!("{name}:{offset}"), reason, detail });
    };
    if nameless > 0 {
        bad(b"", 0, "no suffix", format!("{nameless} members belong to no sample, because their names have no suffix"));
    }
    let mut entries = Vec::with_capacity(groups.len());
    for group in groups {
        let offset = group.parts.first().map_or(0, |(_, member)| members[*member].offset);
        if group.again {
            bad(
                &group.key,
                offset,
                "mixed members",
                "its key stands elsewhere in the shard: members of a sample must follow each other".into(),
            );
        }
        if group.repeated {
            bad(&group.key, offset, "repeated suffix", "a suffix again begins a new sample of the same key".into());
        }
        let span = |suffix: &str| Span::of(members, group.find([suffix]));
        let entry = Entry {
            shard,
            image: Span::of(members, group.find(config.image_key.split(';'))),
            text: if config.json_text_key.is_empty() { span(&config.text_key) } else { Span::ABSENT },
            label: span(&config.class_key),
            json: span("json"),
            key: group.key.into(),
        };
        let has = |span: Span| span.size != u32::MAX;
        let caption = has(entry.text) || has(entry.label) || (has(entry.json) && !config.json_text_key.is_empty());
        if !has(entry.image) && !config.image_key.is_empty() {
            bad(&entry.key, offset, "no image", format!("no member ends in {}", config.image_key));
        } else if !caption {
            bad(&entry.key, offset, "no caption", format!("no member ends in {} or {}", config.text_key, config.class_key));
        } else {
            entries.push(entry);
        }
    }
    entries
}

impl Source for WebDataset {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn key(&self, index: usize) -> String {
        let entry = &self.entries[index];
        key_of(&self.shards[entry.shard as usize].name, &entry.key)
    }

    fn read(&self, index: usize) -> Result<Raw, Bad> {
        let entry = &self.entries[index];
        let mut caption = Caption::default();
        if let Some(json) = self.text(entry, entry.json)? {
            let value: serde_json::Value =
                serde_json::from_str(&json).map_err(|error| self.bad(entry, entry.json, "bad json", error.to_string()))?;
            let object = value.as_object().ok_or_else(|| self.bad(entry, entry.json, "bad json", "it is no object"))?;
            for (key, value) in object {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                if *key != self.json_text_key {
                    caption.meta.insert(key.clone(), text);
                } else if let Some(list) = value.as_array() {
                    caption.texts.extend(list.iter().filter_map(|text| text.as_str().map(str::to_owned)));
                } else if !value.is_null() {
                    caption.texts.push(text);
                }
            }
        }
        caption.texts.extend(self.text(entry, entry.text)?);
        if let Some(label) = self.text(entry, entry.label)? {
            caption.labels.push(self.label(entry, &label)?);
        }
        let was = caption.texts.len();
        caption.texts.retain(|text| !text.trim().is_empty());
        if caption.texts.is_empty() && (was > 0 || caption.labels.is_empty()) {
            return Err(self.bad(entry, entry.text, "empty caption", ""));
        }
        if let (true, Some(class)) = (caption.texts.is_empty(), caption.labels.first().and_then(|label| self.classes.get(*label as usize)))
        {
            caption.texts.push(class.clone());
        }
        Ok(Raw { key: self.key(index), picture: self.bytes(entry, entry.image)?.map(Picture::Encoded), caption })
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
#[path = "webdataset_tests.rs"]
mod tests;
