//! Where the members of a tar shard are, found by reading headers only, and what of it is damaged.
//!
//! Formats: ustar, GNU long names, PAX. A reader that stops at the first damaged header loses the rest of a shard without a word (Python's
//! `tarfile` in stream mode does); this one looks for the next valid header and says what was lost between. Nothing is ever extracted: names are
//! keys, and members that are no plain files are counted and left alone.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const BLOCK: u64 = 512;
/// Largest member: 256 MiB.
pub const MAX_MEMBER: u64 = 256 << 20;
/// Largest long name or PAX record: 1 MiB.
const MAX_EXTENDED: u64 = 1 << 20;
const TRUNCATED: &str = "truncated shard";

/// Something that can be read at any offset.
pub trait ReadAt {
    /// Reads up to `buffer.len()` bytes from `offset`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

/// Fills the buffer, or says how much there was.
pub fn read_full(file: &(impl ReadAt + ?Sized), offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(offset + done as u64, &mut buffer[done..])? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

/// A plain file in a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, as bytes: tar does not promise UTF-8.
    pub name: Vec<u8>,
    /// Where its data begin.
    pub offset: u64,
    /// How many bytes they are.
    pub size: u64,
}

/// A place where something was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where, in bytes.
    pub offset: u64,
    /// Class of reason.
    pub reason: &'static str,
    /// The particular case.
    pub detail: String,
}

/// What a shard holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Plain files, in order.
    pub members: Vec<Member>,
    /// What is damaged.
    pub damage: Vec<Damage>,
    /// Members that are no plain files: folders, links, devices.
    pub ignored: u64,
    /// Bytes in which no header could be found.
    pub lost_bytes: u64,
}

/// Indexes a shard of `length` bytes, up to `most` plain files.
///
/// # Errors
/// Only when the file cannot be read; damage is part of the result.
pub fn index_members(file: &(impl ReadAt + ?Sized), length: u64, most: usize) -> io::Result<Index> {
    Walk { file, length, most, at: 0, found: Index::default(), pending: Pending::default(), ended: false }.run()
}

/// What extended headers say of the next member.
#[derive(Default)]
struct Pending {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    /// Its PAX record could not be understood, so its size is not to be trusted.
    refused: bool,
    sparse: bool,
}

struct Walk<'a, F: ReadAt + ?Sized> {
    file: &'a F,
    length: u64,
    /// Plain files after which the walk ends.
    most: usize,
    at: u64,
    found: Index,
    pending: Pending,
    /// What was lost last reaches to the end, and the end mark is there.
    ended: bool,
}

