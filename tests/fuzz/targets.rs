//! What is done with bytes from strangers, one function for each kind. Fuzz targets call them with new bytes, and the plain tests with those of
//! `corpus`. Each must return: a panic, or memory without bound, is the failure. What must hold of any input is asserted.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde_json::json;
use tempfile::NamedTempFile;
use vlhub_core::{Caption, Extent, Picture, Raw, Registry, Source, SourceCx, Wants};
use vlhub_host::data::places::Places;
use vlhub_host::data::sources::webdataset::{ListedEntry, WebDatasetConfig, list, write_index};
use vlhub_host::data::{Opener, decode, open_table, tokens};
use vlhub_host::formats;

/// What is done with bytes of one kind.
pub type FuzzTarget = fn(&[u8]);

/// Every kind, with its function.
pub const TARGETS: [(&str, FuzzTarget); 7] = [
    ("tar", tar),
    ("tar_index", tar_index),
    ("image", image),
    ("csv", csv),
    ("caption", caption),
    ("safetensors", safetensors),
    ("pt", pt),
];

/// Most pixels of a picture, so that an execution takes milliseconds.
const PIXELS: u64 = 1 << 20;

/// A file in memory where there is such a folder.
fn file(bytes: &[u8], suffix: &str) -> NamedTempFile {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile_in(folder).expect("there is room");
    file.write_all(bytes).expect("there is room");
    file
}

