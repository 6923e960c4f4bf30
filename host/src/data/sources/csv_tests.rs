use std::sync::Arc;

use super::*;
use crate::data::testing::{CAPTIONED, PICTURES, open_for};
use serde_json::json;
use vlhub_core::{Picture, Want, Wants};
use vlhub_sdk::testkit::source::every_law;

fn open(name: &str, table: &[u8], options: serde_json::Value) -> (tempfile::TempDir, Result<Arc<dyn Source>>) {
    open_wanting(CAPTIONED, name, table, options)
}

fn open_wanting(wants: Wants, name: &str, table: &[u8], options: serde_json::Value) -> (tempfile::TempDir, Result<Arc<dyn Source>>) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(name), table).expect("room");
    std::fs::write(folder.path().join("a.jpg"), b"picture a").expect("room");
    let mut all = json!({"use": "csv", "path": name});
    all.as_object_mut().expect("a table").extend(options.as_object().expect("a table").clone());
    let source = open_for(&all, folder.path(), wants);
    (folder, source)
}

fn problems(source: &dyn Source) -> Vec<(&str, &str)> {
    source.problems().iter().map(|bad| (bad.place.as_str(), bad.reason)).collect()
}

#[test]
fn tables_are_read_as_open_clip_reads_them() {
    for (name, table, options, why) in [
        ("t.tsv", &b"filepath\ttitle\tid\na.jpg\ta, dog\t7\n"[..], json!({}), "a tab is the default"),
        ("t.csv", b"filepath,title,id\r\na.jpg,\"a, dog\",7\r\n", json!({}), "a comma in a .csv, with CRLF and quotes"),
        ("t.csv", b"\xEF\xBB\xBFfilepath;title;id\na.jpg;a, dog;7", json!({"separator": ";"}), "byte order mark and another separator"),
        ("t.txt", b"id\tcaption\tfile\n7\ta, dog\ta.jpg\n", json!({"img_key": "file", "caption_key": "caption"}), "other names and order"),
    ] {
        let (_folder, source) = open(name, table, options);
        let source = source.expect(why);
        let raw = source.read(0).expect(why);
        assert_eq!((source.len(), source.problems().len()), (1, 0), "{why}");
        assert_eq!((raw.caption.texts[0].as_str(), raw.caption.meta["id"].as_str()), ("a, dog", "7"), "{why}");
        assert_eq!((raw.picture, raw.key), (Some(Picture::Encoded(b"picture a".to_vec())), format!("{name}:2")), "{why}");
    }
}

#[test]
fn every_row_that_cannot_be_used_is_named_by_its_line() {
    let table = b"filepath,title\na.jpg,one\na.jpg\na.jpg,two,three\n,four\na.jpg, \na.jpg,\xFF\xFE\n\na.jpg,\"five\nlines\"\na.jpg,nan\na.jpg,\"open\na.jpg,last\n";
    let (_folder, source) = open("t.csv", table, json!({}));
    let source = source.expect("some rows are right");
    let texts: Vec<_> = (0..source.len()).map(|at| source.read(at).expect("it is right").caption.texts.remove(0)).collect();
    assert_eq!(texts, ["one", "five\nlines", "nan", "last"], "`nan` is a word, not a hole");
    assert_eq!(
        problems(&*source),
        [
            ("t.csv:3", "ragged row"),
            ("t.csv:4", "ragged row"),
            ("t.csv:5", "no image"),
            ("t.csv:6", "empty caption"),
            ("t.csv:7", "not UTF-8"),
            ("t.csv:12", "row too long"),
        ]
    );
}

#[test]
fn a_table_that_cannot_be_right_is_refused() {
    for (table, options, wanted, why) in [
        (&b""[..], json!({}), "has no header line", "nothing"),
        (b"path,title\na.jpg,x\n", json!({}), "column `filepath`, which is not there", "a missing column"),
        (b"filepath,titel\na.jpg,x\n", json!({}), "did you mean `titel`?", "a misspelt column"),
        (b"filepath\ttitle\na.jpg\tx\n", json!({}), "is another `separator` right", "a wrong separator"),
        (b"filepath,title,title\na.jpg,x,y\n", json!({}), "column `title` stands there twice", "a column twice"),
        (b"filepath,title\n", json!({}), "no usable row", "no rows"),
        (b"filepath,title\na.jpg\n", json!({}), "the first problem is `t.csv:2`", "no good rows"),
        (b"filepath,title\na.jpg,x\n", json!({"separator": "ab"}), "one ASCII character", "a separator of two characters"),
        (b"filepath,title\na.jpg,x\n", json!({"label_key": "label"}), "`label_key` names column `label`", "no label column"),
        (b"\xFF\xFE\n\n", json!({}), "header line is not UTF-8", "a binary file"),
    ] {
        let (_folder, source) = open("t.csv", table, options);
        let error = source.expect_err(why).to_string();
        assert!(error.contains(wanted), "{why}: {error}");
    }
}

#[test]
fn pictures_that_are_not_there_are_bad_samples() {
    let (folder, source) = open("t.csv", b"filepath,title\nmissing.jpg,x\n.,x\n/dev/zero,x\na.jpg,x\n", json!({}));
    let source = source.expect("the table is right");
    let reasons: Vec<_> = (0..4).map(|at| source.read(at).map_or_else(|bad| bad.reason, |_| "none")).collect();
    assert_eq!(reasons, ["missing file", "not a file", "not a file", "none"]);
    let bad = source.read(0).expect_err("it is missing");
    assert!(bad.place == "t.csv:2" && bad.detail.contains("missing.jpg"), "{bad}");
    std::fs::write(folder.path().join("t.csv"), b"other\n").expect("room");
    assert_eq!(source.read(3).expect_err("it changed").reason, "table changed");
}