impl<F: ReadAt + ?Sized> Walk<'_, F> {
    fn run(mut self) -> io::Result<Index> {
        let mut block = [0; BLOCK as usize];
        loop {
            if self.found.members.len() >= self.most {
                return Ok(self.found);
            }
            let there = read_full(self.file, self.at, &mut block)?;
            if there < block.len() {
                if !self.ended && self.found.damage.last().is_none_or(|last| last.reason != TRUNCATED) {
                    self.damage(self.at, TRUNCATED, format!("it ends after {there} bytes of a header, without an end mark"));
                }
                return Ok(self.found);
            }
            if block == [0; BLOCK as usize] {
                if self.zeros()? {
                    return Ok(self.found);
                }
                continue;
            }
            let header = Header(&block);
            if !header.checksum_agrees() {
                self.resync(self.at, "damaged header", "its checksum is wrong")?;
                continue;
            }
            self.member(&header)?;
        }
    }

    fn damage(&mut self, offset: u64, reason: &'static str, detail: impl Into<String>) {
        self.found.damage.push(Damage { offset, reason, detail: detail.into() });
    }

    /// At a block of zeros: whether the shard ends here.
    fn zeros(&mut self) -> io::Result<bool> {
        let start = self.at;
        let mut buffer = vec![0; 1 << 16];
        let mut at = start;
        loop {
            let count = read_full(self.file, at, &mut buffer)?;
            if let Some(place) = buffer[..count].iter().position(|byte| *byte != 0) {
                at += place as u64;
                break;
            }
            at += count as u64;
            if count < buffer.len() {
                if at - start < 2 * BLOCK {
                    self.damage(start, TRUNCATED, "only one block of zeros marks its end");
                }
                return Ok(true);
            }
        }
        // Not the end: a header is missing, or somebody appended an archive to another.
        let blocks = (at - start) / BLOCK;
        self.resync(start, "zeroed blocks", format!("{blocks} blocks of zeros are followed by data"))?;
        Ok(false)
    }

    /// Goes to the next valid header after `from` and reports what lies between as damaged.
    fn resync(&mut self, from: u64, reason: &'static str, detail: impl Into<String>) -> io::Result<()> {
        self.pending = Pending::default();
        let next = self.next_header(from + 1)?;
        let lost = next.unwrap_or(self.length).saturating_sub(from);
        self.found.lost_bytes += lost;
        let tail = if next.is_some() { "" } else { "; no header follows" };
        self.damage(from, reason, format!("{}; {lost} bytes lost{tail}", detail.into()));
        self.at = next.unwrap_or(self.length);
        if next.is_none() && self.length >= from + 2 * BLOCK {
            let mut mark = [1; 2 * BLOCK as usize];
            let count = read_full(self.file, self.length - 2 * BLOCK, &mut mark)?;
            self.ended = count == mark.len() && mark.iter().all(|byte| *byte == 0);
        }
        Ok(())
    }

    /// The next offset from `from` at which a valid header stands. It need not be a multiple of 512: bytes may have been lost or inserted.
    fn next_header(&self, from: u64) -> io::Result<Option<u64>> {
        const MAGIC: &[u8] = b"ustar";
        const MAGIC_AT: u64 = 257;
        let mut buffer = vec![0; 1 << 16];
        let mut at = from + MAGIC_AT;
        loop {
            let count = read_full(self.file, at, &mut buffer)?;
            for place in 0..count.saturating_sub(MAGIC.len() - 1) {
                if buffer[place] != b'u' || &buffer[place..place + MAGIC.len()] != MAGIC {
                    continue;
                }
                let mut block = [0; BLOCK as usize];
                let start = at + place as u64 - MAGIC_AT;
                if read_full(self.file, start, &mut block)? == block.len() && Header(&block).checksum_agrees() {
                    return Ok(Some(start));
                }
            }
            if count < buffer.len() {
                return Ok(None);
            }
            // The magic may lie across two buffers.
            at += (count - (MAGIC.len() - 1)) as u64;
        }
    }

    fn member(&mut self, header: &Header<'_>) -> io::Result<()> {
        let start = self.at;
        let kind = header.kind();
        let data = start + BLOCK;
        let Some(own_size) = header.size() else {
            return self.resync(start, "bad size", "the size field is no number");
        };
        if matches!(kind, b'x' | b'g' | b'L' | b'K') {
            return self.extended(kind, data, own_size);
        }
        let pending = std::mem::take(&mut self.pending);
        // PAX wins, always: a reader that takes the other size sees other members (CVE-2025-62518).
        let size = if matches!(kind, b'1'..=b'6') { 0 } else { pending.size.unwrap_or(own_size) };
        let end = data.checked_add(size).filter(|end| *end <= self.length);
        if end.is_none() {
            let rest = self.length.saturating_sub(data);
            // Either the size lies, and headers follow, or the shard was cut.
            let reason = if self.next_header(data)?.is_some() { "bad size" } else { TRUNCATED };
            return self.resync(start, reason, format!("a member of {size} bytes, but only {rest} follow"));
        }
        // Blocks count from the header: after bytes were lost it need not stand at a multiple of 512.
        self.at = data + size.div_ceil(BLOCK) * BLOCK;
        let regular = matches!(kind, b'0' | b'7' | 0) && !pending.sparse;
        let name = pending.name.unwrap_or_else(|| header.name());
        if !regular || (kind == 0 && name.ends_with(b"/")) {
            if kind == b'S' {
                self.skip_sparse_headers(header, data, size)?;
            }
            self.found.ignored += 1;
        } else if pending.refused {
            self.damage(start, "malformed pax header", "the member after it is refused, because its size is not known");
        } else if name.is_empty() {
            self.damage(start, "no name", "a member without a name");
        } else if size > MAX_MEMBER {
            self.damage(
                start,
                "member too large",
                format!("`{}` has {size} bytes; {MAX_MEMBER} are allowed", String::from_utf8_lossy(&name)),
            );
        } else {
            self.found.members.push(Member { name, offset: data, size });
        }
        Ok(())
    }

    fn extended(&mut self, kind: u8, data: u64, size: u64) -> io::Result<()> {
        let start = self.at;
        let end = data.checked_add(size).filter(|end| *end <= self.length);
        if size > MAX_EXTENDED || end.is_none() {
            return self.resync(start, "bad size", format!("an extended header of {size} bytes"));
        }
        let mut bytes = vec![0; size as usize];
        read_full(self.file, data, &mut bytes)?;
        self.at = data + size.div_ceil(BLOCK) * BLOCK;
        match kind {
            b'L' => {
                let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                bytes.truncate(length);
                self.pending.name = Some(bytes);
            }
            b'x' => match pax(&bytes) {
                Some(records) => {
                    for (key, value) in records {
                        match key {
                            b"path" => self.pending.name = Some(value.to_vec()),
                            b"size" => match decimal(value) {
                                Some(size) => self.pending.size = Some(size),
                                None => self.pending.refused = true,
                            },
                            _ if key.starts_with(b"GNU.sparse.") => self.pending.sparse = true,
                            _ => {}
                        }
                    }
                }
                None => self.pending.refused = true,
            },
            // A global header may set nothing that matters here, and a long link belongs to a link.
            _ => {}
        }
        Ok(())
    }

    /// A sparse file of GNU tar may continue its map in further blocks before its data.
    fn skip_sparse_headers(&mut self, header: &Header<'_>, data: u64, size: u64) -> io::Result<()> {
        let (mut more, mut blocks) = (header.0[482] != 0, 0);
        let mut block = [0; BLOCK as usize];
        while more && read_full(self.file, data + blocks * BLOCK, &mut block)? == block.len() {
            more = block[504] != 0;
            blocks += 1;
        }
        self.at = data + blocks * BLOCK + size.div_ceil(BLOCK) * BLOCK;
        Ok(())
    }
}

