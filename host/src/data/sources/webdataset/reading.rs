//! The parts of a sample, read from its shard.

use std::fs::File;
use std::sync::Arc;

use vlhub_core::{Bad, Caption, Want, Wants};

use super::WebDataset;
use super::index::key_of;
use super::samples::SampleEntry;
use crate::data::sources::group::Span;
use crate::data::sources::tar_index::{BLOCK, TarHeader, read_full};
use crate::data::sources::{npy, python_json};

/// How many shards are held open at a time.
const OPEN_FILES: usize = 256;

/// A sample that is being read.
pub(super) struct SampleAt {
    pub shard: u32,
    /// The shard's name.
    pub name: String,
    pub entry: SampleEntry,
}

impl SampleAt {
    fn bad(&self, span: impl Into<Option<Span>>, reason: &'static str, detail: impl Into<String>) -> Bad {
        let offset = span.into().map_or(0, |span| span.offset);
        Bad { key: key_of(&self.name, &self.entry.key), place: format!("{}:{offset}", self.name), reason, detail: detail.into() }
    }
}

impl WebDataset {
    fn file(&self, number: u32) -> Result<Arc<File>, String> {
        let mut files = self.files.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(file) = files.get(&number) {
            return Ok(Arc::clone(file));
        }
        let shard = &self.shards[number as usize].file;
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

    pub(super) fn bytes(&self, at: &SampleAt, span: Option<Span>) -> Result<Option<Vec<u8>>, Bad> {
        let Some(span) = span else { return Ok(None) };
        let file = self.file(at.shard).map_err(|error| at.bad(span, "shard changed", error))?;
        let io = |error: std::io::Error| at.bad(span, "unreadable file", error.to_string());
        // Whatever an index says, a header must stand before the data. This also sees a shard that is written to while it is read.
        let mut header = [0; BLOCK as usize];
        let before = span.offset.checked_sub(BLOCK).map(|offset| read_full(&*file, offset, &mut header)).transpose().map_err(io)?;
        let header = TarHeader(&header);
        let fits = header.checksum_agrees() && header.is_regular() && header.size() == Some(u64::from(span.size));
        if before != Some(BLOCK as usize) || !fits {
            let detail = format!("no header of a file of {} bytes stands before its data", span.size);
            return Err(at.bad(span, "shard changed", detail));
        }
        let mut bytes = vec![0; span.size as usize];
        match read_full(&*file, span.offset, &mut bytes).map_err(io)? {
            count if count == bytes.len() => Ok(Some(bytes)),
            count => Err(at.bad(span, "shard changed", format!("{count} of {} bytes are left", bytes.len()))),
        }
    }

    /// The bytes of a member that is no picture.
    fn small(&self, at: &SampleAt, span: Option<Span>) -> Result<Option<Vec<u8>>, Bad> {
        let Some(place) = span else { return Ok(None) };
        if place.size > self.max_text_bytes {
            let detail = format!("{} bytes; `max_text_bytes` allows {}", place.size, self.max_text_bytes);
            return Err(at.bad(place, "text too large", detail));
        }
        self.bytes(at, span)
    }

    fn text(&self, at: &SampleAt, span: Option<Span>) -> Result<Option<String>, Bad> {
        let Some((place, bytes)) = span.zip(self.small(at, span)?) else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|error| at.bad(place, "not UTF-8", error.utf8_error().to_string()))
    }

    /// Columns of the `json` member, and the captions in it.
    fn json(&self, at: &SampleAt, caption: &mut Caption) -> Result<(), Bad> {
        let Some((span, json)) = at.entry.json.zip(self.text(at, at.entry.json)?) else { return Ok(()) };
        let value = python_json::parse(&json).map_err(|error| at.bad(span, "bad json", error.to_string()))?;
        let object = value.as_object().ok_or_else(|| at.bad(span, "bad json", "it is no object"))?;
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

    /// A NumPy array, as numbers.
    fn array(&self, at: &SampleAt, span: Option<Span>) -> Result<Option<Vec<f64>>, Bad> {
        let Some((place, bytes)) = span.zip(self.small(at, span)?) else { return Ok(None) };
        npy::parse(&bytes).map(Some).map_err(|error| at.bad(place, "bad array", error))
    }

    /// The classes of a sample.
    fn labels(&self, at: &SampleAt) -> Result<Vec<i64>, Bad> {
        if !self.class_key.ends_with("npy") {
            return Ok(self.label(at)?.into_iter().collect());
        }
        let Some((span, values)) = at.entry.label.zip(self.array(at, at.entry.label)?) else { return Ok(Vec::new()) };
        let classes = self.classes.len();
        if classes > 0 && values.len() != classes {
            return Err(at.bad(span, "bad label", format!("{} numbers for {classes} classes", values.len())));
        }
        Ok(values.iter().zip(0..).filter(|(value, _)| **value > 0.0).map(|(_, class)| class).collect())
    }

    fn label(&self, at: &SampleAt) -> Result<Option<i64>, Bad> {
        let Some((span, text)) = at.entry.label.zip(self.text(at, at.entry.label)?) else { return Ok(None) };
        let text = text.trim();
        let label = text.parse().ok().or_else(|| self.classes.iter().position(|name| name == text).map(|at| at as i64));
        let known = |label: &i64| *label >= 0 && (self.classes.is_empty() || (*label as usize) < self.classes.len());
        label.filter(known).map(Some).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            at.bad(span, "bad label", format!("`{shown}` is no class of {}", self.classes.len()))
        })
    }

    /// The words of a sample, as far as they are wanted.
    pub(super) fn caption(&self, at: &SampleAt) -> Result<Caption, Bad> {
        let Wants { text, label, meta, .. } = self.wants;
        let mut caption = Caption::default();
        if meta.is_read() || (text.is_read() && !self.json_text_key.is_empty()) {
            self.json(at, &mut caption)?;
        }
        if meta.is_read()
            && let Some(values) = self.array(at, at.entry.array)?
        {
            caption.meta.insert(self.array_key.clone(), serde_json::Value::from(values).to_string());
        }
        if text.is_read() {
            caption.texts.extend(self.text(at, at.entry.text)?);
        }
        let there = caption.texts.len();
        caption.texts.retain(|text| !text.trim().is_empty());
        let blank = there > 0 && caption.texts.is_empty();
        if blank && text == Want::Required {
            return Err(at.bad(at.entry.text.or(at.entry.json), "empty caption", ""));
        }
        // The name of its class is the caption of a sample without one.
        let named = text.is_read() && there == 0 && !self.classes.is_empty();
        if label.is_read() || named {
            let found = self.labels(at)?;
            if named {
                caption.texts.extend(found.iter().filter_map(|label| self.classes.get(*label as usize)).cloned());
            }
            caption.labels = if label.is_read() { found } else { Vec::new() };
        }
        if caption.texts.is_empty() && text == Want::Required {
            return Err(at.bad(at.entry.json, "empty caption", format!("its json member has no text `{}`", self.json_text_key)));
        }
        Ok(caption)
    }
}