#[test]
fn labels_are_numbers_or_names_and_never_guessed() {
    let labels = |column: &str, classes: serde_json::Value| {
        let rows: String = column.split('|').map(|label| format!("a.jpg,x,\"{label}\"\n")).collect();
        let wants = CAPTIONED.label(Want::Required);
        let (_folder, source) =
            open_wanting(wants, "t.csv", format!("filepath,title,y\n{rows}").as_bytes(), json!({"label_key": "y", "classes": classes}));
        let source = source.expect("some rows are right");
        let found: Vec<i64> = (0..source.len()).map(|at| source.read(at).expect("it is right").caption.labels[0]).collect();
        (found, source.classes().to_vec(), source.problems().len())
    };
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(labels("3|0| 3 ", json!(null)), (vec![3, 0, 3], vec![], 0), "numbers");
    assert_eq!(labels("dog|cat|dog", json!(null)), (vec![0, 1, 0], words("dog cat"), 0), "names in the order of the table");
    assert_eq!(labels("dog|cat|1|bird|2", json!(["cat", "dog"])), (vec![1, 0, 1], words("cat dog"), 2), "known classes");
    assert_eq!(labels("1|-1|1.5|[]|nan|", json!(null)), (vec![1], vec![], 5), "what is no label");
}

#[test]
fn a_table_needs_the_columns_that_are_read_and_no_others() {
    let texts = Wants::NOTHING.text(Want::Required);
    let classes = Wants { text: Want::Required, ..PICTURES };
    let labels = Wants { label: Want::Required, ..PICTURES };
    for (wants, table, options, why) in [
        (texts, &b"title\na dog\n"[..], json!({}), "texts without the column of pictures"),
        (texts, b"title\na dog\n", json!({"img_key": ""}), "texts, and no column is named"),
        (PICTURES, b"filepath\na.jpg\n", json!({}), "pictures without the column of captions"),
        (PICTURES, b"filepath\na.jpg\n", json!({"caption_key": ""}), "pictures, and no column is named"),
        (PICTURES, b"filepath,title,y\na.jpg,,[]\n", json!({"label_key": "y"}), "an empty caption and a label that is none"),
        (PICTURES, b"filepath,title\na.jpg,\xFF\n", json!({}), "a caption that is not UTF-8"),
        (PICTURES, b"filepath\na.jpg\n", json!({"label_key": "y"}), "no column of labels"),
        (labels, b"filepath,y\na.jpg,7\n", json!({"label_key": "y"}), "numbers for labels, without names"),
        (classes, b"filepath,y\na.jpg,dog\n", json!({"caption_key": "", "label_key": "y"}), "the class is the caption"),
    ] {
        let (_folder, source) = open_wanting(wants, "t.csv", table, options);
        let source = source.unwrap_or_else(|error| panic!("{why}: {error}"));
        let raw = source.read(0).unwrap_or_else(|bad| panic!("{why}: {bad}"));
        assert_eq!(source.problems(), [], "{why}");
        assert_eq!(raw.picture.is_some(), wants.picture.is_read(), "{why}");
        assert_eq!(raw.caption.texts.len(), usize::from(wants.text.is_read()), "{why}");
        assert_eq!(source.labelled(), wants.label.is_read() || wants == classes, "{why}");
    }
}

#[test]
fn what_is_read_is_asked_for_as_strictly_as_ever() {
    for (wants, table, options, wanted, why) in [
        (CAPTIONED, &b"filepath\na.jpg\n"[..], json!({}), "`caption_key` names column `title`, which is not there", "captions are read"),
        (CAPTIONED, b"filepath\na.jpg\n", json!({"caption_key": ""}), "`caption_key` is empty, but captions are read", "none is named"),
        (CAPTIONED, b"title\nx\n", json!({}), "`img_key` names column `filepath`", "pictures are read"),
        (
            CAPTIONED,
            b"filepath,y\na.jpg,7\n",
            json!({"caption_key": "", "label_key": "y"}),
            "class 7 has no name",
            "a number is no caption",
        ),
        (PICTURES.label(Want::Required), b"filepath\na.jpg\n", json!({}), "`label_key` is empty, but class labels are read", "labels"),
        (Wants::WHATEVER, b"a,b\n1,2\n", json!({}), "which is not there", "nothing that could be read"),
    ] {
        let (_folder, source) = open_wanting(wants, "t.csv", table, options);
        let error = source.expect_err(why).to_string();
        assert!(error.contains(wanted), "{why}: {error}");
    }
    let (_folder, source) = open_wanting(Wants::WHATEVER, "t.csv", b"filepath,titel\na.jpg,x\n", json!({}));
    let source = source.expect("there are pictures");
    assert_eq!(problems(&*source), [("t.csv:1", "no caption column")]);
    assert!(source.problems()[0].detail.contains("did you mean `titel`?"));
}

#[test]
fn the_laws_of_sources_hold() {
    let (folder, source) = open("t.csv", b"filepath,title,y\na.jpg,one,dog\na.jpg,,cat\na.jpg,two,\nmissing.jpg,three,dog\n", json!({}));
    assert_eq!(source.expect("three rows are right").len(), 3);
    let config = CsvConfig { path: "t.csv".into(), label_key: "y".into(), ..CsvConfig::default() };
    every_law(&config, folder.path()).expect("every law");
}
