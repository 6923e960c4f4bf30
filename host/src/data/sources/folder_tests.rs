use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::data::testing::{CAPTIONED, PICTURES, open_for};
use serde_json::json;
use vlhub_sdk::testkit::source::every_law;

fn tree(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for file in files {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("room");
        std::fs::write(path, file).expect("room");
    }
    folder
}

fn open(folder: &Path, classes: serde_json::Value) -> Result<Arc<dyn Source>> {
    open_wanting(CAPTIONED, folder, classes)
}

fn open_wanting(wants: Wants, folder: &Path, classes: serde_json::Value) -> Result<Arc<dyn Source>> {
    open_for(&json!({"use": "imagefolder", "path": folder, "classes": classes}), Path::new("/"), wants)
}

fn keys(source: &dyn Source) -> Vec<String> {
    (0..source.len()).map(|at| source.key(at)).collect()
}

#[test]
fn classes_and_files_are_in_the_order_of_their_bytes() {
    let folder = tree(&["b/2.jpg", "b/10.JPG", "B/1.png", "a/deep/er/1.webp", "a/.hidden.jpg", "a/notes.txt", "stray.jpg", ".git/x.jpg"]);
    let source = open(folder.path(), json!(null)).expect("it is whole");
    assert_eq!(source.classes(), ["B", "a", "b"]);
    assert_eq!((0..source.len()).map(|at| source.key(at)).collect::<Vec<_>>(), ["B/1.png", "a/deep/er/1.webp", "b/10.JPG", "b/2.jpg"]);
    let reasons: Vec<_> = source.problems().iter().map(|bad| (bad.key.as_str(), bad.reason)).collect();
    assert_eq!(reasons, [("a/notes.txt", "not an image file"), ("stray.jpg", "not in a class folder")]);
    let raw = source.read(2).expect("it is there");
    assert_eq!((raw.caption.labels[0], raw.caption.texts[0].as_str()), (2, "b"));
    assert_eq!(raw.picture, Some(Picture::Encoded(b"b/10.JPG".to_vec())));
}

