//! Tar shards in the layout of WebDataset and img2dataset, on local disks.
//!
//! One pass over the headers of all shards gives random access; nothing is extracted, and no command in a shard list is run.

mod index;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use vlhub_core::{Bad, Caption, Config, Error, Extent, Picture, Raw, Result, Source, SourceCx, Want, Wants};
use vlhub_sdk::register;
use vlhub_sdk::schemars::JsonSchema;
use vlhub_sdk::sources::ClassNames;
use xxhash_rust::xxh3::Xxh3;

use super::python_json;
use super::shards::{Shards, shard_paths};
use super::tar_index::read_full;
use crate::data::ordered::ordered;
use index::{SampleEntry, ShardFile, Span, key_of};

/// Tar shards in the layout of WebDataset.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct WebDatasetConfig {
    /// Shards: `"cc3m/{00000..00331}.tar"`, several joined by `::`, or a list. Braces as in a shell; `*` and `?` too.
    pub shards: Shards,
    /// Suffixes of pictures, joined by `;`: the first that a sample has is read. A suffix begins after the first dot of a name.
    pub image_key: String,
    /// Suffix of captions.
    pub text_key: String,
    /// Key of the `json` member that holds the caption, or a list of captions; empty reads the `text_key` member.
    pub json_text_key: String,
    /// Suffix of class labels: a number, or the name of a class.
    pub class_key: String,
    /// Class names: a list, or a file with one a line. Without it `classnames.txt` beside the first shard, if there is one.
    pub classes: Option<ClassNames>,
}

impl Default for WebDatasetConfig {
    fn default() -> Self {
        Self {
            shards: Shards::Many(Vec::new()),
            image_key: "jpg;png;jpeg;webp".into(),
            text_key: "txt".into(),
            json_text_key: String::new(),
            class_key: "cls".into(),
            classes: None,
        }
    }
}

register!(dyn Source, "webdataset", WebDatasetConfig);

impl Config<dyn Source> for WebDatasetConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        Ok(Box::new(WebDataset::open(self, cx)?))
    }
}

/// An indexed list of shards.
#[derive(Debug)]
pub struct WebDataset {
    shards: Vec<ShardFile>,
    entries: Vec<SampleEntry>,
    classes: Vec<String>,
    labelled: bool,
    problems: Vec<Bad>,
    fingerprint: String,
    json_text_key: String,
    wants: Wants,
    /// Open shards, at most [`OPEN_FILES`].
    files: Mutex<BTreeMap<u32, Arc<File>>>,
}

/// How many shards are held open at a time.
const OPEN_FILES: usize = 256;

