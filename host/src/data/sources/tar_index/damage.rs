//! Going on behind damage: where the next header is, and whether the member before it is whole.

use std::io;

use super::header::TarHeader;
use super::read::{ReadAt, read_full};
use super::{BLOCK, DAMAGED_MEMBER, Held, Pending, Walk, WalkEnd, shown};

impl<F: ReadAt + ?Sized> Walk<'_, '_, F> {
    /// Goes to the next valid header after `from`, where none is, and reports what lies between as damaged.
    pub(super) fn resync(&mut self, from: u64, reason: &'static str, detail: impl Into<String>) -> Result<(), WalkEnd> {
        self.pending = Pending::default();
        if self.goes_back(from)? {
            return Ok(());
        }
        let next = self.next_header(from + 1, self.length)?;
        self.release_unless_it_runs_over(from, next)?;
        let lost = next.unwrap_or(self.length).saturating_sub(from);
        let tail = if next.is_some() { "" } else { "; no header follows" };
        self.damage(from, reason, format!("{}; {lost} bytes lost{tail}", detail.into()))?;
        self.at = next.unwrap_or(self.length);
        self.since = self.at;
        self.pending.doubtful = true;
        if next.is_none() && self.length >= from + 2 * BLOCK {
            let mut mark = [1; 2 * BLOCK as usize];
            let count = read_full(self.window.file, self.length - 2 * BLOCK, &mut mark)?;
            self.loss.ended = count == mark.len() && mark.iter().all(|byte| *byte == 0);
        }
        Ok(())
    }

    /// Where bytes are missing within a member, the next header stands within what should be its data, before `from`: goes there, and says whether.
    pub(super) fn goes_back(&mut self, from: u64) -> Result<bool, WalkEnd> {
        let Some(next) = self.header_within(from)? else { return Ok(false) };
        let held = self.held.take();
        let what = held.as_ref().map_or("an extended header".into(), |held| format!("`{}`", shown(&held.name)));
        let why = format!("{what}: the next header stands {} bytes too early, so bytes are missing", from - next);
        self.damage(self.since - BLOCK, DAMAGED_MEMBER, why)?;
        self.pending.refused = held.is_none();
        self.at = next;
        Ok(true)
    }

    /// A header before `until` within what the last header says are its data. A member that is itself an archive has headers of its own.
    fn header_within(&self, until: u64) -> io::Result<Option<u64>> {
        let mut at = self.since;
        while at < until {
            let mut block = [0; BLOCK as usize];
            read_full(self.window.file, at, &mut block)?;
            let header = TarHeader(&block);
            let size = header.size().filter(|_| header.checksum_agrees() && block[0] != 0);
            // What ends before the next member does is an archive; what goes on behind its beginning is our own.
            let Some(next) = size.and_then(|size| at.checked_add(BLOCK)?.checked_add(size.checked_next_multiple_of(BLOCK)?)) else {
                return if at == self.since { self.next_header(at + 1, until) } else { Ok(None) };
            };
            at = next;
        }
        Ok(Some(self.since).filter(|since| *since < until))
    }

    /// Whether bytes were put into `held` or are missing in it: something other than zeros fills its last block up to `until`. Where its data end
    /// with a block, that shows by the `next` header, which does not stand at a multiple of 512, or one block too far, and by what stands there
    /// instead: most of a header is zeros, even of a damaged one.
    fn runs_over(&self, held: &Held, until: u64, next: Option<u64>) -> io::Result<bool> {
        let end = held.offset + u64::from(held.size);
        let mut block = [0; BLOCK as usize];
        if end == until {
            let moved = next.is_some_and(|next| next - until <= BLOCK || !(next - until).is_multiple_of(BLOCK));
            read_full(self.window.file, until, &mut block)?;
            return Ok(moved && held.size > 0 && block.iter().filter(|byte| **byte == 0).count() < block.len() / 4);
        }
        let rest = &mut block[..(until - end).min(BLOCK) as usize];
        read_full(self.window.file, end, rest)?;
        Ok(rest.iter().any(|byte| *byte != 0))
    }

    /// The next offset from `from`, before `until`, at which a valid header stands. It need not be a multiple of 512: bytes may have been lost or
    /// inserted.
    pub(super) fn next_header(&self, from: u64, until: u64) -> io::Result<Option<u64>> {
        const MAGIC: &[u8] = b"ustar";
        const MAGIC_AT: u64 = 257;
        let file = self.window.file;
        let mut buffer = vec![0; 1 << 16];
        let mut at = from + MAGIC_AT;
        loop {
            let count = read_full(file, at, &mut buffer)?;
            for place in memchr::memmem::find_iter(&buffer[..count], MAGIC) {
                let start = at + place as u64 - MAGIC_AT;
                if start >= until {
                    return Ok(None);
                }
                let mut block = [0; BLOCK as usize];
                // A checksum is a sum: it agrees as well where zeros before a name are taken for its beginning.
                let there = read_full(file, start, &mut block)? == block.len();
                if there && block[0] != 0 && TarHeader(&block).checksum_agrees() {
                    return Ok(Some(start));
                }
            }
            if count < buffer.len() || at - MAGIC_AT >= until {
                return Ok(None);
            }
            // The magic may lie across two buffers.
            at += (count - (MAGIC.len() - 1)) as u64;
        }
    }

    /// [`Walk::release`], or reports a member whose data are not as long as its header says. No header stands at `until`, its end.
    pub(super) fn release_unless_it_runs_over(&mut self, until: u64, next: Option<u64>) -> Result<(), WalkEnd> {
        if let Some(held) = self.held.take() {
            if self.runs_over(&held, until, next)? {
                let why = format!("`{}`: data stand behind its end, so bytes were put in or are missing", shown(&held.name));
                return self.damage(held.offset - BLOCK, DAMAGED_MEMBER, why);
            }
            self.held = Some(held);
        }
        self.release()
    }
}
