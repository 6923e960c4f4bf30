//! safetensors: a header of JSON, then numbers without gaps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use tch::{Kind, Tensor};
use vlhub_core::Error;

use super::source::{ByteSource, of_torch, truths};
use super::view::contiguous_bytes;
use super::{Budget, Checked, Limits};

/// Types by the names that safetensors has for them.
pub(crate) const KINDS: &[(Kind, &str)] = &[
    (Kind::Float, "F32"),
    (Kind::Double, "F64"),
    (Kind::Half, "F16"),
    (Kind::BFloat16, "BF16"),
    (Kind::Int64, "I64"),
    (Kind::Int, "I32"),
    (Kind::Int16, "I16"),
    (Kind::Int8, "I8"),
    (Kind::Uint8, "U8"),
    (Kind::Bool, "BOOL"),
];

/// Reads every tensor of a safetensors file onto the CPU, sorted by name.
///
/// # Errors
/// The file, and what is wrong with it: a cut or oversized header, offsets that overlap or leave gaps, a type that libtorch does not have.
pub fn read_safetensors(path: &Path) -> vlhub_core::Result<Vec<(String, Tensor)>> {
    read_with_metadata(path).map(|(tensors, _)| tensors)
}

/// [`read_safetensors`], and the metadata of the file's header.
///
/// # Errors
/// As [`read_safetensors`].
pub fn read_with_metadata(path: &Path) -> vlhub_core::Result<SafetensorsContent> {
    let refused = |why: String| Error::invalid(format!("{}: not a valid safetensors file: {why}", path.display()));
    of_ours(&ByteSource::open(path)?).map_err(refused)
}

/// The tensors, sorted by name, and the metadata of a file of ours, or of one that was named as such: as large as it is.
pub(crate) fn of_ours(source: &ByteSource<'_>) -> Checked<SafetensorsContent> {
    let limits = Limits { bytes: u64::MAX, ..Limits::default() };
    read(source, &mut Budget::new(&limits))
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<i64>,
    data_offsets: (u64, u64),
}

/// The header; names are unique.
#[derive(Default)]
struct Header {
    metadata: BTreeMap<String, String>,
    entries: Vec<(String, Entry)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Unique;
        impl<'de> Visitor<'de> for Unique {
            type Value = Header;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tensors by their names")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let (mut header, mut seen) = (Header::default(), BTreeSet::new());
                while let Some(name) = map.next_key::<String>()? {
                    // Readers disagree on which of two entries counts, so neither does.
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("two tensors are called `{name}`")));
                    }
                    if name == "__metadata__" {
                        header.metadata = map.next_value()?;
                    } else {
                        header.entries.push((name, map.next_value()?));
                    }
                }
                Ok(header)
            }
        }
        from.deserialize_map(Unique)
    }
}

/// Tensors by name, and the metadata of the header.
pub type SafetensorsContent = (Vec<(String, Tensor)>, BTreeMap<String, String>);

/// The header, and the byte at which the data begins.
fn header(source: &ByteSource<'_>, budget: &Budget<'_>) -> Checked<(Header, u64)> {
    let mut length = [0; 8];
    source.read(0, &mut length)?;
    let length = u64::from_le_bytes(length);
    budget.header("its header", length)?;
    let json = source.bytes(8, length)?;
    let header = serde_json::from_slice(&json).map_err(|error| format!("its header is not valid: {error}"))?;
    Ok((header, 8 + length))
}

/// The metadata of a header alone.
pub(super) fn metadata(source: &ByteSource<'_>, budget: &Budget<'_>) -> Checked<BTreeMap<String, String>> {
    header(source, budget).map(|(header, _)| header.metadata)
}

/// Reads every tensor, sorted by name, and the metadata. Beside the tensors, the header and one piece are held in memory.
pub(crate) fn read(source: &ByteSource<'_>, budget: &mut Budget<'_>) -> Checked<SafetensorsContent> {
    let (mut header, data) = header(source, budget)?;
    budget.tensors(header.entries.len())?;
    header.entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut end = 0;
    let mut tensors = Vec::with_capacity(header.entries.len());
    for (name, entry) in &header.entries {
        let known = KINDS.iter().find(|(_, known)| known == &entry.dtype);
        let kind = known.ok_or_else(|| format!("tensor `{name}` has type {}, which libtorch does not have", entry.dtype))?.0;
        let bytes = contiguous_bytes(&entry.shape, kind).map_err(|why| format!("tensor `{name}`: {why}"))?;
        let (from, to) = entry.data_offsets;
        if from != end {
            return Err(format!("tensor `{name}` begins at byte {from} of the data and the one before it ends at {end}: overlap or gap"));
        }
        if to.checked_sub(from) != Some(bytes) {
            return Err(format!("tensor `{name}` of {:?} {} takes {bytes} bytes, but has bytes {from} to {to}", entry.shape, entry.dtype));
        }
        budget.bytes(bytes)?;
        let flat = source.tensor(data + from, bytes)?;
        if kind == Kind::Bool {
            truths(&flat).map_err(|why| format!("tensor `{name}`: {why}"))?;
        }
        let tensor = flat.f_view_dtype(kind).and_then(|flat| flat.f_view(entry.shape.as_slice())).map_err(of_torch)?;
        tensors.push((name.clone(), tensor));
        end = to;
    }
    if data.checked_add(end) != Some(source.size()) {
        return Err(format!("its tensors end at byte {}, but it has {} bytes", data.saturating_add(end), source.size()));
    }
    tensors.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok((tensors, header.metadata))
}
