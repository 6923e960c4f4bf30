//! The zip archives that PyTorch writes, read strictly: one directory, entries that do not overlap, sizes and sums that hold.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crc32fast::Hasher;
use flate2::read::DeflateDecoder;
use tch::Tensor;

use super::source::{ByteSource, fill};
use super::{Budget, Checked, Limits};

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR: u32 = 0x0706_4b50;

/// An archive whose directory was read and found sound.
pub(super) struct Archive<'a> {
    source: &'a ByteSource<'a>,
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    deflated: bool,
    /// CRC-32 of the content; PyTorch writes 0 if it was told not to compute it.
    sum: u32,
    packed: u64,
    size: u64,
    /// First byte of its header, then of its content.
    header: u64,
    data: u64,
}

/// Little-endian numbers of a slice.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn next(&mut self, bytes: usize) -> Checked<u64> {
        let (head, rest) = self.0.split_at_checked(bytes).ok_or("its directory is cut")?;
        self.0 = rest;
        Ok(head.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
    fn skip(&mut self, bytes: usize) -> Checked<()> {
        self.0 = self.0.get(bytes..).ok_or("its directory is cut")?;
        Ok(())
    }
}

impl<'a> Archive<'a> {
    /// Reads the directory.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn open(source: &'a ByteSource<'a>, limits: &Limits) -> Checked<Self> {
        let (count, at, size) = end(source)?;
        if size > limits.header {
            return Err(format!("its directory takes {size} bytes; at most {} are read", limits.header));
        }
        // 46 bytes are the least that an entry takes.
        if count > size / 46 {
            return Err(format!("its directory of {size} bytes cannot hold {count} entries"));
        }
        let directory = source.bytes(at, size)?;
        let mut fields = Fields(&directory);
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let (name, entry) = entry(&mut fields, source)?;
            if entries.contains_key(&name) {
                return Err(format!("two entries are called `{name}`"));
            }
            entries.insert(name, entry);
        }
        if !fields.0.is_empty() {
            return Err("its directory holds more than its entries".into());
        }
        let mut spans: Vec<_> = entries.iter().map(|(name, entry)| (entry.header, entry.data + entry.packed, name)).collect();
        spans.sort();
        let mut before = 0;
        for (from, to, name) in spans {
            if from < before || to > at {
                return Err(format!("entry `{name}` overlaps another, or the directory"));
            }
            before = to;
        }
        Ok(Self { source, entries })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    fn entry(&self, name: &str) -> Checked<&Entry> {
        self.entries.get(name).ok_or_else(|| format!("the archive has no `{name}`"))
    }

    /// Bytes of an entry, unpacked, as the directory claims.
    pub(super) fn size(&self, name: &str) -> Checked<u64> {
        Ok(self.entry(name)?.size)
    }

    /// The content of a small entry.
    pub(super) fn bytes(&self, name: &str, budget: &mut Budget<'_>) -> Checked<Vec<u8>> {
        let entry = self.entry(name)?;
        budget.header(name, entry.size)?;
        if entry.deflated {
            budget.inflated(entry.size)?;
        }
        let mut content = ArchiveContent::new(self.source, entry);
        let mut bytes = vec![0; entry.size as usize];
        content.read(&mut bytes).and_then(|()| content.end()).map_err(|why| format!("entry `{name}`: {why}"))?;
        Ok(bytes)
    }

    /// The content of an entry as a tensor of bytes.
    pub(super) fn tensor(&self, name: &str, budget: &mut Budget<'_>) -> Checked<Tensor> {
        let entry = self.entry(name)?;
        budget.bytes(entry.size)?;
        if entry.deflated {
            budget.inflated(entry.size)?;
        }
        let mut content = ArchiveContent::new(self.source, entry);
        let tensor = fill(entry.size, |piece| content.read(piece));
        tensor.and_then(|tensor| content.end().map(|()| tensor)).map_err(|why| format!("entry `{name}`: {why}"))
    }
}

/// Entries, first byte and length of the directory.
fn end(source: &ByteSource<'_>) -> Checked<(u64, u64, u64)> {
    const LENGTH: u64 = 22;
    let cut = || "it is a zip archive without a directory: cut, or still being downloaded".to_owned();
    let window = source.size().min(LENGTH + 0xffff);
    let start = source.size() - window;
    let tail = source.bytes(start, window)?;
    let place = (0..tail.len().saturating_sub(LENGTH as usize - 1)).rev().find(|at| {
        let comment = usize::from(u16::from_le_bytes([tail[at + 20], tail[at + 21]]));
        tail[*at..].starts_with(&END.to_le_bytes()) && at + LENGTH as usize + comment == tail.len()
    });
    let place = place.ok_or_else(cut)?;
    let mut at = start + place as u64;
    let mut fields = Fields(&tail[place + 4..]);
    let (disk, first_disk, here, mut count) = (fields.next(2)?, fields.next(2)?, fields.next(2)?, fields.next(2)?);
    let (mut size, mut offset) = (fields.next(4)?, fields.next(4)?);
    if (disk, first_disk) != (0, 0) || here != count {
        return Err("it is a part of a zip archive that was split".into());
    }
    if let Some(locator) = at.checked_sub(20) {
        let bytes = source.bytes(locator, 20)?;
        let mut fields = Fields(&bytes);
        if fields.next(4)? == u64::from(LOCATOR) {
            fields.skip(4)?;
            let place = fields.next(8)?;
            let bytes = source.bytes(place, 56)?;
            let mut fields = Fields(&bytes);
            if fields.next(4)? != u64::from(END64) || place.checked_add(56).is_none_or(|end| end > locator) {
                return Err("its 64-bit directory is not where it says".into());
            }
            fields.skip(28)?;
            let wide = (fields.next(8)?, fields.next(8)?, fields.next(8)?);
            let agree = |narrow: u64, most: u64, wide: u64| narrow == most || narrow == wide;
            if !(agree(count, 0xffff, wide.0) && agree(size, 0xffff_ffff, wide.1) && agree(offset, 0xffff_ffff, wide.2)) {
                return Err("its two directories disagree".into());
            }
            (count, size, offset) = wide;
            at = place;
        }
    }
    if offset.checked_add(size) != Some(at) {
        return Err("its directory is not where it says: bytes were added or cut".into());
    }
    Ok((count, offset, size))
}