/// Calls `with` with what sources are built with.
fn with_cx<T>(with: impl FnOnce(&Registry, &SourceCx<'_>) -> T) -> T {
    static HOST: OnceLock<(Registry, Places)> = OnceLock::new();
    let (registry, places) =
        HOST.get_or_init(|| (Registry::linked().expect("the sources of the host"), Places::new(Path::new("/"), BTreeMap::new())));
    let host = Opener { registry, places };
    with(registry, &SourceCx { folder: Path::new("/"), wants: Wants::WHATEVER, extent: Extent::Whole, host: &host })
}

fn open(table: &serde_json::Value) -> Option<Arc<dyn Source>> {
    with_cx(|registry, cx| open_table(registry, table, cx).ok())
}

/// Reads all samples of a source: each is one, or a reason.
fn read_all(source: &dyn Source) {
    for index in 0..source.len().min(2000) {
        match source.read(index) {
            Ok(raw) => assert_eq!(raw.key, source.key(index)),
            Err(bad) => assert!(!bad.reason.is_empty() && !bad.place.is_empty()),
        }
    }
}

fn shards(path: &Path) -> WebDatasetConfig {
    serde_json::from_value(json!({"shards": [path]})).expect("one shard")
}

/// A tar shard: what is listed lies within it, and an index file tells the same.
pub fn tar(bytes: &[u8]) {
    let shard = file(bytes, ".tar");
    let mut end = 0;
    let listed = with_cx(|_, cx| {
        list(&shards(shard.path()), cx, &mut |entry| {
            if let ListedEntry::Sample { members, .. } = entry {
                for (offset, size) in members.values() {
                    assert!(offset + u64::from(*size) <= bytes.len() as u64, "beyond the end");
                    end = end.max(offset + u64::from(*size));
                }
            }
            Ok(())
        })
    });
    let table = json!({"use": "webdataset", "shards": [shard.path()]});
    let Some(walked) = open(&table).filter(|_| listed.is_ok()) else { return };
    read_all(walked.as_ref());
    let beside = shard.path().with_extension("tar.vidx");
    let indexed: Result<Vec<_>, _> = with_cx(|_, cx| write_index(&shards(shard.path()), cx)).expect("it was listed").collect();
    let indexed = indexed.is_ok().then(|| open(&table)).flatten();
    std::fs::remove_file(beside).ok();
    let indexed = indexed.expect("it was opened without its index file");
    assert_eq!((walked.fingerprint(), walked.problems()), (indexed.fingerprint(), indexed.problems()));
}

/// An index file beside a shard that is in order. The input's first half follows the right beginning, with a right checksum: otherwise only the
/// checksum would be tested.
pub fn tar_index(bytes: &[u8]) {
    static SHARD: OnceLock<(NamedTempFile, Vec<u8>)> = OnceLock::new();
    let (shard, index) = SHARD.get_or_init(|| {
        let shard = file(include_bytes!("corpus/tar/ustar.tar"), ".tar");
        with_cx(|_, cx| write_index(&shards(shard.path()), cx)).expect("one shard").for_each(|shard| drop(shard.expect("it is in order")));
        let index = std::fs::read(shard.path().with_extension("tar.vidx")).expect("it was written");
        (shard, index)
    });
    let raw = bytes.first().is_some_and(|byte| byte % 8 == 0);
    let forged = if raw { bytes.to_vec() } else { forge(index, bytes) };
    let beside = shard.path().with_extension("tar.vidx");
    std::fs::write(&beside, forged).expect("there is room");
    if let Some(source) = open(&json!({"use": "webdataset", "shards": [shard.path()]})) {
        read_all(source.as_ref());
    }
    std::fs::remove_file(beside).ok();
}

/// Other records behind the beginning of an index file that fits its shard.
fn forge(index: &[u8], records: &[u8]) -> Vec<u8> {
    const FIXED: usize = 52;
    let mut bytes = index[..FIXED - 8].to_vec();
    bytes.extend_from_slice(&(records.len() as u64).to_le_bytes());
    bytes.extend_from_slice(records);
    let checksum = xxhash_rust::xxh3::xxh3_128(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// A picture of any format.
pub fn image(bytes: &[u8]) {
    let raw = Raw { key: "a".into(), picture: Some(Picture::Encoded(bytes.to_vec())), caption: Caption::default() };
    match decode::pixels(&raw, decode::PictureOptions { max_pixels: PIXELS, ..Default::default() }) {
        Ok(decoded) => {
            let image = decoded.image();
            assert!(image.width() > 0 && image.height() > 0 && u64::from(image.width()) * u64::from(image.height()) <= PIXELS);
        }
        Err(bad) => assert!(!bad.reason.is_empty()),
    }
}

/// A table of pictures and captions.
pub fn csv(bytes: &[u8]) {
    let table = file(bytes, ".csv");
    for options in [json!({}), json!({"caption_key": "", "label_key": "label"})] {
        let mut table = json!({"use": "csv", "path": table.path()});
        table.as_object_mut().expect("a table").extend(options.as_object().expect("a table").clone());
        if let Some(source) = open(&table) {
            read_all(source.as_ref());
        }
    }
}

/// A caption, as text and as the JSON that it may stand in.
pub fn caption(bytes: &[u8]) {
    // Reading the vocabulary takes a thousand times as long as a caption.
    static TOKENIZER: OnceLock<Arc<dyn tokens::Tokenizer>> = OnceLock::new();
    let tokenizer = TOKENIZER.get_or_init(|| tokens::clip(77).expect("the vocabulary is built in"));
    let text = String::from_utf8_lossy(bytes);
    let ids = tokenizer.encode(&text);
    assert!((2..=77).contains(&ids.len()) && ids.iter().all(|id| (0..tokenizer.vocab() as i64).contains(id)));
    tokenizer.decode(&ids);
    let header = |name: &str, size: usize| {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header
    };
    let mut shard = [&header("0.json", bytes.len())[..], bytes].concat();
    shard.resize(shard.len().next_multiple_of(512) + 1024, 0);
    let shard = file(&shard, ".tar");
    if let Some(source) = open(&json!({"use": "webdataset", "shards": [shard.path()], "json_text_key": "caption"})) {
        read_all(source.as_ref());
    }
}

/// A file of weights, whatever it is: it decides by its first bytes.
fn weights(bytes: &[u8], suffix: &str) {
    let file = file(bytes, suffix);
    if let Ok(read) = formats::read(file.path(), &formats::Limits::default()) {
        let bytes_of = |tensor: &vlhub_sdk::tch::Tensor| tensor.numel() * tensor.kind().elt_size_in_bytes();
        // Tensors that share a storage, and strides of 0, make more of it than there is in the file; each by itself is bounded.
        assert!(read.tensors.iter().all(|(_, tensor)| bytes_of(tensor) < 1 << 40));
    }
}

/// A safetensors file.
pub fn safetensors(bytes: &[u8]) {
    weights(bytes, ".safetensors");
}

/// A file of `torch.save` or `torch.jit.save`.
pub fn pt(bytes: &[u8]) {
    weights(bytes, ".pt");
}
