//! Shards to samples: which members belong together, and whether they have what is wanted of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::SystemTime;

use vlhub_core::{Bad, Error, Extent, LocalFile, Result, Want, Wants};
use xxhash_rust::xxh3::Xxh3;

use super::WebDatasetConfig;
use super::index_file::{IndexRecords, Stamp, places};
use super::samples::{PackedSamples, SampleEntry};
use crate::data::sources::group::{Group, Grouper};
use crate::data::sources::suffixes::Suffixes;
use crate::data::sources::tar_index::{self, Damage, TarEvent, Visit, read_full};

/// Members that a glance at a shard reads.
const GLANCE: usize = 1024;
/// Most bytes of an index file.
const MAX_INDEX: u64 = 4 << 30;

/// Reasons that samples lack something, or that members are no samples: the shards themselves are in order, so `strict` lets these pass.
pub(super) const LACKS: [&str; 4] = ["no image", "no caption", "no label", "no suffix"];

/// A shard file as it was when it was indexed.
#[derive(Debug)]
pub(super) struct ShardFile {
    pub path: PathBuf,
    /// For people: the file's name without its folder.
    pub name: String,
    pub size: u64,
    pub modified: Option<SystemTime>,
}

impl ShardFile {
    /// Opens a shard.
    ///
    /// # Errors
    /// It is empty, compressed, or cannot be read.
    pub fn open(local: &LocalFile) -> Result<(Self, File)> {
        let (path, name) = (local.path.as_path(), local.name.clone());
        let io = |error| Error::io(path, error);
        let file = File::open(path).map_err(io)?;
        let about = file.metadata().map_err(io)?;
        let mut start = [0; 4];
        let count = read_full(&file, 0, &mut start).map_err(io)?;
        match &start[..count] {
            [] => {
                let why = local.damage.as_ref().map(|damage| format!(": {}", damage.detail)).unwrap_or_default();
                return Err(Error::invalid(format!("shard {} has no bytes{why}", local.shown().display())));
            }
            [0x1F, 0x8B, ..] | [0x28, 0xB5, 0x2F, 0xFD] | [b'B', b'Z', b'h', _] | [0xFD, b'7', b'z', b'X'] => {
                return Err(Error::invalid(format!(
                    "shard {name} is compressed twice, or otherwise than with gzip or Zstandard; unpack it"
                )));
            }
            _ => {}
        }
        Ok((Self { path: path.to_owned(), name, size: about.len(), modified: about.modified().ok() }, file))
    }

    /// Tells what is in the shard: from an index file that fits it, or from its headers. What is returned says why an index file was passed over.
    ///
    /// # Errors
    /// The shard cannot be read.
    pub fn walk(&self, file: &File, visit: &mut Visit<'_>) -> Result<Option<String>> {
        let io = |error| Error::io(&self.path, error);
        let mut note = None;
        for place in places(&self.path) {
            let about = std::fs::metadata(&place).ok().filter(|about| about.is_file() && about.len() <= MAX_INDEX);
            let Some(bytes) = about.and_then(|_| std::fs::read(&place).ok()) else { continue };
            match IndexRecords::parse(bytes, &Stamp::of(file).map_err(io)?) {
                Ok(records) => {
                    records.walk(visit);
                    return Ok(None);
                }
                Err(why) => {
                    note = Some(format!("index file {} is not used: {why}; `vlhub data index` writes it anew", place.display()));
                }
            }
        }
        tar_index::walk(file, self.size, visit).map_err(io)?;
        Ok(note)
    }

    /// Something that was lost in it.
    pub fn bad(&self, damage: &Damage) -> Bad {
        let place = format!("{}:{}", self.name, damage.offset);
        Bad { key: self.name.clone(), place, reason: damage.reason, detail: damage.detail.clone() }
    }
}

/// What is found in one shard.
pub(super) struct Indexed {
    pub shard: ShardFile,
    pub samples: PackedSamples,
    /// Groups of members, usable or not: what WebDataset would count.
    pub groups: u64,
    /// Whether a sample that can be used has a label.
    pub labelled: bool,
    pub problems: Vec<Bad>,
    pub notes: Vec<String>,
    pub hash: u64,
}

/// Name of a sample for people.
pub(super) fn key_of(shard: &str, key: &[u8]) -> String {
    format!("{shard}:{}", String::from_utf8_lossy(key))
}

/// Indexes shards, each by itself.
pub(super) struct Indexer {
    pub config: WebDatasetConfig,
    pub wants: Wants,
    /// Whether classes have names, which are captions.
    pub named: bool,
    pub extent: Extent,
}

