use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::data::testing::{CAPTIONED, PICTURES, open_for};
use serde_json::json;
use vlhub_sdk::testkit::source::every_law;

pub(in crate::data::sources) fn shard(folder: &Path, name: &str, members: &[(&str, &[u8])]) {
    let mut builder = tar::Builder::new(File::create(folder.join(name)).expect("the folder is there"));
    for (name, data) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, name, *data).expect("the disk has room");
    }
    builder.finish().expect("the disk has room");
}

fn open(folder: &Path, options: serde_json::Value) -> Result<Arc<dyn Source>> {
    open_wanting(CAPTIONED, folder, options)
}

fn open_wanting(wants: Wants, folder: &Path, options: serde_json::Value) -> Result<Arc<dyn Source>> {
    let mut table = json!({"use": "webdataset", "shards": "*.tar"});
    table.as_object_mut().expect("a table").extend(options.as_object().expect("a table").clone());
    open_for(&table, folder, wants)
}

fn problems(source: &dyn Source) -> Vec<(String, &'static str)> {
    source.problems().iter().map(|bad| (bad.key.clone(), bad.reason)).collect()
}

#[test]
fn samples_are_read_with_text_label_and_meta() {
    let folder = tempfile::tempdir().expect("a folder");
    shard(
        folder.path(),
        "0.tar",
        &[
            ("0.jpg", b"JPG"),
            ("0.txt", b"a dog"),
            ("0.cls", b"1\n"),
            ("0.json", br#"{"url": "u", "width": 3}"#),
            ("1.png", b"PNG"),
            ("1.cls", b"cat"),
        ],
    );
    std::fs::write(folder.path().join("classnames.txt"), "cat\ndog\n").expect("the disk has room");
    let source = open(folder.path(), json!({})).expect("it is whole");
    assert_eq!((source.len(), source.classes().len(), source.problems().len()), (2, 2, 0));
    let first = source.read(0).expect("it is whole");
    assert_eq!(first.key, "0.tar:0");
    assert_eq!(first.picture, Some(Picture::Encoded(b"JPG".to_vec())));
    assert_eq!((first.caption.texts.as_slice(), first.caption.labels.as_slice()), (&["a dog".to_owned()][..], &[1][..]));
    assert_eq!((first.caption.meta["url"].as_str(), first.caption.meta["width"].as_str()), ("u", "3"));
    let second = source.read(1).expect("it is whole");
    assert_eq!((second.caption.texts[0].as_str(), second.caption.labels[0]), ("cat", 0), "a class name is a label and a caption");
}

#[test]
fn captions_may_come_from_json() {
    let folder = tempfile::tempdir().expect("a folder");
    shard(folder.path(), "0.tar", &[("0.jpg", b"J"), ("0.json", br#"{"caption": ["one", "two"], "n": null}"#), ("0.txt", b"unused")]);
    let source = open(folder.path(), json!({"json_text_key": "caption"})).expect("it is whole");
    assert_eq!(source.read(0).expect("it is whole").caption.texts, ["one", "two"]);
}

#[test]
fn what_is_incomplete_is_counted_by_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    shard(
        folder.path(),
        "0.tar",
        &[
            ("0.jpg", b"J"),
            ("0.txt", b"whole"),
            ("1.jpg", b"J"),
            ("2.txt", b"alone"),
            ("3.a", b""),
            ("4.jpg", b"J"),
            ("3.txt", b"mixed"),
            ("4.txt", b"mixed"),
            ("README", b""),
            ("5.jpg", b"J"),
            ("5.txt", b"x"),
            ("5.jpg", b"J"),
            ("5.txt", b"y"),
        ],
    );
    let source = open(folder.path(), json!({})).expect("some are whole");
    assert_eq!((0..source.len()).map(|at| source.key(at)).collect::<Vec<_>>(), ["0.tar:0", "0.tar:5", "0.tar:5"]);
    let expected = [
        ("0.tar:", "no suffix"),
        ("0.tar:1", "no caption"),
        ("0.tar:2", "no image"),
        ("0.tar:3", "no image"),
        ("0.tar:4", "no caption"),
        ("0.tar:3", "mixed members"),
        ("0.tar:3", "no image"),
        ("0.tar:4", "mixed members"),
        ("0.tar:4", "no image"),
        ("0.tar:5", "repeated suffix"),
    ];
    assert_eq!(problems(&*source), expected.map(|(key, reason)| (key.to_owned(), reason)));
}

#[test]
fn a_shards_end_ends_a_sample() {
    let folder = tempfile::tempdir().expect("a folder");
    shard(folder.path(), "0.tar", &[("7.jpg", b"J"), ("7.txt", b"first")]);
    shard(folder.path(), "1.tar", &[("7.jpg", b"J"), ("7.txt", b"second")]);
    let source = open(folder.path(), json!({"shards": "{0..1}.tar"})).expect("it is whole");
    let texts: Vec<_> = (0..2).map(|at| source.read(at).expect("it is whole").caption.texts.remove(0)).collect();
    assert_eq!(texts, ["first", "second"]);
}

#[test]
fn a_bad_member_is_a_bad_sample_and_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    shard(
        folder.path(),
        "0.tar",
        &[
            ("0.jpg", b"J"),
            ("0.txt", b"\xFF\xFE"),
            ("1.jpg", b"J"),
            ("1.txt", b" \n"),
            ("2.jpg", b"J"),
            ("2.txt", b"x"),
            ("2.json", b"{"),
            ("3.jpg", b"J"),
            ("3.cls", b"[]"),
            ("4.jpg", b"J"),
            ("4.cls", b"-1"),
            ("5.jpg", b"J"),
            ("5.txt", b"fine"),
        ],
    );
    let reasons = |wants: Wants, options: serde_json::Value| -> Vec<&str> {
        let source = open_wanting(wants, folder.path(), options).expect("it opens");
        (0..source.len()).map(|at| source.read(at).map_or_else(|bad| bad.reason, |_| "none")).collect()
    };
    let named = json!({"classes": ["cat"]});
    assert_eq!(reasons(CAPTIONED, named.clone()), ["not UTF-8", "empty caption", "bad json", "bad label", "bad label", "none"]);
    assert_eq!(reasons(PICTURES, named.clone()), ["none"; 6], "what is not read may be anything");
    assert_eq!(reasons(Wants { meta: Want::Unread, ..CAPTIONED }, named)[2], "none", "nobody reads the json member");
    assert_eq!(reasons(PICTURES.label(Want::Required), json!({})), ["bad label", "bad label"], "labels are judged where they are read");
}

#[test]
fn samples_need_the_members_that_are_read_and_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    shard(
        folder.path(),
        "0.tar",
        &[("0.jpg", b"J"), ("1.jpg", b"J"), ("1.cls", b"7"), ("2.txt", b"alone"), ("3.png", b"J"), ("3.txt", b"x")],
    );
    let keys = |wants: Wants| -> Vec<String> {
        let source = open_wanting(wants, folder.path(), json!({})).expect("some are whole");
        (0..source.len()).map(|at| source.read(at).expect("it is whole").key).collect()
    };
    assert_eq!(keys(PICTURES), ["0.tar:0", "0.tar:1", "0.tar:3"], "pictures without captions");
    assert_eq!(keys(PICTURES.label(Want::Required)), ["0.tar:1"], "a number is a label, with or without class names");
    assert_eq!(keys(PICTURES.text(Want::Required)), ["0.tar:3"], "a number is no caption");
    assert_eq!(keys(Wants::NOTHING.text(Want::Required)), ["0.tar:2", "0.tar:3"], "captions without pictures");
    assert_eq!(keys(Wants::WHATEVER).len(), 4);
    let error = open_wanting(PICTURES, folder.path(), json!({"image_key": ""})).expect_err("none is named").to_string();
    assert!(error.contains("`image_key` is empty"), "{error}");
}

#[test]
fn json_may_be_pythons() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = br#"{"similarity": NaN, "caption": NaN, "url": "u"}"#;
    shard(folder.path(), "0.tar", &[("0.jpg", b"J"), ("0.txt", b"a dog"), ("0.json", json)]);
    let raw = open(folder.path(), json!({})).expect("it is whole").read(0).expect("NaN is no damage");
    assert_eq!((raw.caption.meta["similarity"].as_str(), raw.caption.meta["url"].as_str()), ("null", "u"));
    let bad = open(folder.path(), json!({"json_text_key": "caption"})).expect("it is whole").read(0).expect_err("NaN is no caption");
    assert_eq!(bad.reason, "empty caption");
}

