//! Tar shards in the layout of WebDataset and img2dataset.
//!
//! One pass over the headers of all shards gives random access; nothing is extracted. Shards that are elsewhere or compressed come into the
//! [data cache](crate::data::places) first.

mod counts;
mod index;
mod index_file;
mod list;
mod reading;
mod samples;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use vlhub_core::{Bad, Config, Error, Extent, Picture, Raw, Result, Share, Source, SourceCx, Want, Wants};
use vlhub_sdk::register;
use vlhub_sdk::schemars::JsonSchema;
use vlhub_sdk::sources::{ClassNames, Files};
use xxhash_rust::xxh3::Xxh3;

use super::shards::{ShardFiles, shard_files};
use super::tar_index::MAX_MEMBER;
use crate::data::ordered::ordered;
use index::{LACKS, ShardFile, key_of};
pub use list::{ListedEntry, ShardSummary, list, write_index};
use reading::SampleAt;
use samples::{PackedSamples, SampleEntry};

/// Tar shards in the layout of WebDataset.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct WebDatasetConfig {
    /// Shards: `"cc3m/{00000..00331}.tar"`, several joined by `::`, or a list. Braces as in a shell; `*` and `?` too. They may be compressed
    /// (gzip, Zstandard), and elsewhere: `https://…`, `s3://…`, `gs://…`, `az://…`, `pipe:COMMAND`.
    pub shards: Files,
    /// Suffixes of pictures, joined by `;`: the first that a sample has is read. A suffix begins after the first dot of a name.
    pub image_key: String,
    /// Suffix of captions.
    pub text_key: String,
    /// Key of the `json` member that holds the caption, or a list of captions; empty reads the `text_key` member.
    pub json_text_key: String,
    /// Suffix of class labels: a number, or the name of a class. A suffix that ends in `npy` holds a NumPy array with a number for each class,
    /// above 0 where the class is right: several may be.
    pub class_key: String,
    /// Suffix of NumPy arrays (`npy`) that belong to samples, such as their groups; they come along as a column of this name, a JSON list. Empty:
    /// none is read.
    pub array_key: String,
    /// Class names: a list, or a file with one a line. Without it `classnames.txt` beside the first shard, if there is one.
    pub classes: Option<ClassNames>,
    /// How often a sample of each `::` part or list entry of `shards` is drawn, relative to the others: open_clip's
    /// `--train-data-upsampling-factors`. One number above 0 for each; empty: all alike. Needs `train.resampled = true` unless they are equal.
    pub upsampling: Vec<f64>,
    /// Refuses shards that are damaged, or whose samples have mixed members or repeated suffixes. Without it such samples are counted and listed.
    pub strict: bool,
    /// Most bytes of a caption, class or `json` member; a sample with a longer one cannot be used. From 1 to 268435456.
    pub max_text_bytes: u32,
}

/// Longest caption or `json` member unless a run says otherwise: 1 MiB.
const MAX_TEXT: u32 = 1 << 20;

impl Default for WebDatasetConfig {
    fn default() -> Self {
        Self {
            shards: Files::Many(Vec::new()),
            image_key: "jpg;png;jpeg;webp".into(),
            text_key: "txt".into(),
            json_text_key: String::new(),
            class_key: "cls".into(),
            array_key: String::new(),
            classes: None,
            upsampling: Vec::new(),
            strict: false,
            max_text_bytes: MAX_TEXT,
        }
    }
}

register!(dyn Source, "webdataset", WebDatasetConfig);

impl Config<dyn Source> for WebDatasetConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        Ok(Box::new(WebDataset::open(self, cx)?))
    }
}

impl WebDatasetConfig {
    fn check_ranges(&self) -> Result<()> {
        if !(1..=MAX_MEMBER as u32).contains(&self.max_text_bytes) {
            return Err(Error::invalid(format!("`max_text_bytes` is {}; it lies between 1 and {MAX_MEMBER}", self.max_text_bytes)));
        }
        Ok(())
    }

    fn check_upsampling(&self, parts: usize) -> Result<()> {
        let factors = &self.upsampling;
        if !factors.is_empty() && factors.len() != parts {
            return Err(Error::invalid(format!(
                "`upsampling` has {} factors and `shards` {parts} parts; write one factor for each `::` part or list entry",
                factors.len()
            )));
        }
        match factors.iter().find(|factor| !(factor.is_finite() && **factor > 0.0)) {
            Some(factor) => Err(Error::invalid(format!("`upsampling` holds {factor}; factors are above 0 and finite"))),
            None => Ok(()),
        }
    }
}

/// An indexed list of shards.
#[derive(Debug)]
pub struct WebDataset {
    shards: Vec<Shard>,
    /// The first sample of each shard, and how many there are together.
    starts: Vec<usize>,
    shares: Vec<Share>,
    classes: Vec<String>,
    labelled: bool,
    problems: Vec<Bad>,
    notes: Vec<String>,
    fingerprint: String,
    max_text_bytes: u32,
    json_text_key: String,
    class_key: String,
    array_key: String,
    wants: Wants,
    /// Open shards, at most 256.
    files: Mutex<BTreeMap<u32, Arc<File>>>,
}

