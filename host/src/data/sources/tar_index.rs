//! Where the members of a tar shard are, found by reading headers only, and what of it is damaged.
//!
//! Formats: ustar, GNU long names, PAX. A reader that stops at the first damaged header loses the rest of a shard without a word (Python's
//! `tarfile` in stream mode does); this one looks for the next valid header and says what was lost between. Nothing is ever extracted: names are
//! keys, and members that are no plain files are counted and left alone.

mod damage;
mod header;
mod read;

use std::io;
use std::ops::ControlFlow;

pub(crate) use header::TarHeader;
use header::{decimal, pax};
use read::HeaderWindow;
pub use read::{ReadAt, read_full};

/// Headers are this long, and data are filled up to a multiple of it, in bytes.
pub const BLOCK: u64 = 512;
/// Largest member: 256 MiB.
pub const MAX_MEMBER: u64 = 256 << 20;
/// Largest long name or PAX record: 1 MiB.
pub const MAX_EXTENDED: u64 = 1 << 20;

const DAMAGED_HEADER: &str = "damaged header";
const DAMAGED_MEMBER: &str = "damaged member";
const ZEROED: &str = "zeroed blocks";
const BAD_SIZE: &str = "bad size";
const BAD_PAX: &str = "malformed pax header";
const NO_NAME: &str = "no name";
const TOO_LARGE: &str = "member too large";
const TRUNCATED: &str = "truncated shard";
/// Every class of reason: an index file holds their places in this list.
pub const REASONS: [&str; 8] = [DAMAGED_HEADER, DAMAGED_MEMBER, ZEROED, BAD_SIZE, BAD_PAX, NO_NAME, TOO_LARGE, TRUNCATED];
/// Members that are no plain files: an index file holds their places in this list.
pub const KINDS: [&str; 5] = ["folder", "hard link", "symbolic link", "sparse file", "special file"];

/// A plain file in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name, as bytes: tar does not promise UTF-8.
    pub name: &'a [u8],
    /// Where its data begin.
    pub offset: u64,
    /// How many bytes they are; at most [`MAX_MEMBER`].
    pub size: u32,
}

/// A place where something was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where, in bytes.
    pub offset: u64,
    /// Class of reason: one of [`REASONS`].
    pub reason: &'static str,
    /// The particular case.
    pub detail: String,
}

/// What a walk over a shard meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TarEvent<'a> {
    /// A plain file.
    Member(Member<'a>),
    /// Something was lost.
    Damage(Damage),
    /// A member of a kind that holds no data of its own or is not read: one of [`KINDS`].
    Other {
        /// The kind.
        kind: &'static str,
        /// Its name.
        name: &'a [u8],
    },
}

/// What is told of each [`TarEvent`]; it may end the walk.
pub type Visit<'v> = dyn FnMut(TarEvent<'_>) -> ControlFlow<()> + 'v;

/// Walks over the headers of a shard of `length` bytes, in order.
///
/// # Errors
/// Only when the file cannot be read; damage is part of what is found.
pub fn walk(file: &(impl ReadAt + ?Sized), length: u64, visit: &mut Visit<'_>) -> io::Result<()> {
    let mut name = Vec::new();
    let walk = Walk {
        window: HeaderWindow::new(file),
        length,
        visit,
        at: 0,
        since: 0,
        pending: Pending::default(),
        held: None,
        spare: Vec::new(),
        loss: LastLoss::default(),
    };
    match walk.run(&mut name) {
        Err(WalkEnd::Io(error)) => Err(error),
        Ok(()) | Err(WalkEnd::Enough) => Ok(()),
    }
}

/// Why a walk ends early.
enum WalkEnd {
    Io(io::Error),
    /// Whoever asked has enough.
    Enough,
}

