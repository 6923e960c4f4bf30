//! Containers that lie: archives, safetensors, legacy files, indices, and files that are no weights.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::build::{Entry, archive, dict, entry, legacy, parse, sound, tensor, zip};
use crate::formats::{Limits, read};

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("it is packed");
    encoder.finish().expect("it is packed")
}

fn refused(cases: Vec<(&str, Vec<u8>, &str)>) {
    for (why, bytes, part) in cases {
        let error = parse("hostile.pt", &bytes).expect_err(why);
        assert!(error.contains(part) && error.contains("hostile.pt"), "{why}: {error}");
    }
}

#[test]
fn files_that_are_no_weights_are_called_what_they_are() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    refused(vec![
        ("nothing", Vec::new(), "empty"),
        ("a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".to_vec(), "Git LFS pointer"),
        ("a web page", b"\n<!DOCTYPE html><html><body>404</body>".to_vec(), "web page"),
        ("an old web page", b"<HTML>".to_vec(), "web page"),
        ("an answer of a bucket", b"<?xml version=\"1.0\"?><Error><Code>AccessDenied".to_vec(), "web page"),
        ("a configuration", b"{\"model_cfg\": {}}".to_vec(), "weight_map"),
        ("a tar archive", tar, "tar archive"),
        ("a packed file", b"\x1f\x8b\x08\x00".to_vec(), "gzip"),
        ("GGUF", b"GGUF\x03\0\0\0".to_vec(), "GGUF"),
        ("NumPy's archive", zip(&[entry("a.npy", b"")]), "NumPy"),
        ("a document", zip(&[entry("word/document.xml", b"<a/>")]), "document.xml"),
        ("numbers", vec![7; 100], "0707"),
    ]);
}

#[test]
fn archives_that_lie_are_refused() {
    let pickle = dict(&[("w", sound())]);
    let storage = [1.5_f32.to_le_bytes(), 2.5_f32.to_le_bytes()].concat();
    let whole = archive(&pickle, &storage);
    let file = parse("sound.pt", &whole).expect("the base of the cases below is sound");
    assert_eq!(Vec::<f32>::try_from(&file.tensors[0].1).expect("numbers"), [1.5, 2.5]);
    let with = |data: Entry| zip(&[entry("data.pkl", &pickle), data]);
    let data = entry("data/0", &storage);
    let packed = deflate(&storage);
    let deflated = Entry { content: packed.clone(), method: 8, size: Some(8), sum: Some(0), ..data.clone() };
    assert!(parse("packed.pt", &with(deflated.clone())).is_ok(), "a compressed entry is sound");
    let zeros = deflate(&vec![0; 1 << 20]);
    let append = |more: &[u8]| [whole.clone(), more.to_vec()].concat();
    refused(vec![
        ("a cut archive", whole[..whole.len() - 30].to_vec(), "without a directory"),
        ("an archive cut in the front", whole[..10].to_vec(), "without a directory"),
        ("bytes behind the archive", append(b"more"), "without a directory"),
        ("bytes in the front", [whole[..4].to_vec(), whole.clone()].concat(), "is not where it says"),
        ("no storage", zip(&[entry("data.pkl", &pickle)]), "no `archive/data/0`"),
        ("two entries of one name", zip(&[entry("data.pkl", &pickle), data.clone(), data.clone()]), "two entries"),
        ("two pickles", zip(&[entry("data.pkl", &pickle), entry("a/data.pkl", &pickle)]), "more than one `data.pkl`"),
        ("an entry inside another", with(Entry { place: Some(0), other_name: None, ..data.clone() }), "not what the directory says"),
        ("a name that differs", with(Entry { other_name: Some("archive/data/1".into()), ..data.clone() }), "not what the directory says"),
        ("an encrypted entry", with(Entry { flags: 1, ..data.clone() }), "encrypted"),
        ("a packing that is not read", with(Entry { method: 12, ..data.clone() }), "method 12"),
        ("a stored entry with two sizes", with(Entry { size: Some(1000), ..data.clone() }), "two sizes"),
        ("an entry beyond the file", with(Entry { size: Some(5000), packed: Some(5000), ..data.clone() }), "beyond the file"),
        ("an entry over the directory", with(Entry { size: Some(9), packed: Some(9), ..data.clone() }), "overlaps"),
        ("a wrong sum", with(Entry { sum: Some(1), ..data.clone() }), "checksum"),
        ("a packed entry that is longer", with(Entry { content: zeros.clone(), ..deflated.clone() }), "longer than the directory"),
        ("a packed entry that is shorter", with(Entry { size: Some(1 << 20), ..deflated.clone() }), "shorter than the directory"),
        ("a packed entry of 4 GB", with(Entry { size: Some(u32::MAX - 1), ..deflated.clone() }), "compressed entries"),
        ("a packed entry that is no such", with(Entry { content: vec![0xff; 9], ..deflated }), "damaged"),
        ("numbers of a large machine", zip(&[entry("data.pkl", &pickle), entry("byteorder", b"big"), data]), "big-endian"),
    ]);
    // Two entries on the same bytes: each header is sound, and both names are the same length.
    let shared = zip(&[entry("data.pkl", &pickle), entry("data/0", &storage), Entry { place: Some(0), ..entry("data.pkl", &pickle) }]);
    refused(vec![("an entry twice", shared, "two entries")]);
    let mut count = whole.clone();
    let end = count.len() - 22;
    count[end + 8..end + 12].copy_from_slice(&[0xff, 0xfe, 0xff, 0xfe]);
    refused(vec![("65,000 entries in 200 bytes", count, "cannot hold")]);
}

