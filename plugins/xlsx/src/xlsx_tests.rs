use super::*;
use rust_xlsxwriter::{Formula, Workbook};
use vlhub_sdk::testkit::source::every_law;

const CAPTIONED: Wants = Wants { picture: Want::Required, text: Want::Required, ..Wants::WHATEVER };

/// A folder with a picture `a.jpg` and a workbook of two sheets.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.jpg"), b"picture a").expect("room");
    let mut book = Workbook::new();
    let notes = book.add_worksheet();
    notes.set_name("notes").expect("a name").write(0, 0, "not a table").expect("room");
    let sheet = book.add_worksheet();
    sheet.set_name("pairs").expect("a name");
    // Two empty rows first, and a column without a name.
    for (column, name) in ["title", "filepath", "", "label", "size"].iter().enumerate() {
        sheet.write(2, column as u16, *name).expect("room");
    }
    for (row, (title, path, label, size)) in
        [("a dog", "a.jpg", "dog", 3.0), ("", "a.jpg", "cat", 2.5), ("nan", "a.jpg", "cat", 1e20), ("gone", "b.jpg", "dog", -1.0)]
            .iter()
            .enumerate()
    {
        let row = 3 + 2 * row as u32;
        sheet.write(row, 0, *title).expect("room").write(row, 1, *path).expect("room").write(row, 2, "unread").expect("room");
        sheet.write(row, 3, *label).expect("room").write(row, 4, *size).expect("room");
    }
    sheet.write(12, 0, "failed").expect("room").write_formula(12, 1, Formula::new("=1/0").set_result("#DIV/0!")).expect("room");
    sheet
        .write(13, 0, 7)
        .expect("room")
        .write(13, 1, "a.jpg")
        .expect("room")
        .write(13, 3, "dog")
        .expect("room")
        .write(13, 4, true)
        .expect("room");
    book.save(folder.path().join("t.xlsx")).expect("room");
    folder
}

fn config(label_key: &str) -> XlsxConfig {
    XlsxConfig { path: "t.xlsx".into(), sheet: "pairs".into(), label_key: label_key.into(), ..XlsxConfig::default() }
}

fn open(config: &XlsxConfig, folder: &Path, wants: Wants) -> Result<Box<dyn Source>> {
    config.build(&SourceCx { wants, ..SourceCx::new(folder) })
}

#[test]
fn rows_are_samples_and_what_is_wrong_with_others_is_told() {
    let folder = folder();
    let source = open(&config("label"), folder.path(), CAPTIONED).expect("some rows are right");
    let keys: Vec<String> = (0..source.len()).map(|index| source.key(index)).collect();
    assert_eq!(keys, ["t.xlsx:4", "t.xlsx:8", "t.xlsx:10", "t.xlsx:14"], "rows count as a spreadsheet shows them");
    assert_eq!(source.classes(), ["dog", "cat"]);
    let told: Vec<_> = source.problems().iter().map(|bad| (bad.place.as_str(), bad.reason)).collect();
    assert_eq!(told, [("t.xlsx:6", "empty caption"), ("t.xlsx:13", "failed formula")]);
    let first = source.read(0).expect("it is right");
    assert_eq!((first.picture, first.caption.texts), (Some(Picture::Encoded(b"picture a".to_vec())), vec!["a dog".to_owned()]));
    assert_eq!((first.caption.labels, first.caption.meta["size"].as_str()), (vec![0], "3"), "a whole number is one");
    assert!(!first.caption.meta.values().any(|value| value == "unread"), "{:?}", first.caption.meta);
    assert_eq!(source.read(1).expect("it is right").caption.texts, ["nan"], "`nan` is a word, not a hole");
    assert_eq!(source.read(2).expect_err("it is not there").reason, "missing file");
    let last = source.read(3).expect("it is right").caption;
    assert_eq!((last.texts, last.meta["size"].as_str()), (vec!["7".to_owned()], "true"));
}

#[test]
fn what_cannot_be_right_is_refused() {
    let folder = folder();
    std::fs::write(folder.path().join("text.xlsx"), "filepath,title\n").expect("room");
    for (change, wanted) in [
        (
            &(|config: &mut XlsxConfig| config.sheet = "pars".into()) as &dyn Fn(&mut XlsxConfig),
            "did you mean `pairs`? it has: notes, pairs",
        ),
        (&|config| config.sheet = String::new(), "`filepath`, which is not there"),
        (&|config| config.caption_key = "titel".into(), "did you mean `title`?"),
        (&|config| config.path = "text.xlsx".into(), "is no workbook that can be read"),
        (&|config| config.path = "gone.xlsx".into(), "gone.xlsx"),
        (&|config| config.path = String::new(), "`path` is missing"),
    ] {
        let mut config = config("");
        change(&mut config);
        let error = open(&config, folder.path(), CAPTIONED).expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn the_laws_of_sources_hold() {
    let folder = folder();
    every_law(&config("label"), folder.path()).expect("every law");
}
