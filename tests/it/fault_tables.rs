//! Faults of tables, folders and compressed files through the command line: what cannot be used is named by line or file, and the rest is read.

use std::path::Path;

use serde_json::Value;

use crate::fault_shards::jpeg;
use crate::program::{SMALL, SMALL_DATA, run};

/// The small run, on other data and with another objective.
fn run_file(folder: &Path, objective: &str, data: &str) {
    let text = SMALL.replace("[objective.clip]\n", objective).replace(SMALL_DATA, data).replace("batch = 16", "batch = 2");
    std::fs::write(folder.join("run.toml"), text).expect("room");
}

/// Place and reason of everything that `data check` lists, and how many samples are good.
fn checked(folder: &Path) -> (u64, Vec<(String, String)>) {
    let ran = run(folder, &["data", "check", "run.toml", "--json"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    let summary: Value = serde_json::from_str(&ran.out).expect("JSON");
    (summary["good"].as_u64().expect("a number"), reasons(summary["problems"].as_array().expect("a list")))
}

fn reasons<'a>(list: impl IntoIterator<Item = &'a Value>) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut all: Vec<_> = list.into_iter().map(|bad| (text(&bad["place"]), text(&bad["reason"]))).collect();
    all.sort();
    all.dedup();
    all
}

/// What a run that meets every sample wrote down.
fn trained(folder: &Path) -> Vec<(String, String)> {
    let ran = run(folder, &["train", "run.toml", "name=a", "train.steps=12", "train.max_bad_fraction=1.0"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let log = std::fs::read_to_string(folder.join("logs/a/skipped.jsonl")).expect("it is there");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    reasons(&lines)
}

fn expected<S: ToString>(list: &[(S, &str)]) -> Vec<(String, String)> {
    let mut all: Vec<_> = list.iter().map(|(place, reason)| (place.to_string(), (*reason).to_owned())).collect();
    all.sort();
    all
}

#[test]
fn rows_of_a_table_that_cannot_be_used_are_named_by_their_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).expect("room");
    write("a.jpg", &jpeg(1));
    write("page.jpg", b"<!DOCTYPE html>");
    std::fs::create_dir(folder.path().join("dir.jpg")).expect("room");
    #[cfg(unix)]
    std::os::unix::fs::symlink("loop.jpg", folder.path().join("loop.jpg")).expect("room");
    // Byte order mark, CRLF, and line breaks within quotes.
    let rows: [&[u8]; 15] = [
        b"\xEF\xBB\xBFfilepath,title",
        b"a.jpg,one",
        b"a.jpg",
        b"a.jpg,two,three",
        b",four",
        b"a.jpg,\" \"",
        b"a.jpg,\xFF\xFE",
        b"a.jpg,\"five\r\nlines\"",
        b"a.jpg,nan",
        b"missing.jpg,six",
        b"dir.jpg,seven",
        b"loop.jpg,eight",
        b"page.jpg,nine",
        b"../none/a.jpg,ten",
        b"a.jpg,\"eleven, \"\"quoted\"\"\"",
    ];
    write("t.csv", &rows.join(&b"\r\n"[..]));
    run_file(folder.path(), "[objective.clip]\n", "[data.train]\nuse = \"csv\"\npath = \"t.csv\"\n");
    let wanted = expected(&[
        ("t.csv:3", "ragged row"),
        ("t.csv:4", "ragged row"),
        ("t.csv:5", "no image"),
        ("t.csv:6", "empty caption"),
        ("t.csv:7", "not UTF-8"),
        ("t.csv:11", "missing file"),
        ("t.csv:12", "not a file"),
        ("t.csv:13", "unreadable file"),
        ("t.csv:14", "not an image"),
        ("t.csv:15", "missing file"),
    ]);
    assert_eq!(checked(folder.path()), (4, wanted.clone()));
    assert_eq!(trained(folder.path()), wanted);
    let over = run(folder.path(), &["train", "run.toml", "name=b"]);
    assert!(over.code == 3 && over.err.contains("max_bad_fraction"), "{}: {}", over.code, over.err);
}

#[test]
fn labels_that_are_none_are_never_another_class() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.jpg"), jpeg(1)).expect("room");
    let labels = ["0", "2", "3", "-1", "1.5", "[]", "nan", "", "99999999999999999999", "1"];
    let rows: String = labels.iter().map(|label| format!("a.jpg,{label}\n")).collect();
    std::fs::write(folder.path().join("t.csv"), format!("filepath,label\n{rows}")).expect("room");
    let data = "[data.train]\nuse = \"csv\"\npath = \"t.csv\"\nlabel_key = \"label\"\n";
    run_file(folder.path(), "[objective.classify]\nclasses = 4\n", data);
    // A row without a label may be there for its picture: it has no class, and no share in the loss.
    let wanted = expected(&[5, 6, 7, 8, 10].map(|line| (format!("t.csv:{line}"), "bad label")));
    assert_eq!(checked(folder.path()), (5, wanted.clone()));
    assert_eq!(trained(folder.path()), wanted);
    let outside = run(folder.path(), &["train", "run.toml", "name=b", "objective.classify.classes=3", "train.max_bad_fraction=1.0"]);
    assert!(outside.code != 0 && outside.err.contains("3"), "a label that the head has no place for: {}: {}", outside.code, outside.err);
}

#[test]
fn files_of_a_folder_that_are_no_pictures_are_named_and_hidden_ones_are_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in [
        ("a/1.jpg", jpeg(1)),
        ("a/2.JPG", jpeg(2)),
        ("a/.3.jpg", b"hidden".to_vec()),
        ("a/notes.txt", b"no picture".to_vec()),
        ("b/1.jpg", jpeg(3)),
        ("b/cut.jpg", jpeg(4)[..300].to_vec()),
        ("b/none.jpg", Vec::new()),
    ] {
        let path = folder.path().join("set").join(name);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("room");
        std::fs::write(path, bytes).expect("room");
    }
    run_file(folder.path(), "[objective.classify]\nclasses = 2\n", "[data.train]\nuse = \"imagefolder\"\npath = \"set\"\n");
    let (good, problems) = checked(folder.path());
    let found: Vec<_> = problems.iter().map(|(place, reason)| (place.rsplit("set/").next().unwrap_or(place), reason.as_str())).collect();
    assert_eq!(
        (good, found),
        (3, vec![("a/notes.txt", "not an image file"), ("b/cut.jpg", "truncated image"), ("b/none.jpg", "empty file")])
    );
    assert_eq!(trained(folder.path()), problems);
}

#[test]
fn a_shard_that_unpacks_out_of_proportion_ends_before_it_fills_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        std::io::Write::write_all(&mut packed, &vec![0; 1 << 20]).expect("memory does not fail");
    }
    std::fs::write(folder.path().join("zeros.tar.gz"), packed.finish().expect("memory does not fail")).expect("room");
    run_file(folder.path(), "[objective.clip]\n", "[data.train]\nuse = \"webdataset\"\nshards = \"zeros.tar.gz\"\n");
    let ran = run(folder.path(), &["data", "check", "run.toml"]);
    assert!(ran.code == 2 && ran.err.contains("zeros.tar.gz") && ran.err.contains("more than 200 times"), "{}: {}", ran.code, ran.err);
    let kept = std::fs::read_dir(folder.path().join(".data-cache/partial")).expect("it is there").flatten();
    assert_eq!(kept.filter(|file| file.metadata().is_ok_and(|file| file.len() > 0)).count(), 0, "nothing of it stays");
}
