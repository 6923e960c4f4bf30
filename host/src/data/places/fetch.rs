//! One object into one file: tried again where that may help, gone on with where it was cut, and checked.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use md5::{Digest as _, Md5};
use vlhub_core::{Digest, Error, ObjectInfo, ObjectSink, ObjectStore, Result, StoreFault};

use super::cache::DataCache;

/// Requests in a row that bring nothing before it is given up.
const TRIES: u32 = 5;

/// How much more room is taken for a file of unknown length that has filled `room` bytes.
pub(super) fn stride(room: u64) -> u64 {
    room.clamp(1 << 20, 64 << 20)
}

/// Tries again what may pass.
pub(super) fn patiently<T>(pause: Duration, shown: &str, mut body: impl FnMut() -> Result<T, StoreFault>) -> Result<T, StoreFault> {
    for tried in 1.. {
        match body() {
            Err(fault) if fault.passes && tried < TRIES => wait(pause, shown, &fault, tried),
            done => return done,
        }
    }
    Err(StoreFault::lasting("it was never tried"))
}

fn wait(pause: Duration, shown: &str, fault: &StoreFault, tried: u32) {
    tracing::warn!("{shown}: {fault}; trying again");
    std::thread::sleep(pause * (1 << tried.min(5)) / 2);
}

/// Fills `partial`, and returns the object's version. What was cut stays for the next time; what is wrong does not.
pub(super) fn fetch(
    store: &dyn ObjectStore,
    address: &str,
    shown: &str,
    partial: &Path,
    cache: &DataCache,
    pause: Duration,
) -> Result<Option<String>> {
    let mut file = PartialFile::open(partial, cache)?;
    let mut tries = 0;
    loop {
        let before = file.have;
        let begun = file.info.version.clone().filter(|_| file.have > 0);
        let done = store.fetch(address, begun.as_deref().map(|version| (before, version)), &mut file);
        let fault = match (done, file.info.length) {
            (Ok(()), Some(length)) if file.have < length => {
                StoreFault::passing(format!("the connection was cut after {} of {length} bytes", file.have))
            }
            (Ok(()), _) => break,
            (Err(fault), _) => fault,
        };
        if let Some(error) = file.refused.take() {
            return Err(error.within(shown));
        }
        tries = if file.have > before { 1 } else { tries + 1 };
        if !fault.passes || tries >= TRIES {
            return Err(Error::invalid(format!("`{shown}`: {fault}")));
        }
        wait(pause, shown, &fault, tries);
    }
    if let Some(wrong) = file.wrong().map_err(|error| Error::io(partial, error))? {
        file.forget()?;
        return Err(Error::invalid(format!(
            "`{shown}` came with {wrong}; nothing of it was kept. Run this again, or fetch it by other means"
        )));
    }
    std::fs::remove_file(file.told()).map_err(|error| Error::io(file.told(), error))?;
    Ok(file.info.version)
}

/// A file that is being brought. Beside it stands which version it is of, so that another process can go on with it.
struct PartialFile<'a> {
    file: File,
    path: PathBuf,
    have: u64,
    info: ObjectInfo,
    /// Bytes for which there is room.
    room: u64,
    cache: &'a DataCache,
    /// Why this side took no more.
    refused: Option<Error>,
}

impl<'a> PartialFile<'a> {
    fn open(path: &Path, cache: &'a DataCache) -> Result<Self> {
        let io = |error| Error::io(path, error);
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).map_err(io)?;
        let version = std::fs::read_to_string(path.with_extension("version")).ok().filter(|version| !version.is_empty());
        let have = if version.is_some() { file.metadata().map_err(io)?.len() } else { 0 };
        let info = ObjectInfo { version, ..ObjectInfo::default() };
        Ok(Self { file, path: path.to_owned(), have, info, room: 0, cache, refused: None })
    }

    fn told(&self) -> PathBuf {
        self.path.with_extension("version")
    }

    /// Notes an error of this side, for whoever asked, and tells the store.
    fn refuse(&mut self, error: Error) -> io::Error {
        let told = io::Error::other(error.to_string());
        self.refused = Some(error);
        told
    }

    /// How the file differs from what the server told of it.
    fn wrong(&mut self) -> io::Result<Option<String>> {
        self.file.flush()?;
        let Some(digest) = self.info.digest else { return Ok(None) };
        self.file.seek(SeekFrom::Start(0))?;
        let (mut md5, mut crc, mut buffer) = (Md5::new(), 0, vec![0; 1 << 16]);
        loop {
            let count = self.file.read(&mut buffer)?;
            match digest {
                _ if count == 0 => break,
                Digest::Md5(_) => md5.update(&buffer[..count]),
                Digest::Crc32c(_) => crc = crc32c::crc32c_append(crc, &buffer[..count]),
            }
        }
        let right = match digest {
            Digest::Md5(expected) => md5.finalize()[..] == expected,
            Digest::Crc32c(expected) => crc == expected,
        };
        Ok((!right).then(|| "another digest than the server tells".to_owned()))
    }

    fn forget(&self) -> Result<()> {
        for path in [self.path.clone(), self.told()] {
            std::fs::remove_file(&path).map_err(|error| Error::io(&path, error))?;
        }
        Ok(())
    }
}

impl ObjectSink for PartialFile<'_> {
    fn begin(&mut self, object: &ObjectInfo, from: u64) -> io::Result<()> {
        if from != 0 && (from != self.have || object.version != self.info.version) {
            return Err(self.refuse(Error::invalid(format!("the store went on at byte {from} of another version or place"))));
        }
        if let (true, Some(told), Some(length)) = (from > 0, self.info.length, object.length)
            && told != length
        {
            return Err(self.refuse(Error::invalid(format!("{length} bytes are announced, and before there were {told}"))));
        }
        self.file.set_len(from)?;
        self.file.seek(SeekFrom::Start(from))?;
        self.have = from;
        self.info = object.clone();
        std::fs::write(self.told(), object.version.as_deref().unwrap_or_default())?;
        if let Some(more) = object.length.and_then(|length| length.checked_sub(self.room)) {
            self.cache.make_room(more).map_err(|error| self.refuse(error))?;
            self.room += more;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let have = self.have + bytes.len() as u64;
        if let Some(length) = self.info.length.filter(|length| have > *length) {
            return Err(self.refuse(Error::invalid(format!("more than the {length} bytes come that were announced"))));
        }
        while have > self.room {
            let more = stride(self.room);
            self.cache.make_room(more).map_err(|error| self.refuse(error))?;
            self.room += more;
        }
        self.file.write_all(bytes)?;
        self.have = have;
        Ok(())
    }
}
