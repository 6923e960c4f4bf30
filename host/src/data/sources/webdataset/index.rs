//! Shards to samples: which members belong together, and whether they have what is wanted of them.

use std::fs::File;
use std::path::PathBuf;
use std::time::SystemTime;

use vlhub_core::{Bad, Error, Extent, LocalFile, Result, Want, Wants};
use xxhash_rust::xxh3::Xxh3;

use super::WebDatasetConfig;
use crate::data::sources::group::{Group, group};
use crate::data::sources::suffixes::Suffixes;
use crate::data::sources::tar_index::{self, Member, read_full};

/// Members that a glance at a shard reads.
const GLANCE: usize = 1024;

/// A shard file as it was when it was indexed.
#[derive(Debug)]
pub(super) struct ShardFile {
    pub path: PathBuf,
    /// For people: the file's name without its folder.
    pub name: String,
    pub size: u64,
    pub modified: Option<SystemTime>,
}

/// Where a member's data are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub offset: u64,
    pub size: u32,
}

impl Span {
    const ABSENT: Self = Self { offset: 0, size: u32::MAX };

    fn of(members: &[Member], number: Option<usize>) -> Self {
        // Members are at most 256 MiB, so a size fits.
        number.map_or(Self::ABSENT, |number| Self { offset: members[number].offset, size: members[number].size as u32 })
    }

    pub fn is_there(self) -> bool {
        self.size != u32::MAX
    }
}

/// One sample.
#[derive(Debug)]
pub(super) struct SampleEntry {
    pub shard: u32,
    pub key: Box<[u8]>,
    pub image: Span,
    pub text: Span,
    pub label: Span,
    pub json: Span,
}

/// What is found in one shard.
pub(super) struct Indexed {
    pub shard: ShardFile,
    pub entries: Vec<SampleEntry>,
    pub problems: Vec<Bad>,
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

impl Indexer {
    /// Reads the headers of shard `number`.
    ///
    /// # Errors
    /// A shard that is empty, compressed or cannot be read.
    pub fn shard(&self, number: u32, local: &LocalFile) -> Result<Indexed> {
        let path = local.path.as_path();
        let io = |error| Error::io(path, error);
        let file = File::open(path).map_err(io)?;
        let about = file.metadata().map_err(io)?;
        let name = local.name.clone();
        let mut start = [0; 4];
        let count = read_full(&file, 0, &mut start).map_err(io)?;
        match &start[..count] {
            [] => return Err(Error::invalid(format!("shard {} has no bytes", path.display()))),
            [0x1F, 0x8B, ..] | [0x28, 0xB5, 0x2F, 0xFD] | [b'B', b'Z', b'h', _] | [0xFD, b'7', b'z', b'X'] => {
                return Err(Error::invalid(format!(
                    "shard {name} is compressed twice, or otherwise than with gzip or Zstandard; unpack it"
                )));
            }
            _ => {}
        }
        let most = if self.extent == Extent::Glance { GLANCE } else { usize::MAX };
        let index = tar_index::index_members(&file, about.len(), most).map_err(io)?;
        let shard = ShardFile { path: path.to_owned(), name, size: about.len(), modified: about.modified().ok() };
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
        let entries = self.entries(number, &shard.name, &index.members, &mut problems);
        Ok(Indexed { shard, entries, problems, hash: hash.digest() })
    }

    /// The samples of a shard that have what is wanted; the others go to `problems`.
    fn entries(&self, shard: u32, name: &str, members: &[Member], problems: &mut Vec<Bad>) -> Vec<SampleEntry> {
        let (mut groups, nameless) = group(members);
        if members.len() >= GLANCE && self.extent == Extent::Glance && groups.len() > 1 {
            // The glance may have ended within a sample.
            groups.pop();
        }
        let mut bad = |key: &[u8], offset: u64, reason, detail: String| {
            problems.push(Bad { key: key_of(name, key), place: format!("{name}:{offset}"), reason, detail });
        };
        if nameless > 0 {
            bad(b"", 0, "no suffix", format!("{nameless} members belong to no sample, because their names have no suffix"));
        }
        let suffixes = Suffixes::of(&groups);
        let mut entries = Vec::with_capacity(groups.len());
        for group in &groups {
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
            let entry = self.entry(shard, group, members);
            match self.lack(&entry, group, &suffixes) {
                Some((reason, detail)) => bad(&group.key, offset, reason, detail),
                None => entries.push(entry),
            }
        }
        entries
    }

    fn entry(&self, shard: u32, group: &Group, members: &[Member]) -> SampleEntry {
        let config = &self.config;
        let span = |suffix: &str| Span::of(members, group.find([suffix]).filter(|_| !suffix.is_empty()));
        SampleEntry {
            shard,
            image: if config.image_key.is_empty() { Span::ABSENT } else { Span::of(members, group.find(config.image_key.split(';'))) },
            text: if config.json_text_key.is_empty() { span(&config.text_key) } else { Span::ABSENT },
            label: span(&config.class_key),
            json: span("json"),
            key: group.key.clone().into(),
        }
    }

    /// What a sample lacks of what is wanted.
    fn lack(&self, entry: &SampleEntry, group: &Group, suffixes: &Suffixes<'_>) -> Option<(&'static str, String)> {
        let WebDatasetConfig { image_key, text_key, json_text_key, class_key, .. } = &self.config;
        let Wants { picture, text, label, .. } = self.wants;
        let captioned =
            entry.text.is_there() || (entry.json.is_there() && !json_text_key.is_empty()) || (entry.label.is_there() && self.named);
        let no_picture = || Some(("no image", suffixes.no_picture(group, image_key)));
        if picture == Want::Required && !entry.image.is_there() {
            return no_picture();
        }
        if text == Want::Required && !captioned {
            return Some(("no caption", suffixes.no_caption(group, text_key, class_key, json_text_key, self.named)));
        }
        if label == Want::Required && !entry.label.is_there() {
            return Some(("no label", suffixes.no_label(group, class_key)));
        }
        let nothing_is_read = ![picture, text, label].into_iter().any(Want::is_read);
        let anything = nothing_is_read
            || (picture.is_read() && entry.image.is_there())
            || (text.is_read() && captioned)
            || (label.is_read() && entry.label.is_there());
        if anything { None } else { no_picture() }
    }
}