/// A sample that is faulty, and how.
type FaultyGroup = (Group, &'static str);

/// What is known so far of a shard.
#[derive(Default)]
struct Sorted {
    samples: PackedSamples,
    groups: u64,
    labelled: bool,
    full: bool,
    suffixes: Suffixes,
    faults: Vec<FaultyGroup>,
}

impl Indexer {
    /// Reads the headers of a shard.
    ///
    /// # Errors
    /// A shard that is empty, compressed or cannot be read.
    pub fn shard(&self, local: &LocalFile) -> Result<Indexed> {
        let (shard, file) = ShardFile::open(local)?;
        let mut problems = Vec::new();
        let mut others: BTreeMap<&'static str, (u64, String)> = BTreeMap::new();
        let (mut hash, mut members, mut stopped) = (Xxh3::new(), 0, false);
        let (mut grouper, mut sorted) = (Grouper::default(), Sorted::default());
        let most = if self.extent == Extent::Glance { GLANCE } else { usize::MAX };
        let note = shard.walk(&file, &mut |found| {
            match found {
                TarEvent::Damage(damage) => problems.push(shard.bad(&damage)),
                TarEvent::Other { kind, name } => {
                    others.entry(kind).or_insert_with(|| (0, String::from_utf8_lossy(name).into_owned())).0 += 1;
                }
                TarEvent::Member(member) => {
                    hash.update(member.name);
                    hash.update(&member.offset.to_le_bytes());
                    hash.update(&u64::from(member.size).to_le_bytes());
                    if let Some(group) = grouper.push(&member) {
                        self.sort(group, &mut sorted);
                    }
                    members += 1;
                    stopped = members >= most || sorted.full;
                }
            }
            if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if sorted.full {
            return Err(Error::invalid(format!("the keys of shard {} take more than 4 GiB", shard.name)));
        }
        // A glance may have ended within a sample.
        if let Some(last) = grouper.finish().filter(|_| !stopped || sorted.groups == 0) {
            self.sort(last, &mut sorted);
        }
        if grouper.nameless > 0 {
            let detail = format!("{} members belong to no sample, because their names have no suffix", grouper.nameless);
            problems.push(Bad { key: key_of(&shard.name, b""), place: format!("{}:0", shard.name), reason: "no suffix", detail });
        }
        problems.extend(sorted.faults.iter().map(|(group, reason)| Bad {
            key: key_of(&shard.name, &group.key),
            place: format!("{}:{}", shard.name, group.offset()),
            reason,
            detail: self.why(reason, group, &sorted.suffixes),
        }));
        others.remove("folder");
        let not_read = others.iter().map(|(kind, (count, first))| {
            format!("{}: {count} × {kind}, which holds nothing that is read; the first is `{first}`", shard.name)
        });
        let notes = note.into_iter().chain(not_read).collect();
        sorted.samples.shrink();
        let Sorted { samples, groups, labelled, .. } = sorted;
        Ok(Indexed { shard, samples, groups, labelled, problems, notes, hash: hash.digest() })
    }

    /// Keeps a group if it has what is wanted.
    fn sort(&self, group: Group, sorted: &mut Sorted) {
        sorted.groups += 1;
        sorted.suffixes.add(&group);
        let entry = self.entry(&group);
        let lack = self.lack(&entry);
        if lack.is_none() {
            sorted.labelled |= entry.label.is_some();
            sorted.full |= !sorted.samples.push(&entry);
        }
        let marks = [group.again.then_some("mixed members"), group.repeated.then_some("repeated suffix"), lack];
        for reason in marks.into_iter().flatten() {
            sorted.faults.push((group.clone(), reason));
        }
    }

    fn entry(&self, group: &Group) -> SampleEntry {
        let config = &self.config;
        let span = |suffix: &str| group.find([suffix]).filter(|_| !suffix.is_empty());
        SampleEntry {
            image: group.find(config.image_key.split(';')).filter(|_| !config.image_key.is_empty()),
            text: span(&config.text_key).filter(|_| config.json_text_key.is_empty()),
            label: span(&config.class_key),
            json: span("json"),
            array: span(&config.array_key),
            key: group.key.clone(),
        }
    }

    /// What a sample lacks of what is wanted.
    fn lack(&self, entry: &SampleEntry) -> Option<&'static str> {
        let Wants { picture, text, label, .. } = self.wants;
        let json_text = !self.config.json_text_key.is_empty();
        let captioned = entry.text.is_some() || (entry.json.is_some() && json_text) || (entry.label.is_some() && self.named);
        if picture == Want::Required && entry.image.is_none() {
            return Some("no image");
        }
        if text == Want::Required && !captioned {
            return Some("no caption");
        }
        if label == Want::Required && entry.label.is_none() {
            return Some("no label");
        }
        let nothing_is_read = ![picture, text, label].into_iter().any(Want::is_read);
        let anything = nothing_is_read
            || (picture.is_read() && entry.image.is_some())
            || (text.is_read() && captioned)
            || (label.is_read() && entry.label.is_some());
        if anything { None } else { Some("no image") }
    }

    /// The particular case of a fault.
    fn why(&self, reason: &str, group: &Group, suffixes: &Suffixes) -> String {
        let WebDatasetConfig { image_key, text_key, json_text_key, class_key, .. } = &self.config;
        match reason {
            "mixed members" => "its key stands elsewhere in the shard: members of a sample must follow each other".into(),
            "repeated suffix" => "a suffix again begins a new sample of the same key".into(),
            "no caption" => suffixes.no_caption(group, text_key, class_key, json_text_key, self.named),
            "no label" => suffixes.no_label(group, class_key),
            _ => suffixes.no_picture(group, image_key),
        }
    }
}