impl From<io::Error> for WalkEnd {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What extended headers say of the next member.
#[derive(Default)]
struct Pending {
    name: Option<Vec<u8>>,
    /// The name is GNU's, whose first hundred bytes the header repeats.
    gnu: bool,
    size: Option<u64>,
    /// Its PAX record could not be understood, so its size is not to be trusted.
    refused: bool,
    sparse: bool,
    /// What stood before it was lost, and may have held its full name.
    doubtful: bool,
}

/// The plain file before `at`. It is told only when what follows it stands where it should: bytes may be missing in it.
struct Held {
    name: Vec<u8>,
    offset: u64,
    size: u32,
}

/// What was lost last.
#[derive(Default)]
struct LastLoss {
    truncated: bool,
    /// It reaches to the end, and the end mark is there.
    ended: bool,
}

struct Walk<'a, 'v, F: ReadAt + ?Sized> {
    window: HeaderWindow<'a, F>,
    length: u64,
    visit: &'a mut Visit<'v>,
    at: u64,
    /// Where the data of the last valid header begin.
    since: u64,
    pending: Pending,
    held: Option<Held>,
    /// A buffer for the next name.
    spare: Vec<u8>,
    loss: LastLoss,
}

impl<F: ReadAt + ?Sized> Walk<'_, '_, F> {
    fn run(mut self, name: &mut Vec<u8>) -> Result<(), WalkEnd> {
        let mut block = [0; BLOCK as usize];
        loop {
            let there = self.window.read(self.at, &mut block)?;
            if there < block.len() {
                if self.goes_back(self.at)? {
                    continue;
                }
                self.release()?;
                if !self.loss.ended && !self.loss.truncated {
                    self.damage(
                        self.at.min(self.length),
                        TRUNCATED,
                        format!("it ends after {there} bytes of a header, without an end mark"),
                    )?;
                }
                return Ok(());
            }
            if block == [0; BLOCK as usize] {
                if self.zeros()? {
                    return Ok(());
                }
                continue;
            }
            let header = TarHeader(&block);
            if !header.checksum_agrees() {
                self.resync(self.at, DAMAGED_HEADER, "its checksum is wrong")?;
                continue;
            }
            self.release()?;
            self.since = self.at + BLOCK;
            self.member(&header, name)?;
        }
    }

    fn tell(&mut self, found: TarEvent<'_>) -> Result<(), WalkEnd> {
        match (self.visit)(found) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(WalkEnd::Enough),
        }
    }

    fn damage(&mut self, offset: u64, reason: &'static str, detail: impl Into<String>) -> Result<(), WalkEnd> {
        self.loss = LastLoss { truncated: reason == TRUNCATED, ended: false };
        self.tell(TarEvent::Damage(Damage { offset, reason, detail: detail.into() }))
    }

    /// Tells the plain file that was held back: nothing speaks against it.
    fn release(&mut self) -> Result<(), WalkEnd> {
        let Some(held) = self.held.take() else { return Ok(()) };
        self.tell(TarEvent::Member(Member { name: &held.name, offset: held.offset, size: held.size }))?;
        self.spare = held.name;
        Ok(())
    }

    /// At a block of zeros: whether the shard ends here.
    fn zeros(&mut self) -> Result<bool, WalkEnd> {
        let start = self.at;
        let mut buffer = vec![0; 1 << 16];
        let mut at = start;
        loop {
            let count = read_full(self.window.file, at, &mut buffer)?;
            if let Some(place) = buffer[..count].iter().position(|byte| *byte != 0) {
                at += place as u64;
                break;
            }
            at += count as u64;
            if count < buffer.len() {
                if self.goes_back(start)? {
                    return Ok(false);
                }
                self.release_unless_it_runs_over(start, None)?;
                if at - start < 2 * BLOCK {
                    self.damage(start, TRUNCATED, "only one block of zeros marks its end")?;
                } else if start.is_multiple_of(BLOCK) && !at.is_multiple_of(BLOCK) {
                    self.damage(start, TRUNCATED, format!("its length is no multiple of {BLOCK}: bytes are missing or were put in"))?;
                }
                return Ok(true);
            }
        }
        // Not the end: a header is missing, or somebody appended an archive to another.
        let blocks = (at - start) / BLOCK;
        self.resync(start, ZEROED, format!("{blocks} blocks of zeros are followed by data"))?;
        Ok(false)
    }