#[test]
fn what_is_missing_is_told_with_what_is_there() {
    for (members, option, wanted, why) in [
        (
            &["0.input.jpg", "0.txt", "1.input.jpg", "1.txt"][..],
            "image",
            "its members end in input.jpg, txt; did you mean image_key = \"input.jpg\"?",
            "a suffix of two parts",
        ),
        (&["0.tif", "0.txt"], "image", "did you mean image_key = \"tif\"?", "a picture of another kind"),
        (&["p.0.jpg", "p.0.txt", "p.1.jpg", "p.1.txt"], "image", "`p.0.jpg` is key `p` with suffix `0.jpg`", "a dot in the names"),
        (&["0.5_cat.jpg", "0.5_cat.txt", "1.7_dog.jpg", "1.7_dog.txt"], "image", "names have dots", "a number with a point"),
        (&["0.jpg", "0.outputs.txt"], "caption", "did you mean text_key = \"outputs.txt\"?", "a suffix of two parts"),
        (&["0.jpg", "0.json"], "caption", "read with `json_text_key`", "a caption inside json"),
        (&["0.jpg", "0.cls"], "caption", "its class has no name", "a number alone"),
        (&["0.data"], "image", "its members end in data", "something else"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let members: Vec<(&str, &[u8])> = members.iter().map(|name| (*name, &b"1"[..])).collect();
        shard(folder.path(), "0.tar", &members);
        let error = open(folder.path(), json!({})).expect_err(why).to_string();
        assert!(error.contains(&format!("no {option}")) && error.contains(wanted), "{why}: {error}");
    }
}

#[test]
fn the_laws_of_sources_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let members: Vec<(String, &[u8])> = (0..700)
        .flat_map(|at| [(format!("{at:03}.jpg"), &b"J"[..]), (format!("{at:03}.txt"), b"t"), (format!("{at:03}.cls"), b"1")])
        .filter(|(name, _)| !["003.txt", "004.jpg", "005.cls"].contains(&name.as_str()))
        .collect();
    let members: Vec<(&str, &[u8])> = members.iter().map(|(name, data)| (name.as_str(), *data)).collect();
    shard(folder.path(), "0.tar", &members);
    let config = WebDatasetConfig { shards: Files::One("0.tar".into()), ..WebDatasetConfig::default() };
    every_law(&config, folder.path()).expect("every law");
    let cx = SourceCx { extent: Extent::Glance, ..SourceCx::new(folder.path()) };
    let seen = config.build(&cx).expect("it is whole").len();
    assert!((300..400).contains(&seen), "a glance at {seen} of 700 samples");
}

