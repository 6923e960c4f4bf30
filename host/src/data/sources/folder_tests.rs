use std::path::Path;
use std::sync::Arc;

use super::*;
use serde_json::json;

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
    crate::data::testing::open(&json!({"use": "imagefolder", "path": folder, "classes": classes}), Path::new("/"))
}

#[test]
fn classes_and_files_are_in_the_order_of_their_bytes() {
    let folder =
        tree(&["b/2.jpg", "b/10.JPG", "B/1.png", "a/deep/er/1.webp", "a/.hidden.jpg", "a/notes.txt", "stray.jpg", ".git/x.jpg"]);
    let source = open(folder.path(), json!(null)).expect("it is whole");
    assert_eq!(source.classes(), ["B", "a", "b"]);
    assert_eq!((0..source.len()).map(|at| source.key(at)).collect::<Vec<_>>(), ["B/1.png", "a/deep/er/1.webp", "b/10.JPG", "b/2.jpg"]);
    let reasons: Vec<_> = source.problems().iter().map(|bad| (bad.key.as_str(), bad.reason)).collect();
    assert_eq!(reasons, [("stray.jpg", "not in a class folder"), ("a/notes.txt", "not an image file")]);
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
    for (classes, wanted) in [
        (json!(["n1"]), "folder `n2` is no class"),
        (json!(["n1", "n2", "n3"]), "class `n3` has no folder"),
        (json!(["n1", "n2", "n2"]), "listed twice"),
        (json!(["tench"]), "1 names, but"),
    ] {
        let error = open(folder.path(), classes).expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn folders_that_cannot_be_right_are_refused() {
    for (files, wanted, why) in [
        (&["a/1.jpg", "b/notes.txt"][..], "b holds no picture", "an empty class"),
        (&["1.jpg"], "has no sub-folder", "pictures without classes"),
    ] {
        let folder = tree(files);
        let error = open(folder.path(), json!(null)).expect_err(why).to_string();
        assert!(error.contains(wanted), "{why}: {error}");
    }
    assert!(open(Path::new("/nowhere/at/all"), json!(null)).expect_err("no folder").to_string().contains("/nowhere/at/all"));
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