/// The next entry of the directory, checked against its own header.
fn entry(fields: &mut Fields<'_>, source: &ByteSource<'_>) -> Checked<(String, Entry)> {
    if fields.next(4)? != u64::from(CENTRAL) {
        return Err("its directory is damaged".into());
    }
    fields.skip(4)?;
    let (flags, method) = (fields.next(2)?, fields.next(2)?);
    fields.skip(4)?;
    let sum = fields.next(4)? as u32;
    let (mut packed, mut size) = (fields.next(4)?, fields.next(4)?);
    let (name, extra, comment) = (fields.next(2)? as usize, fields.next(2)? as usize, fields.next(2)? as usize);
    fields.skip(8)?;
    let mut header = fields.next(4)?;
    let raw = fields.0.get(..name).ok_or("its directory is cut")?.to_vec();
    fields.skip(name)?;
    let mut extras = Fields(fields.0.get(..extra).ok_or("its directory is cut")?);
    fields.skip(extra + comment)?;
    let name = String::from_utf8(raw).map_err(|_| "the name of an entry is not UTF-8")?;
    while extras.0.len() >= 4 {
        let (tag, length) = (extras.next(2)?, extras.next(2)? as usize);
        let mut wide = Fields(extras.0.get(..length).ok_or("its directory is cut")?);
        extras.skip(length)?;
        if tag == 1 {
            for number in [&mut size, &mut packed, &mut header] {
                if *number == 0xffff_ffff {
                    *number = wide.next(8)?;
                }
            }
        }
    }
    if flags & 0x2041 != 0 {
        return Err(format!("entry `{name}` is encrypted"));
    }
    if method != 0 && method != 8 {
        return Err(format!("entry `{name}` is packed by method {method}; stored and deflated entries are read"));
    }
    if method == 0 && packed != size {
        return Err(format!("entry `{name}` is stored, but has two sizes: {packed} and {size}"));
    }
    let local = source.bytes(header, 30)?;
    let mut own = Fields(&local);
    let begins = own.next(4)? == u64::from(LOCAL);
    own.skip(4)?;
    let same_method = own.next(2)? == method;
    own.skip(16)?;
    let (own_name, own_extra) = (own.next(2)?, own.next(2)?);
    let same_name = own_name == name.len() as u64 && source.bytes(header + 30, own_name)? == name.as_bytes();
    if !begins || !same_method || !same_name {
        return Err(format!("entry `{name}` is not what the directory says"));
    }
    let data = header + 30 + own_name + own_extra;
    if data.checked_add(packed).is_none_or(|end| end > source.size()) {
        return Err(format!("entry `{name}` reaches beyond the file: it is cut"));
    }
    Ok((name, Entry { deflated: method == 8, sum, packed, size, header, data }))
}

/// The content of an entry, piece by piece.
struct ArchiveContent<'a> {
    from: From<'a>,
    hash: Hasher,
    sum: u32,
}

enum From<'a> {
    Stored(ArchivePart<'a>),
    Deflated(Box<DeflateDecoder<ArchivePart<'a>>>),
}

/// A part of a file.
struct ArchivePart<'a> {
    source: &'a ByteSource<'a>,
    at: u64,
    end: u64,
}

impl Read for ArchivePart<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = to.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        self.source.read(self.at, &mut to[..count]).map_err(io::Error::other)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl<'a> ArchiveContent<'a> {
    fn new(source: &'a ByteSource<'a>, entry: &Entry) -> Self {
        let part = ArchivePart { source, at: entry.data, end: entry.data + entry.packed };
        let from = if entry.deflated { From::Deflated(Box::new(DeflateDecoder::new(part))) } else { From::Stored(part) };
        Self { from, hash: Hasher::new(), sum: entry.sum }
    }

    fn reader(&mut self) -> &mut dyn Read {
        match &mut self.from {
            From::Stored(part) => part,
            From::Deflated(inflate) => inflate,
        }
    }

    fn read(&mut self, to: &mut [u8]) -> Checked<()> {
        self.reader().read_exact(to).map_err(|error| format!("it is shorter than the directory says, or damaged: {error}"))?;
        self.hash.update(to);
        Ok(())
    }

    /// Checks that nothing follows, and the sum.
    fn end(&mut self) -> Checked<()> {
        match self.reader().read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err("it is longer than the directory says".into()),
            Err(error) => return Err(error.to_string()),
        }
        let found = self.hash.clone().finalize();
        if self.sum != 0 && self.sum != found {
            return Err(format!("its content is damaged: the checksum is {found:08x}, not {:08x}", self.sum));
        }
        Ok(())
    }
}
