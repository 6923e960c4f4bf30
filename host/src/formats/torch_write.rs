//! Files that `torch.load(weights_only=True)` reads: a zip archive with stored entries and a pickle of protocol 2.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use crc32fast::Hasher;
use serde_json::Value;
use tch::{Kind, Tensor};
use vlhub_core::{Error, Result};

use super::safetensors_write::pieces;
use crate::files::replace;

/// Where the bytes of an entry begin, as PyTorch has it: on multiples of this.
const ALIGNMENT: u64 = 64;
const ROOT: &str = "archive";

/// Writes tensors in the order given as one file that replaces `path` only once it is complete and on disk. Without `extras`, the file is
/// the dict of tensors; with extras (`epoch`, `name`), it is a dict of them and of `state_dict`, as open_clip's trainer writes it.
/// Tensors are written contiguous, each with a storage of its own.
///
/// # Errors
/// The file; two tensors of one name; a type that is not written (complex, quantised); an extra that is no text, number or truth value.
pub fn write_pt(path: &Path, tensors: &[(String, Tensor)], extras: &BTreeMap<String, Value>) -> Result<()> {
    let (data, sizes) = plan(tensors, extras).map_err(|error| error.within(path.display().to_string()))?;
    let compose = |to: &mut dyn Write, dry: bool| {
        let mut zip = Zip { to, at: 0, directory: Vec::new(), entries: 0, dry };
        for (name, content) in
            [("data.pkl", data.as_slice()), (".format_version", b"1"), (".storage_alignment", b"64"), ("byteorder", b"little")]
        {
            zip.entry(name, content.len() as u64, &mut |put| put(content))?;
        }
        for (at, ((_, tensor), size)) in tensors.iter().zip(&sizes).enumerate() {
            zip.entry(&format!("data/{at}"), *size, &mut |put| pieces(tensor, put))?;
        }
        zip.entry("version", 2, &mut |put| put(b"3\n"))?;
        zip.end()
    };
    let total = compose(&mut io::sink(), true).map_err(|error| Error::io(path, error))?;
    replace(path, total, &mut |to| compose(to, false).map(drop))
}

/// The pickle, and the bytes of each storage.
fn plan(tensors: &[(String, Tensor)], extras: &BTreeMap<String, Value>) -> Result<(Vec<u8>, Vec<u64>)> {
    let mut seen = BTreeSet::new();
    if let Some((twice, _)) = tensors.iter().find(|(name, _)| !seen.insert(name)) {
        return Err(Error::invalid(format!("two tensors are called `{twice}`; names in a file are unique")));
    }
    let mut pickle = Pickler(b"\x80\x02}(".to_vec());
    for (key, value) in extras.iter().filter(|(key, _)| *key != "state_dict") {
        pickle.text(key)?;
        pickle.scalar(key, value)?;
    }
    if !extras.is_empty() {
        pickle.text("state_dict")?;
        pickle.raw(b"}(");
    }
    let mut sizes = Vec::with_capacity(tensors.len());
    for (at, (name, tensor)) in tensors.iter().enumerate() {
        let kind = tensor.f_kind()?;
        let class = class(kind).ok_or_else(|| Error::invalid(format!("tensor `{name}` has type {kind:?}, which is not written")))?;
        let size = tensor.size();
        pickle.text(name)?;
        pickle.tensor(class, at, tensor.numel() as i64, &size)?;
        sizes.push((tensor.numel() * kind.elt_size_in_bytes()) as u64);
    }
    pickle.raw(if extras.is_empty() { b"u." } else { b"uu." });
    Ok((pickle.0, sizes))
}

/// The class of storages for a type.
fn class(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Float => "FloatStorage",
        Kind::Double => "DoubleStorage",
        Kind::Half => "HalfStorage",
        Kind::BFloat16 => "BFloat16Storage",
        Kind::Int64 => "LongStorage",
        Kind::Int => "IntStorage",
        Kind::Int16 => "ShortStorage",
        Kind::Int8 => "CharStorage",
        Kind::Uint8 => "ByteStorage",
        Kind::Bool => "BoolStorage",
        _ => return None,
    })
}

/// Operations of a pickle.
struct Pickler(Vec<u8>);

impl Pickler {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) -> Result<()> {
        let length = u32::try_from(text.len()).map_err(|_| Error::invalid("a name is beyond 4 GiB"))?;
        self.raw(b"X");
        self.raw(&length.to_le_bytes());
        self.raw(text.as_bytes());
        Ok(())
    }

    fn scalar(&mut self, key: &str, value: &Value) -> Result<()> {
        match value {
            Value::Null => self.raw(b"N"),
            Value::Bool(truth) => self.raw(if *truth { b"\x88" } else { b"\x89" }),
            Value::String(text) => self.text(text)?,
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => self.int(number),
                (None, Some(number)) => {
                    self.raw(b"G");
                    self.raw(&number.to_be_bytes());
                }
                _ => return Err(Error::invalid(format!("`{key}` is a number that is not written"))),
            },
            Value::Array(_) | Value::Object(_) => {
                return Err(Error::invalid(format!("`{key}` is a list or an object; texts, numbers and truth values are written")));
            }
        }
        Ok(())
    }

    fn int(&mut self, number: i64) {
        match i32::try_from(number) {
            Ok(small) => {
                self.raw(b"J");
                self.raw(&small.to_le_bytes());
            }
            Err(_) => {
                self.raw(b"\x8a\x08");
                self.raw(&number.to_le_bytes());
            }
        }
    }

    fn ints(&mut self, numbers: &[i64]) {
        self.raw(b"(");
        for number in numbers {
            self.int(*number);
        }
        self.raw(b"t");
    }

    /// `_rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict())`.
    fn tensor(&mut self, class: &str, key: usize, count: i64, size: &[i64]) -> Result<()> {
        self.raw(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.text("storage")?;
        self.raw(format!("ctorch\n{class}\n").as_bytes());
        self.text(&key.to_string())?;
        self.text("cpu")?;
        self.int(count);
        self.raw(b"tQ");
        self.int(0);
        let mut stride = vec![1; size.len()];
        for at in (1..size.len()).rev() {
            stride[at - 1] = stride[at] * size[at].max(1);
        }
        self.ints(size);
        self.ints(&stride);
        self.raw(b"\x89ccollections\nOrderedDict\n)RtR");
        Ok(())
    }
}

