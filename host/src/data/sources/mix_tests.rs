use std::path::Path;

use serde_json::{Value, json};
use vlhub_core::{Source, Want, Wants};
use vlhub_sdk::testkit::source::every_law;

use crate::data::testing::{open, open_for};

fn write(folder: &Path, name: &str, rows: &str) {
    std::fs::write(folder.join(name), rows).expect("room");
}

/// Two tables of captions whose classes overlap.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "one.csv", "title,label\na dog,dog\na cat,cat\na fox,fox\n");
    write(folder.path(), "two.csv", "title,label\na bee,bee\nsome cat,cat\n");
    folder
}

fn table(name: &str) -> Value {
    json!({"use": "csv", "path": name, "img_key": "", "label_key": "label"})
}

fn words(options: &Value, folder: &Path) -> vlhub_core::Result<std::sync::Arc<dyn Source>> {
    open_for(options, folder, Wants::NOTHING.text(Want::Required).label(Want::Optional))
}

fn rates(source: &dyn Source) -> Vec<(usize, f64)> {
    source.shares().iter().map(|share| (share.samples, share.weight)).collect()
}

#[test]
fn samples_follow_each_other_and_classes_are_matched_by_name() {
    let folder = folder();
    let mut two = table("two.csv");
    two["rate"] = json!(2.5);
    let mix = words(&json!({"use": "mix", "sources": [table("one.csv"), two]}), folder.path()).expect("it opens");
    assert_eq!((mix.len(), mix.classes()), (5, &["dog", "cat", "fox", "bee"].map(str::to_owned)[..]));
    let all: Vec<(String, i64)> = (0..5)
        .map(|index| {
            let raw = mix.read(index).expect("it is whole");
            assert_eq!(raw.key, mix.key(index));
            (raw.caption.texts[0].clone(), raw.caption.labels[0])
        })
        .collect();
    let expected = [("a dog", 0), ("a cat", 1), ("a fox", 2), ("a bee", 3), ("some cat", 1)];
    assert_eq!(all, expected.map(|(text, label)| (text.to_owned(), label)));
    assert_eq!(rates(mix.as_ref()), [(3, 1.0), (2, 2.5)]);
    let even = words(&json!({"use": "mix", "sources": [table("one.csv"), table("two.csv")]}), folder.path()).expect("it opens");
    assert_ne!(mix.fingerprint(), even.fingerprint(), "other rates are other data");
    let nested = |rate: f64| {
        let mut last = table("two.csv");
        last["rate"] = json!(rate);
        let inner = json!({"use": "mix", "sources": [table("one.csv"), table("two.csv")]});
        words(&json!({"use": "mix", "sources": [inner, last]}), folder.path()).expect("it opens").fingerprint()
    };
    assert_ne!(nested(1.0), nested(2.0), "the rate of a source behind one that has several");
}

#[test]
fn a_mix_keeps_the_laws_of_sources() {
    let folder = folder();
    write(folder.path(), "three.csv", "title,label\na bee,bee\n,cat\nsome cat,cat\n");
    let registry = vlhub_core::Registry::linked().expect("names are unique");
    let mix = json!({"use": "mix", "sources": [table("one.csv"), table("three.csv")]});
    // The laws build a source without a host, and a mix needs one; so they are held against one that is open.
    let source = open_for(&mix, folder.path(), Wants::NOTHING.text(Want::Required)).expect("it opens");
    assert_eq!((source.len(), source.problems().len()), (5, 1), "the row without a caption is told of");
    let alone = registry.get::<dyn Source>("mix").expect("it is listed").parse(&json!({"sources": [table("one.csv")], "schema": ""}));
    let error = every_law(alone.expect("it parses").as_ref(), folder.path()).expect_err("there is no host");
    assert!(error.contains("without a host"), "{error}");
}

#[test]
fn schema_files_of_vl_hub_are_read() {
    let folder = folder();
    let one = serde_json::to_string(&table("one.csv")).expect("it is a value");
    write(
        folder.path(),
        "schema.py",
        &format!("# ours\n{{'one': {{'train_data': {one}, 'train_num_samples': 3_000}},\n 'two': {{'train_data': {one}}},}}"),
    );
    write(
        folder.path(),
        "schema.toml",
        "[one]\ntrain_num_samples = 3000\n[one.train_data]\nuse = \"csv\"\npath = \"one.csv\"\nimg_key = \"\"\nlabel_key = \"label\"\n",
    );
    for (name, expected) in [("schema.py", vec![(3, 1000.0), (3, 1.0)]), ("schema.toml", vec![(3, 1000.0)])] {
        let mix = words(&json!({"use": "mix", "schema": name}), folder.path()).expect(name);
        assert_eq!(rates(mix.as_ref()), expected, "{name}");
    }
}

#[test]
fn what_makes_no_mix_is_refused_by_name() {
    let folder = folder();
    let path = folder.path();
    write(path, "numbers.csv", "title,label\na bee,3\n");
    for (name, text) in [
        ("list.py", "[1]"),
        ("empty.py", "{}"),
        ("key.py", "{'cc': {'data': 'x.tar'}}"),
        ("count.py", "{'cc': {'train_data': 'x.tar', 'train_num_samples': 0}}"),
        ("missing.py", "{'cc': {'train_data': 'x.tar'}}"),
    ] {
        write(path, name, text);
    }
    let mut still = table("one.csv");
    still["rate"] = json!(0);
    for (options, wanted) in [
        (json!({}), vec!["names no source"]),
        (json!({"sources": [table("one.csv")], "schema": "schema.py"}), vec!["give one"]),
        (json!({"sources": [table("one.csv"), table("nine.csv")]}), vec!["sources[1]", "nine.csv"]),
        (json!({"sources": [{"use": "cvs"}]}), vec!["sources[0]", "did you mean `csv`?"]),
        (json!({"sources": [still]}), vec!["sources[0]", "`rate` is a number above 0"]),
        (json!({"sources": [table("one.csv"), table("numbers.csv")]}), vec!["sources[1]", "numbers without names"]),
        (json!({"schema": "none.py"}), vec!["none.py"]),
        (json!({"schema": "list.py"}), vec!["list.py", "is a dictionary"]),
        (json!({"schema": "empty.py"}), vec!["empty.py", "names no data set"]),
        (json!({"schema": "key.py"}), vec!["`cc`", "`data` is not read"]),
        (json!({"schema": "count.py"}), vec!["`cc`", "above 0"]),
        (json!({"schema": "missing.py"}), vec!["cc", "x.tar"]),
    ] {
        let mut options = options;
        options["use"] = json!("mix");
        let error = words(&options, path).expect_err(&options.to_string()).to_string();
        for wanted in wanted {
            assert!(error.contains(wanted), "{options}: {error}");
        }
    }
    assert!(open(&json!({"use": "mix", "sources": [table("one.csv")]}), path).is_err(), "pictures are read, and there are none");
}

#[test]
fn labels_that_nobody_reads_need_no_names() {
    let folder = folder();
    write(folder.path(), "numbers.csv", "title,label\na dog,1\n");
    let options = json!({"use": "mix", "sources": [table("one.csv"), table("numbers.csv")]});
    let mix = open_for(&options, folder.path(), Wants::NOTHING.text(Want::Required)).expect("captions alone are read");
    assert_eq!(mix.len(), 4);
}
