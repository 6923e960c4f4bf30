use std::path::Path;
use std::sync::Arc;

use super::super::npy;
use super::super::webdataset::tests::shard;
use super::*;
use crate::data::testing::open_for;
use vlhub_core::{Want, Wants};
use vlhub_sdk::testkit::source::every_law;

fn open(folder: &Path) -> Result<Arc<dyn Source>> {
    open_for(&json!({"use": "clip_benchmark", "path": "wds_set"}), folder, Wants::WHATEVER.picture(Want::Required))
}

/// A folder `wds_set` with files beside its two shards, and in each shard the members of one sample.
fn dataset(files: &[(&str, &str)], samples: [&[(&str, &[u8])]; 2]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("wds_set");
    std::fs::create_dir_all(root.join("test")).expect("the disk has room");
    for (name, text) in files {
        std::fs::write(root.join(name), text).expect("the disk has room");
    }
    for (number, members) in samples.iter().enumerate() {
        shard(&root.join("test"), &format!("{number}.tar"), members);
    }
    folder
}

#[test]
fn classes_templates_and_groups_come_with_a_classification_set() {
    let groups = npy::write(&[4, 2016]);
    let folder = dataset(
        &[
            ("test/nshards.txt", "2\n"),
            ("classnames.txt", "tench\n goldfish \n"),
            ("zeroshot_classification_templates.txt", "a photo of a {c}.\nart of the {c}.\n"),
        ],
        [&[("s0.webp", b"WEBP"), ("s0.cls", b"1")], &[("s1.jpg", b"JPG"), ("s1.cls", b"0"), ("s1.npy", &groups)]],
    );
    let source = open(folder.path()).expect("it is whole");
    assert_eq!((source.len(), source.classes()), (2, &["tench", "goldfish"].map(str::to_owned)[..]));
    assert_eq!(source.templates(), ["a photo of a {c}.", "art of the {c}."]);
    let caption = |at: usize| source.read(at).expect("it is whole").caption;
    assert_eq!((caption(0).labels, caption(0).texts), (vec![1], vec!["goldfish".to_owned()]));
    assert_eq!((caption(1).labels, caption(1).meta["npy"].as_str()), (vec![0], "[4.0,2016.0]"));
}

#[test]
fn captions_are_the_lines_of_a_retrieval_set() {
    let folder = dataset(
        &[("test/nshards.txt", "2"), ("dataset_type.txt", "retrieval\n")],
        [&[("s0.jpg", b"JPG"), ("s0.txt", b"a dog\na brown dog")], &[("s1.jpg", b"JPG"), ("s1.txt", b"a cat")]],
    );
    let source = open(folder.path()).expect("it is whole");
    let first = source.read(0).expect("it is whole").caption;
    assert_eq!((first.texts, first.labels, source.classes().len()), (vec!["a dog\na brown dog".to_owned()], vec![], 0));
    let options = ClipBenchmarkConfig { path: "wds_set".into(), ..ClipBenchmarkConfig::default() };
    assert!(every_law(&options, folder.path()).is_err(), "a source that is opened without a host cannot open its shards");
}

#[test]
fn several_classes_of_one_picture_are_read() {
    let (first, second, wrong) = (npy::write(&[1, 0, 1]), npy::write(&[0, 0, 0]), npy::write(&[1, 0]));
    let files = [("test/nshards.txt", "2"), ("dataset_type.txt", "multilabel"), ("classnames.txt", "car\nbus\ndog\n")];
    let folder = dataset(&files, [&[("s0.jpg", b"J"), ("s0.npy", &first)], &[("s1.jpg", b"J"), ("s1.npy", &second)]]);
    let source = open(folder.path()).expect("it is whole");
    let labels = |at: usize| source.read(at).expect("it is whole").caption.labels;
    assert_eq!((labels(0), labels(1)), (vec![0, 2], vec![]));
    let folder = dataset(&files, [&[("s0.jpg", b"J"), ("s0.npy", &wrong)], &[("s1.jpg", b"J"), ("s1.npy", &second)]]);
    let bad = open(folder.path()).expect("its index is whole").read(0).expect_err("two numbers");
    assert_eq!((bad.reason, bad.detail.as_str()), ("bad label", "2 numbers for 3 classes"));
}

#[test]
fn what_is_not_there_is_told_with_the_layout() {
    let sample: [&[(&str, &[u8])]; 2] = [&[("s0.jpg", b"J"), ("s0.cls", b"0")]; 2];
    let error = open(tempfile::tempdir().expect("a folder").path()).expect_err("nothing is there");
    assert!(error.is_absent() && error.to_string().contains("clip_benchmark_export_wds"), "{error}");
    for (files, wanted) in [
        (&[("test/nshards.txt", "3")][..], "1 of 3 shards are missing"),
        (&[("test/nshards.txt", "many")], "`many` is no number of shards"),
        (&[("dataset_type.txt", "retreival")], "did you mean `retrieval`?"),
    ] {
        let error = open(dataset(files, sample).path()).expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{error}");
    }
    assert_eq!(open(dataset(&[], sample).path()).expect("shards are found without their number").len(), 2);
}