#[test]
fn a_list_of_shards_that_cannot_be_right_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("empty.tar"), b"").expect("the disk has room");
    std::fs::write(folder.path().join("packed.tar"), b"\x1F\x8B\x08rest").expect("the disk has room");
    shard(folder.path(), "useless.tar", &[("0.jpg", b"J")]);
    for (shards, wanted, why) in [
        (json!(""), "names no shard", "an empty text"),
        (json!([]), "names no shard", "an empty list"),
        (json!("{0..2"), "do not balance", "a brace is missing"),
        (json!("none/{000..012}.tar"), "13 of 13 shards are missing", "a folder that is not there"),
        (json!("none/*.tar"), "no file matches", "a pattern without a file"),
        (json!("empty.tar"), "has no bytes", "an empty file"),
        (json!("packed.tar"), "packed.tar has no bytes", "gzip that is damaged from its beginning"),
        (json!("useless.tar"), "no usable sample; the first problem is `useless.tar:0`", "no captions"),
        (json!("pipe:cat 0.tar"), "commands are not run unless you allow it", "a command"),
        (json!("useless.tar::far://bucket/0.tar"), "no store is called `far`", "a far place"),
    ] {
        let error = open(folder.path(), json!({"shards": shards})).expect_err(why).to_string();
        assert!(error.contains(wanted), "{why}: {error}");
    }
}

#[test]
fn a_fingerprint_changes_with_the_data_and_the_suffixes() {
    let folder = tempfile::tempdir().expect("a folder");
    let print = |options| open(folder.path(), options).expect("it is whole").fingerprint();
    shard(folder.path(), "0.tar", &[("0.jpg", b"J"), ("0.txt", b"one")]);
    let first = print(json!({}));
    assert_eq!(print(json!({})), first);
    assert_ne!(print(json!({"image_key": "jpg"})), first, "other suffixes");
    shard(folder.path(), "0.tar", &[("0.jpg", b"J"), ("0.txt", b"other")]);
    assert_ne!(print(json!({})), first, "a caption of another length");
}

