//! What a file is, by its first bytes: the name of a file says nothing (CVE-2025-10155).

use super::Checked;
use super::source::ByteSource;

/// A kind of file that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    Safetensors,
    Zip,
    /// Pickles one after another, as PyTorch wrote before 1.6.
    Pickles,
    /// JSON: an index of shards, or a mistake.
    Json,
}

/// Looks at the first bytes.
///
/// # Errors
/// What the file is, if it holds no weights.
pub(super) fn sniff(source: &ByteSource<'_>) -> Checked<Container> {
    let head = source.bytes(0, source.size().min(512))?;
    if head.is_empty() {
        return Err("the file is empty".into());
    }
    if head.starts_with(b"version https://git-lfs") {
        return Err("this is a Git LFS pointer, not the weights; fetch the real file (`git lfs pull`)".into());
    }
    if head.starts_with(b"PK\x03\x04") {
        return Ok(Container::Zip);
    }
    // The length of the header is eight bytes; then JSON. Before pickles: a length may begin with 0x80.
    if head.get(8) == Some(&b'{') && head[6..8] == [0, 0] {
        return Ok(Container::Safetensors);
    }
    if head[0] == 0x80 {
        return Ok(Container::Pickles);
    }
    let text = head.trim_ascii_start();
    let begins = |tag: &str| text.len() >= tag.len() && text[..tag.len()].eq_ignore_ascii_case(tag.as_bytes());
    if begins("<!doctype") || begins("<html") || begins("<?xml") {
        return Err("this is a web page, not the weights: the download was answered with an error or a log-in page".into());
    }
    if begins("{") {
        return Ok(Container::Json);
    }
    const OTHERS: &[(usize, &[u8], &str)] = &[
        (0, b"GGUF", "a GGUF file; convert it to safetensors"),
        (0, b"\x89HDF", "an HDF5 file (Keras); convert it to safetensors"),
        (0, b"\x93NUMPY", "a NumPy array; convert it to safetensors"),
        (0, b"\x1f\x8b", "compressed with gzip; decompress it first"),
        (0, b"\xfd7zXZ", "compressed with xz; decompress it first"),
        (0, b"\x28\xb5\x2f\xfd", "compressed with Zstandard; decompress it first"),
        (257, b"ustar", "a tar archive (PyTorch before 0.1.10, or a packed folder); unpack it, or save it again with PyTorch 1.6 or newer"),
    ];
    for (at, tag, what) in OTHERS {
        if head.get(*at..).is_some_and(|rest| rest.starts_with(tag)) {
            return Err(format!("this is {what}"));
        }
    }
    let first: String = head.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Err(format!("not a weight file that is known (safetensors, PyTorch zip or legacy): it begins with the bytes {first}"))
}