struct Header<'a>(&'a [u8; BLOCK as usize]);

impl Header<'_> {
    fn checksum_agrees(&self) -> bool {
        let Some(written) = octal(&self.0[148..156]) else { return false };
        let bytes = || self.0.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
        // Some old writers added the bytes up as signed numbers.
        written == bytes().map(u64::from).sum::<u64>() || written as i64 == bytes().map(|byte| i64::from(byte as i8)).sum::<i64>()
    }

    fn kind(&self) -> u8 {
        self.0[156]
    }

    fn size(&self) -> Option<u64> {
        let field = &self.0[124..136];
        if field[0] & 0x80 == 0 {
            return octal(field);
        }
        // Base 256, big-endian; the bit after the first would make it negative.
        if field[0] != 0x80 || field[1..4] != [0; 3] {
            return None;
        }
        field[4..].iter().try_fold(0u64, |value, byte| value.checked_mul(256)?.checked_add(u64::from(*byte)))
    }

    fn name(&self) -> Vec<u8> {
        let until_zero = |field: &[u8]| field.iter().copied().take_while(|byte| *byte != 0).collect::<Vec<_>>();
        let name = until_zero(&self.0[..100]);
        let prefix = if &self.0[257..263] == b"ustar\0" { until_zero(&self.0[345..500]) } else { Vec::new() };
        if prefix.is_empty() { name } else { [prefix, name].join(&b'/') }
    }
}

/// An octal number with spaces before and a space or zero byte after it; an empty field is 0.
fn octal(field: &[u8]) -> Option<u64> {
    let start = field.iter().position(|byte| *byte != b' ').unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(|byte| matches!(byte, b' ' | 0)).unwrap_or(digits.len());
    digits[..end].iter().try_fold(0u64, |value, byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// The records `LENGTH KEY=VALUE\n` of a PAX header, or `None` if it is malformed.
fn pax(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() && bytes[0] != 0 {
        let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
        let length = usize::try_from(decimal(&bytes[..space])?).ok().filter(|length| *length <= bytes.len() && *length > space + 1)?;
        let record = bytes[space + 1..length].strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        records.push((&record[..equals], &record[equals + 1..]));
        bytes = &bytes[length..];
    }
    Some(records)
}

#[cfg(test)]
#[path = "tar_index_tests.rs"]
mod tests;