#[test]
fn a_shard_that_changes_under_us_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    shard(folder.path(), "0.tar", &[("0.jpg", b"J"), ("0.txt", b"one")]);
    let source = open(folder.path(), json!({})).expect("it is whole");
    shard(folder.path(), "0.tar", &[("0.jpg", b"J"), ("0.txt", b"one"), ("1.jpg", b"J")]);
    assert_eq!(source.read(0).expect_err("it changed").reason, "shard changed");
}

#[test]
fn a_shard_that_is_written_to_while_it_is_read_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    shard(folder.path(), "0.tar", &[("0.jpg", b"J"), ("0.txt", b"one")]);
    let source = open(folder.path(), json!({})).expect("it is whole");
    source.read(0).expect("it is open now");
    shard(folder.path(), "0.tar", &[("00.txt", b"another"), ("0.jpg", b"J"), ("0.txt", b"one")]);
    assert_eq!(source.read(0).expect_err("it changed").reason, "shard changed");
}

#[test]
fn a_damaged_shard_gives_its_other_samples_and_says_what_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let members = [("0.jpg", &b"J"[..]), ("0.txt", b"a"), ("1.jpg", b"J"), ("1.txt", b"b"), ("2.jpg", b"J"), ("2.txt", b"c")];
    shard(folder.path(), "0.tar", &members);
    let path = folder.path().join("0.tar");
    let mut bytes = std::fs::read(&path).expect("it is there");
    bytes[2 * 1024 + 5] ^= 1;
    std::fs::write(&path, bytes).expect("room");
    let source = open(folder.path(), json!({})).expect("two are left");
    assert_eq!((0..source.len()).map(|at| source.key(at)).collect::<Vec<_>>(), ["0.tar:0", "0.tar:2"]);
    assert_eq!(problems(&*source), [("0.tar".to_owned(), "damaged header"), ("0.tar:1".to_owned(), "no image")]);
    assert_eq!(source.problems()[0].place, "0.tar:2048", "shard and byte");
}

/// Writes an index file beside each shard of a folder.
fn index(folder: &Path) -> Vec<ShardSummary> {
    let config = WebDatasetConfig { shards: Files::One("*.tar".into()), ..WebDatasetConfig::default() };
    let registry = vlhub_core::Registry::linked().expect("the sources of the host");
    let places = crate::data::places::Places::new(folder, BTreeMap::new());
    let host = crate::data::Opener { registry: &registry, places: &places };
    let cx = SourceCx { host: &host, ..SourceCx::new(folder) };
    write_index(&config, &cx).expect("there are shards").map(|shard| shard.expect("it is indexed")).collect()
}

/// Keys, problems and fingerprint: all that an index decides.
fn listed(source: &dyn Source) -> (Vec<String>, Vec<Bad>, String) {
    ((0..source.len()).map(|at| source.key(at)).collect(), source.problems().to_vec(), source.fingerprint())
}

