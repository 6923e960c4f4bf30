use std::sync::{Arc, Mutex};

use super::*;
use vlhub_sdk::serde_json::Value;
use vlhub_sdk::testkit::source::every_law;
use vlhub_sdk::{Extent, SourceHost};

const CAPTIONED: Wants = Wants { picture: Want::Required, text: Want::Required, ..Wants::WHATEVER };

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("room");
        std::fs::write(path, text).expect("room");
    }
}

/// A folder as `output_format = "files"` leaves it, of which the second shard was not finished.
fn files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [
        ("out/00000/000000.jpg", "p0"),
        ("out/00000/000000.txt", "one"),
        ("out/00000/000000.json", r#"{"url": "http://x/0.jpg", "caption": "one", "width": 32, "error_message": null}"#),
        ("out/00000/000002.jpg", "p2"),
        ("out/00000/000002.txt", ""),
        ("out/00000/000003.png", "p3"),
        ("out/00000_stats.json", r#"{"count": 6, "successes": 4, "status_dict": {"success": 4, "HTTP Error 404: Not Found": 2}}"#),
        ("out/00001/000010.webp", "p10"),
        ("out/00001/000010.txt", "ten"),
        ("out/notes/1.jpg", "not of a shard"),
    ];
    write(folder.path(), &files);
    folder
}

fn config() -> Img2datasetConfig {
    Img2datasetConfig { path: "out".into() }
}

#[test]
fn folders_of_files_are_read_with_what_stands_beside_them() {
    let folder = files();
    let source = config().build(&SourceCx { wants: Wants::WHATEVER, ..SourceCx::new(folder.path()) }).expect("it is whole");
    let keys: Vec<String> = (0..source.len()).map(|index| source.key(index)).collect();
    assert_eq!(keys, ["00000/000000.jpg", "00000/000002.jpg", "00000/000003.png", "00001/000010.webp"]);
    let first = source.read(0).expect("it is right");
    assert_eq!((first.picture, first.caption.texts), (Some(Picture::Encoded(b"p0".to_vec())), vec!["one".to_owned()]));
    let meta: Vec<String> = first.caption.meta.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(meta, ["url=http://x/0.jpg", "width=32"]);
    assert_eq!(source.read(2).expect("nothing is required").caption.texts, Vec::<String>::new());
    let notes = source.notes().join("\n");
    for wanted in [
        "had not finished 1 of 2 shards, which have no `_stats.json`: 00001",
        "1 shards hold another number of samples than their `_stats.json` says (found of said): 00000: 3 of 4",
        "got 4 of 6 pictures; what failed is no sample: 2 × HTTP Error 404: Not Found",
    ] {
        assert!(notes.contains(wanted), "{notes}");
    }
    let source = config().build(&SourceCx { wants: CAPTIONED, ..SourceCx::new(folder.path()) }).expect("it is whole");
    assert_eq!((source.len(), source.problems()[0].reason), (3, "no caption"));
    assert_eq!(source.read(1).expect_err("its .txt is empty").reason, "empty caption");
    assert!(source.notes().iter().any(|note| note.contains("00000: 3 of 4")), "what is listed as lost counts too");
    every_law(&config(), folder.path()).expect("every law");
}

#[test]
fn what_img2dataset_did_not_write_is_refused() {
    let folder = files();
    write(folder.path(), &[("other/notes.txt", "x"), ("bad/00000/1.jpg", "x"), ("bad/00000/1.txt", "x"), ("bad/00000_stats.json", "{")]);
    for (path, wanted) in [
        ("other", "holds no shard of img2dataset"),
        ("gone", "gone"),
        ("", "`path` is missing"),
        ("bad", "00000_stats.json is not what img2dataset writes"),
    ] {
        let error = Img2datasetConfig { path: path.into() }.build(&SourceCx::new(folder.path())).expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

/// A host that remembers what it was asked for, and opens the folder of files above in its place.
struct Asked(Mutex<Vec<Value>>);

impl SourceHost for Asked {
    fn open(&self, table: &Value, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        self.0.lock().expect("nobody panicked").push(table.clone());
        config().build(&SourceCx { host: &Asked(Mutex::default()), ..*cx })
    }
}

#[test]
fn tars_are_opened_as_shards_of_webdataset() {
    let folder = files();
    write(folder.path(), &[("t{1}/00001.tar", ""), ("t{1}/00000.tar", ""), ("t{1}/00000.parquet", ""), ("t{1}/other.tar", "")]);
    let host = Asked(Mutex::default());
    let cx = SourceCx { host: &host, extent: Extent::Glance, ..SourceCx::new(folder.path()) };
    Img2datasetConfig { path: "t{1}".into() }.build(&cx).expect("the host opens it");
    let asked = host.0.into_inner().expect("nobody panicked");
    let shards: Vec<&str> = asked[0]["shards"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(asked[0]["use"], "webdataset");
    assert!(shards.len() == 2 && shards[0].ends_with("t\\{1\\}/00000.tar") && shards[1].ends_with("00001.tar"), "{shards:?}");
}

#[test]
fn tables_of_pictures_are_read_without_what_failed() {
    use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("out")).expect("room");
    let words = |all: [Option<&str>; 5]| Arc::new(StringArray::from_iter(all)) as ArrayRef;
    let columns = [
        ("caption", words([Some("a"), Some("b"), None, Some("d"), Some("e")])),
        ("key", words([Some("0"), Some("1"), Some("2"), Some("3"), Some("4")])),
        ("status", words([Some("success"), Some("failed_to_download"), Some("success"), Some("success"), Some("failed_to_resize")])),
        ("jpg", Arc::new(BinaryArray::from_iter([Some(b"p0"), None, Some(b"p2"), Some(b"p3"), None])) as ArrayRef),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).expect("columns");
    let file = std::fs::File::create(folder.path().join("out/00000.parquet")).expect("room");
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("room");
    writer.close().expect("room");
    write(folder.path(), &[("out/00000_stats.json", r#"{"count": 5, "successes": 3, "status_dict": {"success": 3, "x": 1, "y": 1}}"#)]);
    let source = config().build(&SourceCx { wants: CAPTIONED, ..SourceCx::new(folder.path()) }).expect("it is whole");
    let keys: Vec<String> = (0..source.len()).map(|index| source.key(index)).collect();
    assert_eq!(keys, ["out/00000.parquet:0", "out/00000.parquet:2", "out/00000.parquet:3"], "rows keep their numbers");
    assert_eq!(source.read(2).expect("it is right").picture, Some(Picture::Encoded(b"p3".to_vec())));
    assert_eq!(source.read(1).expect_err("its caption is null").reason, "no caption");
    assert_eq!(source.notes(), ["img2dataset got 3 of 5 pictures; what failed is no sample: 1 × x, 1 × y"]);
    every_law(&config(), folder.path()).expect("every law");
}
