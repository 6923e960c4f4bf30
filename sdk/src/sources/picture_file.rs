//! Pictures in files of their own.

use std::path::Path;

use vlhub_core::Bad;

/// Largest file of a picture that is read: 256 MiB.
const LARGEST: u64 = 256 << 20;

/// Suffixes of files that are read as pictures, in lower case. What a file holds is decided by its content.
pub const SUFFIXES: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// Whether a file's name ends as that of a picture, in either case.
pub fn is_named_like_a_picture(path: &Path) -> bool {
    let suffix = path.extension().map(|suffix| suffix.to_string_lossy().to_lowercase());
    suffix.is_some_and(|suffix| SUFFIXES.contains(&suffix.as_str()))
}

/// Reads a picture's file.
///
/// # Errors
/// A reason that tells what is there instead of a file of at most 256 MiB.
pub fn read(path: &Path, key: &str) -> Result<Vec<u8>, Bad> {
    let bad = |reason, detail: String| Bad { key: key.to_owned(), place: path.display().to_string(), reason, detail };
    let about = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => bad("missing file", String::new()),
        _ => bad("unreadable file", error.to_string()),
    })?;
    if !about.is_file() {
        // A pipe would make a reader wait for ever.
        return Err(bad("not a file", if about.is_dir() { "it is a folder".into() } else { "it is a device or a pipe".into() }));
    }
    if about.len() > LARGEST {
        return Err(bad("file too large", format!("{} bytes; {LARGEST} are allowed", about.len())));
    }
    std::fs::read(path).map_err(|error| bad("unreadable file", error.to_string()))
}

/// [`read`] for a picture whose path stands in the row of a table: `key` is the row, and the place of what is wrong.
///
/// # Errors
/// As [`read`].
pub fn read_named_by(path: &Path, key: &str) -> Result<Vec<u8>, Bad> {
    read(path, key).map_err(|bad| Bad {
        detail: format!("{} {}", path.display(), bad.detail).trim_end().to_owned(),
        place: key.to_owned(),
        ..bad
    })
}