/// A zip archive that is written from front to back.
struct Zip<'a> {
    to: &'a mut dyn Write,
    at: u64,
    directory: Vec<u8>,
    entries: u64,
    /// Whether only lengths are wanted: then contents are not asked for.
    dry: bool,
}

/// What takes the content of an entry.
type Put<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Zip<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.to.write_all(bytes)
    }

    fn entry(&mut self, name: &str, size: u64, write: &mut dyn FnMut(&mut Put<'_>) -> io::Result<()>) -> io::Result<()> {
        let name = format!("{ROOT}/{name}");
        let header = self.at;
        let wide = size >= u64::from(u32::MAX);
        // Sizes beyond 32 bits, then filling up to the alignment, under the tag that PyTorch uses for it.
        let mut extra = Vec::new();
        if wide {
            extra.extend_from_slice(&[1, 0, 16, 0]);
            extra.extend_from_slice(&size.to_le_bytes());
            extra.extend_from_slice(&size.to_le_bytes());
        }
        let start = header + 30 + name.len() as u64 + extra.len() as u64 + 4;
        let filling = start.next_multiple_of(ALIGNMENT) - start;
        extra.extend_from_slice(b"FB");
        extra.extend_from_slice(&(filling as u16).to_le_bytes());
        extra.resize(extra.len() + filling as usize, b'Z');
        // Version 4.5, sum after the content (bit 3), names in UTF-8 (bit 11), stored, no date.
        let common = [45, 0, 0x08, 0x08, 0, 0, 0, 0, 0x21, 0];
        let lengths = [(name.len() as u16).to_le_bytes(), (extra.len() as u16).to_le_bytes()].concat();
        let size32 = narrow(size).to_le_bytes();
        self.put(&[b"PK\x03\x04", common.as_slice(), &[0; 4], &size32, &size32, &lengths, name.as_bytes(), &extra].concat())?;
        let mut hash = Hasher::new();
        let mut written = 0;
        if self.dry {
            written = size;
        } else {
            write(&mut |bytes| {
                hash.update(bytes);
                written += bytes.len() as u64;
                self.to.write_all(bytes)
            })?;
        }
        if written != size {
            return Err(io::Error::other(format!("{name}: {written} bytes came where {size} were announced")));
        }
        self.at += written;
        let sum = hash.finalize().to_le_bytes();
        self.put(b"PK\x07\x08")?;
        self.put(&sum)?;
        if wide {
            self.put(&[size.to_le_bytes(), size.to_le_bytes()].concat())?;
        } else {
            self.put(&[size32, size32].concat())?;
        }
        let mut extra = Vec::new();
        let far = header >= u64::from(u32::MAX);
        if wide || far {
            let numbers: Vec<u64> = [size, size].into_iter().filter(|_| wide).chain(Some(header).filter(|_| far)).collect();
            extra.extend_from_slice(&[1, 0, numbers.len() as u8 * 8, 0]);
            extra.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        let lengths = [(name.len() as u16).to_le_bytes(), (extra.len() as u16).to_le_bytes()].concat();
        let place = narrow(header).to_le_bytes();
        let entry = [b"PK\x01\x02\x2d\x00", common.as_slice(), &sum, &size32, &size32, &lengths, &[0; 10], &place, name.as_bytes(), &extra];
        self.directory.extend(entry.concat());
        self.entries += 1;
        Ok(())
    }

    /// The directory, and where it is; returns the bytes of the whole.
    fn end(mut self) -> io::Result<u64> {
        let (at, directory) = (self.at, std::mem::take(&mut self.directory));
        let (size, entries) = (directory.len() as u64, self.entries);
        self.put(&directory)?;
        let end64 = self.at;
        self.put(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\0\0\0\0\0\0\0\0")?;
        for number in [entries, entries, size, at] {
            self.put(&number.to_le_bytes())?;
        }
        self.put(b"PK\x06\x07\0\0\0\0")?;
        self.put(&end64.to_le_bytes())?;
        self.put(&1_u32.to_le_bytes())?;
        let count = u16::try_from(entries).unwrap_or(u16::MAX).to_le_bytes();
        self.put(
            &[b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count, &narrow(size).to_le_bytes(), &narrow(at).to_le_bytes(), &[0; 2]].concat(),
        )?;
        Ok(self.at)
    }
}