#[test]
fn an_index_file_stands_for_the_headers_and_only_while_it_fits() {
    let folder = tempfile::tempdir().expect("a folder");
    let members = [("0.jpg", &b"J"[..]), ("0.txt", b"a"), ("1.jpg", b"J"), ("2.jpg", b"J"), ("2.txt", b"c"), ("0.cls", b"1")];
    shard(folder.path(), "0.tar", &members);
    let path = folder.path().join("0.tar");
    let mut bytes = std::fs::read(&path).expect("it is there");
    bytes[2 * 1024 + 5] ^= 1;
    std::fs::write(&path, &bytes).expect("room");
    let walked = open(folder.path(), json!({})).expect("it is whole");
    let summary = index(folder.path());
    assert_eq!((summary[0].samples, summary[0].members, summary[0].lost), (3, 5, 1));
    let beside = folder.path().join("0.tar.vidx");
    assert_eq!(summary[0].index.as_ref(), Some(&beside));
    let read = open(folder.path(), json!({})).expect("it is whole");
    assert_eq!(listed(&*walked), listed(&*read));
    assert_eq!((read.notes().len(), read.read(0).expect("it is whole").caption.texts), (0, vec!["a".to_owned()]));

    // What is in the file is believed: an index of no members gives no samples.
    let file = File::open(&path).expect("it is there");
    let stamp = index_file::Stamp::of(&file).expect("it reads");
    std::fs::write(&beside, index_file::IndexRecorder::default().finish(&stamp)).expect("room");
    assert!(open(folder.path(), json!({})).expect_err("it is used").to_string().contains("no usable sample"));
    // Where there is no header of that size, nothing is read.
    let mut forged = index_file::IndexRecorder::default();
    for (name, offset) in [(&b"0.jpg"[..], 600), (b"0.txt", 1536)] {
        forged.record(&crate::data::sources::tar_index::TarEvent::Member(crate::data::sources::tar_index::Member {
            name,
            offset,
            size: 1,
        }));
    }
    std::fs::write(&beside, forged.finish(&stamp)).expect("room");
    let bad = open(folder.path(), json!({})).expect("it lists one").read(0).expect_err("no header stands there");
    assert_eq!((bad.reason, bad.place.as_str()), ("shard changed", "0.tar:600"), "{}", bad.detail);

    index(folder.path());
    bytes.truncate(bytes.len() - 512);
    std::fs::write(&path, &bytes).expect("room");
    let stale = open(folder.path(), json!({})).expect("it is whole");
    assert!(stale.notes()[0].contains("0.tar.vidx is not used: the shard has changed since"), "{:?}", stale.notes());
    assert_eq!(stale.problems()[0].reason, "damaged header", "the shard itself is looked at");
    std::fs::write(&beside, b"rubbish").expect("room");
    assert!(open(folder.path(), json!({})).expect("it is whole").notes()[0].contains("it is cut"));
}

