//! Reading a file at any offset, and headers in blocks as large as pays.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Least that is read at a time: a header, and the small members that mostly follow a picture.
const LEAST: usize = 4 << 10;
/// Most that is read at a time.
const MOST: usize = 64 << 10;

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

/// What was read last, kept for the next header: it grows while headers are near each other and shrinks where large members lie between them.
pub(super) struct HeaderWindow<'a, F: ReadAt + ?Sized> {
    pub file: &'a F,
    start: u64,
    bytes: Vec<u8>,
    reach: usize,
}

impl<'a, F: ReadAt + ?Sized> HeaderWindow<'a, F> {
    pub fn new(file: &'a F) -> Self {
        Self { file, start: 0, bytes: Vec::new(), reach: LEAST }
    }

    /// As [`read_full`].
    pub fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.copy(offset, buffer) {
            return Ok(buffer.len());
        }
        if buffer.len() > LEAST {
            return read_full(self.file, offset, buffer);
        }
        let near = offset.checked_sub(self.start).is_some_and(|ahead| ahead < 2 * self.bytes.len() as u64);
        self.reach = if near { (self.reach * 2).min(MOST) } else { (self.reach / 2).max(LEAST) };
        self.bytes.resize(self.reach, 0);
        self.start = offset;
        let count = read_full(self.file, offset, &mut self.bytes)?;
        self.bytes.truncate(count);
        let there = count.min(buffer.len());
        buffer[..there].copy_from_slice(&self.bytes[..there]);
        Ok(there)
    }

    fn copy(&self, offset: u64, buffer: &mut [u8]) -> bool {
        let from = offset.checked_sub(self.start).and_then(|ahead| usize::try_from(ahead).ok());
        let kept = from.and_then(|from| self.bytes.get(from..)?.get(..buffer.len()));
        if let Some(kept) = kept {
            buffer.copy_from_slice(kept);
        }
        kept.is_some()
    }
}
