//! Replaces a file only once its successor is complete and on disk.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use vlhub_core::{Error, Result};

use super::fs::{Fs, RealFs};

/// Writes a file of about `size` bytes under another name, and renames it to `path` once it is on disk.
///
/// # Errors
/// The file, and why it cannot be written; then `path` is as it was.
pub(crate) fn replace(path: &Path, size: u64, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    replaceable(path)?;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".tmp-{}", nonce()));
    let temporary = path.with_file_name(name);
    let written = (|| {
        let mut file = RealFs.create(&temporary, size)?;
        write(&mut file)?;
        file.sync()?;
        RealFs.rename(&temporary, path)?;
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => RealFs.sync_dir(parent),
            _ => RealFs.sync_dir(Path::new(".")),
        }
    })();
    written.map_err(|error| {
        std::fs::remove_file(&temporary).ok();
        Error::io(path, error)
    })
}

/// Refuses to replace what is no regular file: a device, a folder, a pipe.
///
/// # Errors
/// The path.
pub(crate) fn replaceable(path: &Path) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(about) if !about.is_file() => Err(Error::Options(format!("`{}` is not a regular file; name one to write", path.display()))),
        _ => Ok(()),
    }
}

/// A suffix of temporary names that no other writer has: process, time, and a counter.
pub(crate) fn nonce() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}-{:x}", std::process::id(), time.as_nanos() as u64, COUNT.fetch_add(1, Ordering::Relaxed))
}