#[test]
fn what_is_said_of_the_number_of_samples_is_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["0.tar", "1.tar"] {
        shard(folder.path(), name, &[("0.jpg", b"J"), ("0.txt", b"a"), ("1.jpg", b"J")]);
    }
    let notes = |files: &[(&str, &str)]| -> String {
        files.iter().for_each(|(name, text)| std::fs::write(folder.path().join(name), text).expect("room"));
        let notes = open(folder.path(), json!({})).expect("it is whole").notes().join("|");
        files.iter().for_each(|(name, _)| std::fs::remove_file(folder.path().join(name)).expect("it is there"));
        notes
    };
    for (files, wanted, why) in [
        (&[][..], "", "nothing is said"),
        (&[("sizes.json", r#"{"0.tar": 2, "1.tar": "2", "9.tar": 7}"#), ("__len__", "9")], "", "right; sizes.json goes first"),
        (&[("sizes.json", r#"{"0.tar": 3, "1.tar": 4}"#)], "(0.tar: 3, found 2; so do 1 more); what is there counts", "both wrong"),
        (&[("sizes.json", r#"{"0.tar": 2}"#)], "has no number for 1 of 2 shards", "one is not listed"),
        (&[("sizes.json", "[2, 2]")], "is no JSON object", "a list"),
        (&[("__len__", "4\n")], "", "the right sum"),
        (&[("__len__", "5")], "says 5 samples, and the 2 shards listed hold 4", "a wrong sum"),
        (&[("__len__", "many")], "holds no number", "a word"),
    ] {
        let notes = notes(files);
        assert!(notes.contains(wanted) && wanted.is_empty() == notes.is_empty(), "{why}: {notes}");
    }
}

#[test]
fn parts_are_drawn_at_their_factors() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, count) in [("a0.tar", 3), ("a1.tar", 2), ("b.tar", 4)] {
        let names: Vec<[String; 2]> = (0..count).map(|at| [format!("{at}.jpg"), format!("{at}.txt")]).collect();
        let members: Vec<(&str, &[u8])> = names.iter().flatten().map(|name| (name.as_str(), &b"x"[..])).collect();
        shard(folder.path(), name, &members);
    }
    for shards in [json!("a{0..1}.tar::b.tar"), json!(["a{0,1}.tar", "b.tar"])] {
        let source = open(folder.path(), json!({"shards": shards, "upsampling": [2.0, 1.0]})).expect("it is whole");
        assert_eq!(source.shares(), [Share { samples: 5, weight: 2.0 }, Share { samples: 4, weight: 1.0 }]);
    }
    assert_eq!(open(folder.path(), json!({})).expect("it is whole").shares(), [Share { samples: 9, weight: 1.0 }]);
    for (factors, wanted, why) in [
        (json!([2.0]), "1 factors and `shards` 2 parts", "one is missing"),
        (json!([1.0, 0.0]), "`upsampling` holds 0", "never drawn"),
        (json!([1.0, -2.0]), "above 0", "negative"),
    ] {
        let error = open(folder.path(), json!({"shards": "a0.tar::b.tar", "upsampling": factors})).expect_err(why).to_string();
        assert!(error.contains(wanted), "{why}: {error}");
    }
}

#[test]
fn strict_refuses_what_is_otherwise_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    type Faulty<'a> = (&'a str, &'a [(&'a str, &'a [u8])], Option<&'a str>);
    let cases: [Faulty<'_>; 4] = [
        ("lacks.tar", &[("0.jpg", b"J"), ("0.txt", b"a"), ("1.jpg", b"J"), ("README", b"")], None),
        (
            "mixed.tar",
            &[("0.jpg", b"J"), ("1.jpg", b"J"), ("0.txt", b"a"), ("1.txt", b"b"), ("2.jpg", b"J"), ("2.txt", b"c")],
            Some("mixed"),
        ),
        ("twice.tar", &[("0.jpg", b"J"), ("0.txt", b"a"), ("0.jpg", b"J"), ("0.txt", b"b")], Some("repeated suffix")),
        ("cut.tar", &[("0.jpg", b"J"), ("0.txt", b"a"), ("1.jpg", b"J"), ("1.txt", b"b")], Some("truncated shard")),
    ];
    for (name, members, fault) in cases {
        shard(folder.path(), name, members);
        if name == "cut.tar" {
            let file = File::options().write(true).open(folder.path().join(name)).expect("it is there");
            file.set_len(5 * 512).expect("room");
        }
        assert!(open(folder.path(), json!({"shards": name})).is_ok(), "{name}");
        match (open(folder.path(), json!({"shards": name, "strict": true})), fault) {
            (Ok(_), None) => {}
            (Err(error), Some(fault)) => assert!(error.to_string().contains(fault), "{name}: {error}"),
            (result, _) => panic!("{name}: {result:?}"),
        }
    }
}

#[test]
fn texts_have_a_largest_length() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = vec![b'a'; MAX_TEXT as usize + 1];
    shard(folder.path(), "0.tar", &[("0.jpg", b"J"), ("0.txt", &long), ("1.jpg", b"J"), ("1.txt", &long[1..])]);
    let reasons = |options: serde_json::Value| -> Vec<&str> {
        let source = open(folder.path(), options).expect("it is whole");
        (0..2).map(|at| source.read(at).map_or_else(|bad| bad.reason, |_| "none")).collect()
    };
    assert_eq!(reasons(json!({})), ["text too large", "none"]);
    assert_eq!(reasons(json!({"max_text_bytes": 2_000_000})), ["none", "none"]);
    assert_eq!(reasons(json!({"max_text_bytes": 9})), ["text too large", "text too large"]);
    let error = open(folder.path(), json!({"max_text_bytes": 0})).expect_err("out of range").to_string();
    assert!(error.contains("lies between 1 and 268435456"), "{error}");
}

#[test]
fn links_are_told_because_they_hold_no_data() {
    let folder = tempfile::tempdir().expect("a folder");
    shard(folder.path(), "0.tar", &[("0.jpg", b"J"), ("0.txt", b"a"), ("1.txt", b"b")]);
    let path = folder.path().join("0.tar");
    let mut bytes = std::fs::read(&path).expect("it is there");
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Link);
    header.set_path("1.jpg").expect("it is short");
    header.set_link_name("0.jpg").expect("it is short");
    header.set_size(0);
    header.set_cksum();
    bytes.splice(2048..2048, header.as_bytes().iter().copied());
    std::fs::write(&path, &bytes).expect("room");
    let source = open(folder.path(), json!({})).expect("one is whole");
    assert_eq!(source.notes(), ["0.tar: 1 × hard link, which holds nothing that is read; the first is `1.jpg`"]);
    assert_eq!(problems(&*source), [("0.tar:1".to_owned(), "no image")]);
}