#[test]
fn class_names_give_an_order_or_better_names() {
    let folder = tree(&["n1/1.jpg", "n2/1.jpg"]);
    let label = |classes| {
        let source = open(folder.path(), classes).expect("it is whole");
        (0..2).map(|at| format!("{}={}", source.key(at), source.read(at).expect("it is there").caption.texts[0])).collect::<Vec<_>>()
    };
    assert_eq!(label(json!(["n2", "n1"])), ["n2/1.jpg=n2", "n1/1.jpg=n1"], "the names of the folders are an order");
    assert_eq!(label(json!(["tench", "shark"])), ["n1/1.jpg=tench", "n2/1.jpg=shark"], "other names are names");
    assert_eq!(label(json!(["n0", "n2", "n1"])), ["n2/1.jpg=n2", "n1/1.jpg=n1"], "a class without pictures keeps its label");
    for (classes, wanted) in
        [(json!(["n1"]), "folder `n2` is no class"), (json!(["n1", "n2", "n2"]), "listed twice"), (json!(["tench"]), "1 names, but")]
    {
        let error = open(folder.path(), classes).expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn folders_that_cannot_be_right_are_refused() {
    for (files, wanted, why) in
        [(&["a/notes.txt"][..], "holds no picture", "nothing"), (&["1.jpg"], "has no sub-folder", "pictures without classes")]
    {
        let folder = tree(files);
        let error = open(folder.path(), json!(null)).expect_err(why).to_string();
        assert!(error.contains(wanted), "{why}: {error}");
    }
    assert!(open(Path::new("/nowhere/at/all"), json!(null)).expect_err("no folder").to_string().contains("/nowhere/at/all"));
}

#[test]
fn pictures_alone_need_no_classes() {
    let flat = tree(&["2.png", "10.png", "notes.txt"]);
    let source = open_wanting(PICTURES, flat.path(), json!(null)).expect("there are pictures");
    assert_eq!(keys(&*source), ["10.png", "2.png"]);
    assert_eq!(source.problems()[0].reason, "not an image file");
    let raw = source.read(0).expect("it is there");
    assert!(raw.picture.is_some() && raw.caption == Caption::default());
    let mixed = tree(&["b/1.png", "a/1.tif", "stray.jpg"]);
    let source = open_wanting(PICTURES, mixed.path(), json!(["no", "such", "classes"])).expect("nobody asks for classes");
    assert_eq!(keys(&*source), ["a/1.tif", "b/1.png", "stray.jpg"]);
    let labels = PICTURES.label(Want::Required);
    let read = |wants| open_wanting(wants, mixed.path(), json!(null)).expect("two classes").read(1).expect("it is there").caption;
    assert_eq!((read(labels).labels, read(labels).texts.len()), (vec![1], 0), "a label, and no caption that nobody reads");
}

#[test]
fn a_class_without_pictures_keeps_its_label_and_is_told() {
    let folder = tree(&["a/notes.txt", "b/1.jpg"]);
    let source = open(folder.path(), json!(null)).expect("one has a picture");
    assert_eq!((source.classes().len(), source.read(0).expect("it is there").caption.labels[0]), (2, 1));
    assert!(source.notes()[0].contains("1 of 2 class folders") && source.notes()[0].ends_with(": a"), "{:?}", source.notes());
}

#[test]
fn numbered_folders_are_matched_by_number() {
    let files: Vec<String> = (0..12).map(|number| format!("{number}/1.jpg")).collect();
    let folder = tree(&files.iter().map(String::as_str).collect::<Vec<_>>());
    let names: Vec<String> = (0..12).map(|number| format!("class {number}")).collect();
    let source = open(folder.path(), json!(names)).expect("numbers from 0");
    for at in 0..12 {
        let raw = source.read(at).expect("it is there");
        let number = raw.key.split('/').next().expect("a folder").to_owned();
        assert_eq!(raw.caption.texts, [format!("class {number}")]);
        assert_eq!(raw.caption.labels[0].to_string(), number);
    }
}

#[test]
fn the_laws_of_sources_hold() {
    let folder = tree(&["b/2.jpg", "b/10.jpg", "a/1.webp", "c/notes.txt", "stray.jpg"]);
    let config = FolderConfig { path: folder.path().display().to_string(), ..FolderConfig::default() };
    every_law(&config, Path::new("/")).expect("every law");
}

#[test]
fn a_loop_of_links_ends_and_a_folder_named_like_a_picture_is_no_picture() {
    let folder = tree(&["a/1.jpg", "a/2.jpg/3.png"]);
    std::os::unix::fs::symlink(folder.path().join("a"), folder.path().join("a/loop")).expect("a link");
    let source = open(folder.path(), json!(null)).expect("it ends");
    assert!(source.len() == 2 && source.problems().iter().any(|bad| bad.reason == "loop of links"));
    std::fs::remove_file(folder.path().join("a/1.jpg")).expect("it was there");
    assert_eq!(source.read(0).expect_err("it is gone").reason, "missing file");
    std::fs::create_dir(folder.path().join("a/1.jpg")).expect("room");
    assert_eq!(source.read(0).expect_err("it is a folder").reason, "not a file");
}

#[test]
fn a_part_of_a_folder_is_chosen_without_moving_any_file() {
    let names: Vec<String> = (0..8).flat_map(|class| (0..10).map(move |number| format!("c{class}/{number}.jpg"))).collect();
    let folder = tree(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let open = |options: serde_json::Value| {
        let mut table = json!({"use": "imagefolder", "path": folder.path()});
        table.as_object_mut().expect("a table").extend(options.as_object().expect("a table").clone());
        open_for(&table, Path::new("/"), CAPTIONED).expect("it is whole")
    };
    let all = open(json!({}));
    let part = open(json!({"max_classes": 3, "max_samples_per_class": 4}));
    assert_eq!((all.len(), part.len(), part.classes().len(), part.problems().len()), (80, 12, 3, 0));
    assert!(part.notes()[0].contains("3 of 8 class folders") && part.notes()[0].contains("12 of their 30 pictures"), "{:?}", part.notes());
    assert!(keys(&*part).is_sorted() && keys(&*part) == keys(&*open(json!({"max_classes": 3, "max_samples_per_class": 4}))));
    for at in 0..12 {
        let raw = part.read(at).expect("it is there");
        let class = &part.classes()[raw.caption.labels[0] as usize];
        assert!(raw.key.starts_with(class.as_str()) && raw.caption.texts == [class.clone()], "labels are those of the chosen: {}", raw.key);
    }
    let more = open(json!({"max_classes": 5, "max_samples_per_class": 6}));
    assert!(keys(&*part).iter().all(|key| keys(&*more).contains(key)), "fewer are among more");
    let other = open(json!({"max_classes": 3, "max_samples_per_class": 4, "choice_seed": 1}));
    assert!(keys(&*other) != keys(&*part) && other.fingerprint() != part.fingerprint());
    assert_eq!(open(json!({"max_classes": 99, "max_samples_per_class": 99})).fingerprint(), all.fingerprint(), "no more than there is");
    assert!(all.notes().is_empty());
    let named = open(json!({"classes": ["h", "g", "f", "e", "d", "c", "b", "a"], "max_classes": 2}));
    assert!(
        named.classes().iter().all(|name| name.len() == 1) && named.len() == 20,
        "given names stay with their folders: {:?}",
        named.classes()
    );
    let flat = tree(&["1.jpg", "2.jpg", "3.jpg"]);
    let table = json!({"use": "imagefolder", "path": flat.path(), "max_samples_per_class": 2});
    assert_eq!(open_for(&table, Path::new("/"), PICTURES).expect("it is whole").len(), 2, "a folder without classes");
}
