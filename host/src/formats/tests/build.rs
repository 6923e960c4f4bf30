//! Files made by hand, byte by byte.

use crc32fast::hash;
use tempfile::TempDir;

use crate::formats::{Limits, WeightFile, read};

/// Reads bytes as a file called `name`; the error is its text.
pub(super) fn parse(name: &str, bytes: &[u8]) -> Result<WeightFile, String> {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).expect("it is written");
    read(&path, &Limits::default()).map_err(|error| error.to_string())
}

/// An entry of a zip archive; what the directory says of it can be made to lie.
#[derive(Clone)]
pub(super) struct Entry {
    pub name: String,
    pub content: Vec<u8>,
    pub method: u16,
    pub size: Option<u32>,
    pub packed: Option<u32>,
    pub sum: Option<u32>,
    pub place: Option<u32>,
    pub flags: u16,
    pub other_name: Option<String>,
}

pub(super) fn entry(name: &str, content: &[u8]) -> Entry {
    let (name, content) = (format!("archive/{name}"), content.to_vec());
    Entry { name, content, method: 0, size: None, packed: None, sum: None, place: None, flags: 0, other_name: None }
}

pub(super) fn zip(entries: &[Entry]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let place = entry.place.unwrap_or(file.len() as u32);
        let size = entry.size.unwrap_or(entry.content.len() as u32);
        let packed = entry.packed.unwrap_or(entry.content.len() as u32);
        let sum = entry.sum.unwrap_or_else(|| hash(&entry.content));
        let mut common = vec![20, 0];
        common.extend(entry.flags.to_le_bytes());
        common.extend(entry.method.to_le_bytes());
        common.extend([0; 4]);
        for number in [sum, packed, size] {
            common.extend(number.to_le_bytes());
        }
        let local = entry.other_name.as_ref().unwrap_or(&entry.name);
        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend((local.len() as u16).to_le_bytes());
        file.extend([0; 2]);
        file.extend(local.as_bytes());
        file.extend(&entry.content);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&common);
        directory.extend((entry.name.len() as u16).to_le_bytes());
        directory.extend([0; 12]);
        directory.extend(place.to_le_bytes());
        directory.extend(entry.name.as_bytes());
    }
    let (at, count) = (file.len() as u32, (entries.len() as u16).to_le_bytes());
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count, count].concat());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(at.to_le_bytes());
    file.extend([0; 2]);
    file
}

/// An archive of a pickle and one storage, `0`.
pub(super) fn archive(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    zip(&[entry("data.pkl", pickle), entry("version", b"3\n"), entry("data/0", storage)])
}

pub(super) fn text(text: &str) -> Vec<u8> {
    [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

pub(super) fn int(number: i64) -> Vec<u8> {
    [b"\x8a\x08".as_slice(), &number.to_le_bytes()].concat()
}

pub(super) fn ints(numbers: &[i64]) -> Vec<u8> {
    [b"(".to_vec(), numbers.iter().flat_map(|number| int(*number)).collect(), b"t".to_vec()].concat()
}

/// `_rebuild_tensor_v2` on storage `key` of `count` numbers of `class`.
pub(super) fn tensor(class: &str, key: &str, count: i64, offset: i64, size: &[i64], stride: &[i64]) -> Vec<u8> {
    let class = format!("ctorch\n{class}\n").into_bytes();
    let storage = [b"(".to_vec(), text("storage"), class, text(key), text("cpu"), int(count), b"tQ".to_vec()].concat();
    let rest = [int(offset), ints(size), ints(stride), b"\x89}tR".to_vec()].concat();
    [b"ctorch._utils\n_rebuild_tensor_v2\n(".to_vec(), storage, rest].concat()
}

/// A pickle of the dict of these operations.
pub(super) fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<u8> = entries.iter().flat_map(|(name, value)| [text(name), value.clone()].concat()).collect();
    [b"\x80\x02}(".to_vec(), entries, b"u.".to_vec()].concat()
}

/// A sound tensor of two floats on storage `0`.
pub(super) fn sound() -> Vec<u8> {
    tensor("FloatStorage", "0", 2, 0, &[2], &[1])
}

/// A legacy file around an object and its storages: keys, and the number and bytes of each.
pub(super) fn legacy(object: &[u8], keys: &[&str], storages: &[(u64, &[u8])]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec();
    let system = [b"\x80\x02}".to_vec(), text("little_endian"), b"\x88s.".to_vec()].concat();
    let list = [b"\x80\x02](".to_vec(), keys.iter().flat_map(|key| text(key)).collect(), b"e.".to_vec()].concat();
    let data = storages.iter().flat_map(|(count, bytes)| [&count.to_le_bytes(), *bytes].concat()).collect();
    [magic, system, object.to_vec(), list, data].concat()
}