#[test]
fn names_lead_nowhere_else() {
    let pickle = |key: &str| dict(&[("w", tensor("FloatStorage", key, 2, 0, &[2], &[1]))]);
    refused(vec![
        ("a key with a path", archive(&pickle("../data/0"), &[0; 8]), "no `archive/data/../data/0`"),
        ("a key of the system", archive(&pickle("/etc/passwd"), &[0; 8]), "no `archive/data//etc/passwd`"),
        ("a key of many bytes", archive(&pickle(&"0".repeat(300)), &[0; 8]), "longer than 255"),
    ]);
    for file in ["../a.bin", "/etc/passwd", "", ".", "..", "a\\b", "a\0b", "index.json"] {
        let index = serde_json::json!({"weight_map": {"w": file}}).to_string();
        let error = parse("model.safetensors.index.json", index.as_bytes()).expect_err(file);
        assert!(error.contains("beside the index"), "{file}: {error}");
    }
    refused(vec![("an index of nothing", b"{\"weight_map\": {}}".to_vec(), "names no tensors")]);
}

#[test]
fn shards_must_hold_what_the_index_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).expect("it is written");
    let index =
        |map: serde_json::Value| write("pytorch_model.bin.index.json", serde_json::json!({"weight_map": map}).to_string().as_bytes());
    let fails = || read(dir.path(), &Limits::default()).expect_err("it is refused").to_string();
    let error = fails();
    assert!(error.contains("pytorch_model.bin") && error.contains("nothing"), "an empty folder: {error}");
    index(serde_json::json!({"w": "a.bin"}));
    assert!(fails().contains("a.bin"), "a shard that is missing");
    write("a.bin", &archive(&dict(&[("w", sound())]), &[0; 8]));
    assert_eq!(read(dir.path(), &Limits::default()).expect("it is whole").tensors.len(), 1);
    index(serde_json::json!({"w": "a.bin", "v": "a.bin"}));
    assert!(fails().contains("`v` should be in `a.bin`"), "a tensor that is missing");
    index(serde_json::json!({"w": "a.bin", "v": "b.bin"}));
    write("b.bin", &archive(&dict(&[("v", sound()), ("w", sound())]), &[0; 8]));
    assert!(fails().contains("`w` is in `b.bin` and in a file before"), "a tensor in two shards");
    write("b.bin", b"{\"weight_map\": {\"v\": \"b.bin\"}}");
    assert!(fails().contains("itself an index"), "an index in an index");
}

