//! Compressed files: gzip of one or several members, Zstandard of one or several frames.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::bufread::GzDecoder;
use vlhub_core::{Error, Result};

use super::cache::{DataCache, StreamDamage};
use super::fetch::stride;

/// Bytes out for each byte in that are believed: pictures give 1, tables 20, and zeros 1,000 with gzip and 30,000 with Zstandard.
const MOST_RATIO: u64 = 200;
/// Bytes that are unpacked whatever the ratio.
const ALWAYS: u64 = 16 << 20;
/// Bytes that are asked for at a time. A damaged stream loses what is asked for with the damage, so it is little.
const STEP: usize = 4096;

/// How a file is compressed, by its first bytes: names may say anything, and addresses and commands say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zstandard,
}

impl Packing {
    /// `None` for what is not compressed, or cannot be read.
    pub fn of(path: &Path) -> Option<Self> {
        // A named pipe that nobody writes would wait for ever.
        let mut file = path.is_file().then(|| File::open(path).ok())??;
        let mut start = [0; 4];
        let count = file.read(&mut start).ok()?;
        Self::begins(&start[..count])
    }

    fn begins(start: &[u8]) -> Option<Self> {
        match start {
            [0x1F, 0x8B, 8, ..] => Some(Self::Gzip),
            // A frame, or one that is skipped.
            [0x28, 0xB5, 0x2F, 0xFD] | [0x50..=0x5F, 0x2A, 0x4D, 0x18] => Some(Self::Zstandard),
            _ => None,
        }
    }
}

/// Unpacks `from` into `to`. A damaged stream gives what stands before the damage.
///
/// # Errors
/// A file that grows out of proportion, no room, or a disk that fails.
pub(super) fn unpack(from: &Path, packing: Packing, to: &Path, cache: &DataCache) -> Result<Option<StreamDamage>> {
    let file = File::open(from).map_err(|error| Error::io(from, error))?;
    let length = file.metadata().map_err(|error| Error::io(from, error))?.len();
    let mut out = Unpacked {
        out: io::BufWriter::with_capacity(1 << 18, File::create(to).map_err(|error| Error::io(to, error))?),
        written: 0,
        room: 0,
        most: ALWAYS.saturating_add(length.saturating_mul(MOST_RATIO)),
        length,
        from,
        to,
        cache,
    };
    let input = BufReader::with_capacity(1 << 18, file);
    let why = match packing {
        Packing::Gzip => gzip(input, &mut out)?,
        Packing::Zstandard => match zstd::stream::read::Decoder::with_buffer(input) {
            Ok(mut decoder) => out.all_of(&mut decoder)?,
            Err(error) => Some(error.to_string()),
        },
    };
    out.out.flush().map_err(|error| Error::io(to, error))?;
    Ok(why.map(|why| StreamDamage { unpacked: out.written, why }))
}

/// The members of a gzip file one after the other. Zeros behind the last, with which tapes are filled, are nothing.
fn gzip(mut input: BufReader<File>, out: &mut Unpacked<'_>) -> Result<Option<String>> {
    let mut first = true;
    loop {
        if !first {
            loop {
                let rest = match input.fill_buf() {
                    Ok(rest) => rest,
                    Err(error) => return Ok(Some(error.to_string())),
                };
                let zeros = rest.iter().take_while(|byte| **byte == 0).count();
                match rest {
                    [] => return Ok(None),
                    rest if zeros == 0 && !rest.starts_with(&[0x1F]) => return Ok(Some("what follows a member is no gzip".into())),
                    _ if zeros == 0 => break,
                    _ => input.consume(zeros),
                }
            }
        }
        first = false;
        let mut member = GzDecoder::new(input);
        if let Some(why) = out.all_of(&mut member)? {
            return Ok(Some(why));
        }
        input = member.into_inner();
    }
}

/// Where unpacked bytes go.
struct Unpacked<'a> {
    out: io::BufWriter<File>,
    written: u64,
    room: u64,
    most: u64,
    length: u64,
    from: &'a Path,
    to: &'a Path,
    cache: &'a DataCache,
}

impl Unpacked<'_> {
    /// Takes all that a decoder gives; returns why it gave no more, if that is not the end.
    fn all_of(&mut self, decoder: &mut dyn Read) -> Result<Option<String>> {
        let mut buffer = [0; STEP];
        loop {
            let count = match decoder.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some("it ends too early".into())),
                Err(error) => return Ok(Some(error.to_string())),
            };
            self.written += count as u64;
            if self.written > self.most {
                return Err(Error::invalid(format!(
                    "{}: {} bytes unpack to more than {MOST_RATIO} times as many, which no data set does; unpack it yourself if it is meant",
                    self.from.display(),
                    self.length
                )));
            }
            while self.written > self.room {
                let more = stride(self.room);
                self.cache.make_room(more)?;
                self.room += more;
            }
            self.out.write_all(&buffer[..count]).map_err(|error| Error::io(self.to, error))?;
        }
    }
}