    fn member(&mut self, header: &TarHeader<'_>, name: &mut Vec<u8>) -> Result<(), WalkEnd> {
        let start = self.at;
        let kind = header.kind();
        let data = start + BLOCK;
        let Some(own_size) = header.size() else {
            return self.resync(start, BAD_SIZE, "the size field is no number");
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
            let reason = if self.next_header(data, self.length)?.is_some() { BAD_SIZE } else { TRUNCATED };
            return self.resync(start, reason, format!("a member of {size} bytes, but only {rest} follow"));
        }
        // Blocks count from the header: after bytes were lost it need not stand at a multiple of 512.
        self.at = data + size.div_ceil(BLOCK) * BLOCK;
        let long = pending.name.is_some();
        match pending.name {
            Some(long) => *name = long,
            None => header.name(name),
        }
        if !header.is_regular() || pending.sparse || (kind == 0 && name.ends_with(b"/")) {
            if kind == b'S' {
                self.skip_sparse_headers(header, data, size)?;
            }
            let kind = match kind {
                _ if pending.sparse => "sparse file",
                b'S' => "sparse file",
                b'1' => "hard link",
                b'2' => "symbolic link",
                b'5' | 0 => "folder",
                _ => "special file",
            };
            return self.tell(TarEvent::Other { kind, name });
        }
        if pending.refused {
            return self.damage(start, BAD_PAX, "the member after it is refused, because its size is not known");
        }
        if name.is_empty() {
            return self.damage(start, NO_NAME, "a member without a name");
        }
        if pending.gnu && !name.starts_with(header.name_field()) {
            return self.damage(start, NO_NAME, format!("`{}`: its long name does not begin as its header says", shown(name)));
        }
        if pending.doubtful && !long && header.name_may_be_cut() {
            return self.damage(start, NO_NAME, format!("`{}`: its full name may have stood in what is lost before it", shown(name)));
        }
        match u32::try_from(size) {
            Ok(short) if size <= MAX_MEMBER => {
                let mut kept = std::mem::take(&mut self.spare);
                kept.clone_from(name);
                self.held = Some(Held { name: kept, offset: data, size: short });
                Ok(())
            }
            _ => self.damage(start, TOO_LARGE, format!("`{}` has {size} bytes; {MAX_MEMBER} are allowed", shown(name))),
        }
    }

    fn extended(&mut self, kind: u8, data: u64, size: u64) -> Result<(), WalkEnd> {
        let start = self.at;
        let end = data.checked_add(size).filter(|end| *end <= self.length);
        if size > MAX_EXTENDED || end.is_none() {
            return self.resync(start, BAD_SIZE, format!("an extended header of {size} bytes"));
        }
        let mut bytes = vec![0; size as usize];
        self.window.read(data, &mut bytes)?;
        self.at = data + size.div_ceil(BLOCK) * BLOCK;
        match kind {
            b'L' => {
                let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                bytes.truncate(length);
                self.pending.name = Some(bytes);
                self.pending.gnu = true;
            }
            b'x' => match pax(&bytes) {
                Some(records) => {
                    for (key, value) in records {
                        match key {
                            b"path" => (self.pending.name, self.pending.gnu) = (Some(value.to_vec()), false),
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
    fn skip_sparse_headers(&mut self, header: &TarHeader<'_>, data: u64, size: u64) -> io::Result<()> {
        let (mut more, mut blocks) = (header.0[482] != 0, 0);
        let mut block = [0; BLOCK as usize];
        while more && self.window.read(data + blocks * BLOCK, &mut block)? == block.len() {
            more = block[504] != 0;
            blocks += 1;
        }
        self.at = data + blocks * BLOCK + size.div_ceil(BLOCK) * BLOCK;
        Ok(())
    }
}

/// A name for people.
fn shown(name: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(name)
}

#[cfg(test)]
#[path = "tar_index_tests.rs"]
mod tests;