#[test]
fn safetensors_that_lie_are_refused() {
    let file = |header: &str, data: usize| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![7; data]].concat();
    let one =
        |dtype: &str, shape: &str, offsets: &str| format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#);
    assert!(parse("a.safetensors", &file(&one("U8", "[2,0,3]", "[0,0]"), 0)).is_ok(), "no numbers is no fault");
    let twice = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}"#;
    let apart = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}"#;
    refused(vec![
        ("a name twice", file(twice, 1), "two tensors are called `a`"),
        ("a gap", file(apart, 3), "overlap or gap"),
        ("the same bytes twice", file(&apart.replace("[2,3]", "[0,1]"), 1), "overlap or gap"),
        ("offsets backwards", file(&one("U8", "[1]", "[0,-1]"), 1), "not valid"),
        ("a negative size", file(&one("U8", "[-1]", "[0,1]"), 1), "negative"),
        ("a size beyond 64 bits", file(&one("U8", "[36893488147419103232]", "[0,1]"), 1), "not valid"),
        ("a shape that overflows", file(&one("F32", "[4294967296,4294967296]", "[0,1]"), 1), "overflows"),
        ("an overflow behind a zero", file(&one("F32", "[0,9223372036854775807,9223372036854775807]", "[0,0]"), 0), "overflows"),
        ("a shape of other bytes", file(&one("F32", "[2]", "[0,4]"), 4), "takes 8 bytes"),
        ("33 dimensions", file(&one("U8", &format!("[{}1]", "1,".repeat(32)), "[0,1]"), 1), "33 dimensions"),
        ("more than the file", file(&one("U8", "[100]", "[0,100]"), 4), "is cut"),
        ("bytes that nothing names", file(&one("U8", "[1]", "[0,1]"), 2), "end at byte"),
        ("a truth value of 7", file(&one("BOOL", "[1]", "[0,1]"), 1), "truth value"),
        ("a header of 200 MB", [200_000_000_u64.to_le_bytes().as_slice(), b"{}"].concat(), "at most"),
        ("nested lists", file(&format!("{{\"a\":{}", "[".repeat(100_000)), 0), "not valid"),
    ]);
}

#[test]
fn legacy_files_that_lie_are_refused() {
    let object = dict(&[("w", sound())]);
    let storage = [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40];
    let whole = legacy(&object, &["0"], &[(2, &storage)]);
    let file = parse("sound.pt", &whole).expect("the base of the cases below is sound");
    assert_eq!(Vec::<f32>::try_from(&file.tensors[0].1).expect("numbers"), [1.0, 2.0]);
    refused(vec![
        ("a cut storage", whole[..whole.len() - 1].to_vec(), "it is cut"),
        ("a storage without length", whole[..whole.len() - 12].to_vec(), "cut"),
        ("cut pickles", whole[..40].to_vec(), "cut within its pickles"),
        ("bytes at the end", [whole.clone(), vec![0]].concat(), "1 bytes follow"),
        ("a length that overflows", legacy(&object, &["0"], &[(u64::MAX / 2, &storage)]), "beyond the file"),
        ("a storage shorter than it claims", legacy(&object, &["0"], &[(1, &storage[..4])]), "claims 2 numbers"),
        ("a key that is missing", legacy(&object, &[], &[]), "storage `0` is not in the file"),
        ("a key twice", legacy(&object, &["0", "0"], &[(2, &storage), (2, &storage)]), "listed twice"),
        ("a key of nobody", legacy(&object, &["0", "1"], &[(2, &storage), (2, &storage)]), "nothing refers to it"),
        ("a plain pickle", b"\x80\x02}.".to_vec(), "not one of PyTorch"),
        ("a plain pickle that runs something", b"\x80\x02cos\nsystem\n(X\x02\0\0\0lstR.".to_vec(), "`os.system`"),
    ]);
}
