//! Bytes read by position, and tensors filled with them piece by piece.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tch::{Device, Kind, Tensor};
use vlhub_core::Error;

use super::Checked;

/// Bytes that are read at a time. Few: what is freed of larger pieces stays as holes between tensors, and above 32,768 numbers libtorch
/// copies with all its threads, which wait for each other longer than they copy.
const PIECE: usize = 32 << 10;

/// A file, or one that is in memory already. Files are not mapped: whoever shortens a mapped file ends this process with a signal.
pub(crate) enum ByteSource<'a> {
    File { file: File, size: u64 },
    Bytes(&'a [u8]),
}

impl ByteSource<'_> {
    /// Opens a regular file.
    ///
    /// # Errors
    /// The file, and why it cannot be opened.
    pub(crate) fn open(path: &Path) -> vlhub_core::Result<Self> {
        // The kind is checked before the file is opened: opening a pipe waits for somebody to write to it.
        let about = std::fs::metadata(path).map_err(|error| Error::io(path, error))?;
        if !about.is_file() {
            return Err(Error::invalid(format!("{} is neither a regular file nor a folder", path.display())));
        }
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        Ok(ByteSource::File { file, size: about.len() })
    }

    /// Bytes in the whole.
    pub(super) fn size(&self) -> u64 {
        match self {
            ByteSource::File { size, .. } => *size,
            ByteSource::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Fills `to` with the bytes from `at`.
    pub(super) fn read(&self, at: u64, to: &mut [u8]) -> Checked<()> {
        let end = at.checked_add(to.len() as u64).filter(|end| *end <= self.size());
        let end =
            end.ok_or_else(|| format!("it is cut: {} bytes from byte {at} are wanted, and it has {} bytes", to.len(), self.size()))?;
        match self {
            ByteSource::File { file, .. } => file.read_exact_at(to, at).map_err(|error| format!("it cannot be read: {error}")),
            ByteSource::Bytes(bytes) => {
                to.copy_from_slice(&bytes[at as usize..end as usize]);
                Ok(())
            }
        }
    }

    /// The `length` bytes from `at`.
    pub(super) fn bytes(&self, at: u64, length: u64) -> Checked<Vec<u8>> {
        // Checked before it is allocated: a length that a file claims is not believed.
        if at.checked_add(length).is_none_or(|end| end > self.size()) {
            return Err(format!("it is cut: {length} bytes from byte {at} are wanted, and it has {} bytes", self.size()));
        }
        let mut bytes = vec![0; length as usize];
        self.read(at, &mut bytes)?;
        Ok(bytes)
    }

    /// The `length` bytes from `at`, as a tensor of bytes.
    pub(super) fn tensor(&self, at: u64, length: u64) -> Checked<Tensor> {
        if at.checked_add(length).is_none_or(|end| end > self.size()) {
            return Err(format!("it is cut: {length} bytes from byte {at} are wanted, and it has {} bytes", self.size()));
        }
        let mut from = at;
        fill(length, |piece| {
            self.read(from, piece)?;
            from += piece.len() as u64;
            Ok(())
        })
    }
}

/// A tensor of `length` bytes that `next` gives piece by piece; beside the tensor, [`PIECE`] bytes are held.
pub(super) fn fill(length: u64, mut next: impl FnMut(&mut [u8]) -> Checked<()>) -> Checked<Tensor> {
    let length = i64::try_from(length).map_err(|_| format!("{length} bytes are more than a tensor holds"))?;
    let whole = Tensor::f_empty([length], (Kind::Uint8, Device::Cpu)).map_err(of_torch)?;
    let mut piece = vec![0; PIECE.min(length as usize)];
    let mut at = 0;
    while at < length {
        let now = piece.len().min((length - at) as usize);
        next(&mut piece[..now])?;
        let part = Tensor::f_from_slice(&piece[..now]).map_err(of_torch)?;
        whole.f_narrow(0, at, now as i64).and_then(|mut place| place.f_copy_(&part)).map_err(of_torch)?;
        at += now as i64;
    }
    Ok(whole)
}

/// Refuses bytes of truth values that are neither 0 nor 1.
pub(super) fn truths(bytes: &Tensor) -> Checked<()> {
    if bytes.numel() > 0 {
        let largest = bytes.f_max().and_then(|max| max.f_int64_value(&[])).map_err(of_torch)?;
        if largest > 1 {
            return Err(format!("a truth value is stored as {largest}; it must be 0 or 1"));
        }
    }
    Ok(())
}

pub(super) fn of_torch(error: tch::TchError) -> String {
    Error::from(error).to_string()
}