#[derive(Debug)]
struct Shard {
    file: ShardFile,
    samples: PackedSamples,
}

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
        config.check_ranges()?;
        let ShardFiles { files, parts } = shard_files(&config.shards, cx)?;
        config.check_upsampling(parts)?;
        let missing: Vec<String> =
            files.iter().filter(|(_, file)| !file.path.is_file()).map(|(_, file)| file.path.display().to_string()).collect();
        if let Some(first) = missing.first() {
            let folder = if Path::new(first).is_dir() { format!(", a folder; its shards are {first}/*.tar") } else { String::new() };
            return Err(Error::invalid(format!(
                "{} of {} shards are missing or no files; the first is {first}{folder}",
                missing.len(),
                files.len()
            )));
        }
        let mut classes = config.classes.as_ref().map(|names| names.read(cx.folder)).transpose()?;
        let beside = files[0].1.folder.as_ref().map(|folder| folder.join("classnames.txt"));
        if let Some(beside) = beside.filter(|beside| classes.is_none() && beside.is_file()) {
            classes = Some(ClassNames::file(&beside)?);
        }
        let mut this = Self {
            shards: Vec::new(),
            starts: vec![0],
            shares: config.upsampling.iter().map(|weight| Share { samples: 0, weight: *weight }).collect(),
            classes: classes.unwrap_or_default(),
            labelled: false,
            problems: files.iter().filter_map(|(_, file)| file.damage.clone()).collect(),
            notes: Vec::new(),
            fingerprint: String::new(),
            max_text_bytes: config.max_text_bytes,
            json_text_key: config.json_text_key.clone(),
            class_key: config.class_key.clone(),
            array_key: config.array_key.clone(),
            wants,
            files: Mutex::default(),
        };
        let mut hash = Xxh3::new();
        hash.update(
            serde_json::to_string(&(&config.image_key, &config.text_key, &config.json_text_key, &config.class_key))
                .unwrap_or_default()
                .as_bytes(),
        );
        hash.update(config.array_key.as_bytes());
        config.upsampling.iter().for_each(|weight| hash.update(&weight.to_bits().to_le_bytes()));
        let index = index::Indexer { config: config.clone(), wants, named: !this.classes.is_empty(), extent: cx.extent };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let files = Arc::new(files);
        let (count, to_read) = (files.len(), Arc::clone(&files));
        let read = move |at: usize| index.shard(&to_read[at].1);
        let mut counts = Vec::with_capacity(count);
        for (indexed, (part, file)) in ordered(threads, 0..count, Arc::new(read)).zip(files.iter()) {
            let indexed = indexed?;
            hash.update(indexed.shard.name.as_bytes());
            hash.update(&indexed.hash.to_le_bytes());
            counts.extend(file.folder.as_ref().map(|folder| (folder.join(&file.name), indexed.groups)));
            this.starts.push(this.len() + indexed.samples.len());
            if let Some(share) = this.shares.get_mut(*part) {
                share.samples += indexed.samples.len();
            }
            this.labelled |= indexed.labelled;
            this.problems.extend(indexed.problems);
            this.notes.extend(indexed.notes);
            this.shards.push(Shard { file: indexed.shard, samples: indexed.samples });
        }
        if this.is_empty() && cx.extent == Extent::Glance {
            // The first samples may be the only ones that lack something: what is an error is decided by all.
            return Self::open(config, &SourceCx { extent: Extent::Whole, ..*cx });
        }
        if config.strict {
            this.refuse_faults()?;
        }
        if this.is_empty() {
            let first = this.problems.first().map(|bad| format!("; the first problem is {bad}"));
            let some = [wants.picture, wants.text, wants.label].contains(&Want::Required);
            let read = if some { format!("; {wants} are read") } else { String::new() };
            let shards = if count == 1 { "1 shard holds".to_owned() } else { format!("{count} shards hold") };
            return Err(Error::invalid(format!("{shards} no usable sample{}{read}", first.unwrap_or_default())));
        }
        if cx.extent == Extent::Whole {
            this.notes.extend(counts::notes(&counts));
        }
        this.labelled |= !this.classes.is_empty();
        this.fingerprint = format!("webdataset:{}:{:032x}", this.len(), hash.digest128());
        Ok(this)
    }

    /// # Errors
    /// Shards have faults that `strict` refuses.
    fn refuse_faults(&self) -> Result<()> {
        let faults = || self.problems.iter().filter(|bad| !LACKS.contains(&bad.reason));
        match faults().next() {
            Some(first) => Err(Error::invalid(format!(
                "`strict` refuses {} faults of the shards; the first is {first}. `vlhub data index` lists them all",
                faults().count()
            ))),
            None => Ok(()),
        }
    }

    /// The shard of a sample, and where its parts are.
    fn entry(&self, index: usize) -> (u32, SampleEntry) {
        let number = self.starts.partition_point(|start| *start <= index) - 1;
        (number as u32, self.shards[number].samples.get(index - self.starts[number]))
    }
}

impl Source for WebDataset {
    fn len(&self) -> usize {
        self.starts[self.shards.len()]
    }

    fn key(&self, index: usize) -> String {
        let (shard, entry) = self.entry(index);
        key_of(&self.shards[shard as usize].file.name, &entry.key)
    }

    fn read(&self, index: usize) -> Result<Raw, Bad> {
        let (shard, entry) = self.entry(index);
        let at = SampleAt { shard, name: self.shards[shard as usize].file.name.clone(), entry };
        let caption = self.caption(&at)?;
        let picture = if self.wants.picture.is_read() { self.bytes(&at, at.entry.image)? } else { None };
        Ok(Raw { key: key_of(&at.name, &at.entry.key), picture: picture.map(Picture::Encoded), caption })
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

    fn shares(&self) -> Vec<Share> {
        if self.shares.is_empty() { vec![Share { samples: self.len(), weight: 1.0 }] } else { self.shares.clone() }
    }

    fn problems(&self) -> &[Bad] {
        &self.problems
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}

#[cfg(test)]
#[path = "webdataset_tests.rs"]
pub(super) mod tests;