impl WebDataset {
    /// Indexes shards.
    ///
    /// # Errors
    /// A shard that is missing, empty or compressed, or no usable sample at all.
    pub fn open(config: &WebDatasetConfig, cx: &SourceCx<'_>) -> Result<Self> {
        let wants = cx.wants;
        for (key, value, want, what) in
            [("image_key", &config.image_key, wants.picture, "pictures"), ("class_key", &config.class_key, wants.label, "class labels")]
        {
            if want == Want::Required && value.is_empty() {
                return Err(Error::invalid(format!("`{key}` is empty, but {what} are read; name the suffix of their members")));
            }
        }
        let mut paths = shard_paths(&config.shards, cx.folder)?;
        let missing: Vec<String> = paths.iter().filter(|path| !path.is_file()).map(|path| path.display().to_string()).collect();
        if let Some(first) = missing.first() {
            return Err(Error::invalid(format!(
                "{} of {} shards are missing or no files; the first is {first}",
                missing.len(),
                paths.len()
            )));
        }
        let mut classes = config.classes.as_ref().map(|names| names.read(cx.folder)).transpose()?;
        let beside = paths[0].with_file_name("classnames.txt");
        if classes.is_none() && beside.is_file() {
            classes = Some(ClassNames::file(&beside)?);
        }
        let mut this = Self {
            shards: Vec::new(),
            entries: Vec::new(),
            classes: classes.unwrap_or_default(),
            labelled: false,
            problems: Vec::new(),
            fingerprint: String::new(),
            json_text_key: config.json_text_key.clone(),
            wants,
            files: Mutex::default(),
        };
        let mut hash = Xxh3::new();
        hash.update(
            serde_json::to_string(&(&config.image_key, &config.text_key, &config.json_text_key, &config.class_key))
                .unwrap_or_default()
                .as_bytes(),
        );
        if cx.extent == Extent::Glance {
            paths.truncate(1);
        }
        let numbered: Vec<(u32, PathBuf)> = (0..).zip(paths).collect();
        let index = index::Indexer { config: config.clone(), wants, named: !this.classes.is_empty(), extent: cx.extent };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let count = numbered.len();
        let read = move |at: usize| index.shard(numbered[at].0, &numbered[at].1);
        for indexed in ordered(threads, 0..count, Arc::new(read)) {
            let indexed = indexed?;
            hash.update(indexed.shard.name.as_bytes());
            hash.update(&indexed.hash.to_le_bytes());
            this.shards.push(indexed.shard);
            this.entries.extend(indexed.entries);
            this.problems.extend(indexed.problems);
        }
        if this.entries.is_empty() && cx.extent == Extent::Glance {
            // The first samples may be the only ones that lack something: what is an error is decided by all.
            return Self::open(config, &SourceCx { extent: Extent::Whole, ..*cx });
        }
        if this.entries.is_empty() {
            let first = this.problems.first().map(|bad| format!("; the first problem is {bad}"));
            let read = format!("{wants} are read");
            let shards = if count == 1 { "1 shard holds".to_owned() } else { format!("{count} shards hold") };
            return Err(Error::invalid(format!("{shards} no usable sample{}; {read}", first.unwrap_or_default())));
        }
        this.labelled = !this.classes.is_empty() || this.entries.iter().any(|entry| entry.label.is_there());
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

    fn bad(&self, entry: &SampleEntry, span: Span, reason: &'static str, detail: impl Into<String>) -> Bad {
        let shard = &self.shards[entry.shard as usize].name;
        Bad { key: key_of(shard, &entry.key), place: format!("{shard}:{}", span.offset), reason, detail: detail.into() }
    }

    fn bytes(&self, entry: &SampleEntry, span: Span) -> Result<Option<Vec<u8>>, Bad> {
        if !span.is_there() {
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

    fn text(&self, entry: &SampleEntry, span: Span) -> Result<Option<String>, Bad> {
        let Some(bytes) = self.bytes(entry, span)? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|error| self.bad(entry, span, "not UTF-8", error.utf8_error().to_string()))
    }

    /// Columns of the `json` member, and the captions in it.
    fn json(&self, entry: &SampleEntry, caption: &mut Caption) -> Result<(), Bad> {
        let Some(json) = self.text(entry, entry.json)? else { return Ok(()) };
        let value = python_json::parse(&json).map_err(|error| self.bad(entry, entry.json, "bad json", error.to_string()))?;
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
        Ok(())
    }

    fn label(&self, entry: &SampleEntry) -> Result<Option<i64>, Bad> {
        let Some(text) = self.text(entry, entry.label)? else { return Ok(None) };
        let text = text.trim();
        let label = text.parse().ok().or_else(|| self.classes.iter().position(|name| name == text).map(|at| at as i64));
        let known = |label: &i64| *label >= 0 && (self.classes.is_empty() || (*label as usize) < self.classes.len());
        label.filter(known).map(Some).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            self.bad(entry, entry.label, "bad label", format!("`{shown}` is no class of {}", self.classes.len()))
        })
    }

    /// The words of a sample, as far as they are wanted.
    fn caption(&self, entry: &SampleEntry) -> Result<Caption, Bad> {
        let Wants { text, label, meta, .. } = self.wants;
        let mut caption = Caption::default();
        if meta.is_read() || (text.is_read() && !self.json_text_key.is_empty()) {
            self.json(entry, &mut caption)?;
        }
        if text.is_read() {
            caption.texts.extend(self.text(entry, entry.text)?);
        }
        let there = caption.texts.len();
        caption.texts.retain(|text| !text.trim().is_empty());
        let blank = there > 0 && caption.texts.is_empty();
        if blank && text == Want::Required {
            return Err(self.bad(entry, if entry.text.is_there() { entry.text } else { entry.json }, "empty caption", ""));
        }
        // The name of its class is the caption of a sample without one.
        let named = text.is_read() && there == 0 && !self.classes.is_empty();
        if label.is_read() || named {
            let found = self.label(entry)?;
            caption.texts.extend(found.filter(|_| named).and_then(|label| self.classes.get(label as usize)).cloned());
            caption.labels.extend(found.filter(|_| label.is_read()));
        }
        if caption.texts.is_empty() && text == Want::Required {
            return Err(self.bad(entry, entry.json, "empty caption", format!("its json member has no text `{}`", self.json_text_key)));
        }
        Ok(caption)
    }
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
        let caption = self.caption(entry)?;
        let picture = if self.wants.picture.is_read() { self.bytes(entry, entry.image)? } else { None };
        Ok(Raw { key: self.key(index), picture: picture.map(Picture::Encoded), caption })
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn labelled(&self) -> bool {
        self.labelled
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
