use std::path::Path;

use std::fs::File;
use std::sync::Arc;

use super::*;
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, BinaryArray, Float64Array, Int64Array, StringArray, StructArray};
use arrow_schema::{DataType, Field, Fields};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use vlhub_sdk::testkit::source::every_law;

const CAPTIONED: Wants = Wants { picture: Want::Required, text: Want::Required, ..Wants::WHATEVER };
const PICTURES: Wants = Wants { picture: Want::Required, ..Wants::NOTHING };

/// A column of pictures as Hugging Face writes them.
fn pictures(all: &[(Option<&[u8]>, Option<&str>)]) -> ArrayRef {
    let fields = Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)]);
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter(all.iter().map(|(bytes, _)| *bytes)));
    let paths: ArrayRef = Arc::new(StringArray::from_iter(all.iter().map(|(_, path)| *path)));
    Arc::new(StructArray::new(fields, vec![bytes, paths], None))
}

fn words(all: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from_iter(all.iter().copied()))
}

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>, properties: WriterProperties) {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).expect("columns");
    let mut writer = ArrowWriter::try_new(File::create(path).expect("room"), batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("room");
    writer.close().expect("room");
}

fn properties() -> parquet::file::properties::WriterPropertiesBuilder {
    WriterProperties::builder()
}

fn open(config: &ParquetConfig, folder: &Path, wants: Wants) -> Result<Box<dyn Source>> {
    config.build(&SourceCx { wants, ..SourceCx::new(folder) })
}

fn config(path: &str) -> ParquetConfig {
    ParquetConfig { path: Files::One(path.into()), ..ParquetConfig::default() }
}

/// Pictures of `rows` rows: each of `size` bytes that its number decides.
fn bytes(row: usize, size: usize) -> Vec<u8> {
    (0..size).map(|at| (row * 31 + at * 7 + at / 251) as u8).collect()
}

fn numbered(path: &Path, rows: usize, size: usize, properties: WriterProperties) {
    let all: Vec<Vec<u8>> = (0..rows).map(|row| bytes(row, size)).collect();
    let all: Vec<(Option<&[u8]>, Option<&str>)> = all.iter().map(|bytes| (Some(bytes.as_slice()), None)).collect();
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("caption {row}"))));
    let labels: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row as i64 % 3)));
    write(path, vec![("image", pictures(&all)), ("text", texts), ("label", labels)], properties);
}

#[test]
fn an_export_of_datasets_is_read_with_its_classes() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("b.jpg"), b"picture b").expect("room");
    let about = r#"{"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}"#;
    let properties = properties().set_key_value_metadata(Some(vec![KeyValue::new("huggingface".into(), about.to_string())])).build();
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("one"), None, Some(" "), Some("two")]);
    lists.append_value([Some("b")]);
    (0..3).for_each(|_| lists.append_null());
    let image = pictures(&[(Some(b"a"), Some("a.jpg")), (None, Some("b.jpg")), (None, None), (Some(b"d"), None), (Some(b"e"), None)]);
    let columns = vec![
        ("image", image),
        ("label", Arc::new(Int64Array::from(vec![Some(1), Some(-1), Some(0), Some(2), None])) as ArrayRef),
        ("text", Arc::new(lists.finish()) as ArrayRef),
        ("score", Arc::new(Float64Array::from(vec![Some(0.5), None, None, Some(f64::NAN), None])) as ArrayRef),
        ("embedding", pictures(&[(None, None); 5])),
    ];
    write(&folder.path().join("t.parquet"), columns, properties);
    let source = open(&config("t.parquet"), folder.path(), Wants::WHATEVER).expect("it is whole");
    assert_eq!((source.len(), source.labelled(), source.problems().len()), (5, true, 0));
    assert_eq!(source.classes(), ["cat", "dog"]);
    let raw = source.read(0).expect("it is right");
    assert_eq!((raw.key.as_str(), raw.picture), ("t.parquet:0", Some(Picture::Encoded(b"a".to_vec()))));
    assert_eq!(
        (raw.caption.texts, raw.caption.labels),
        (vec!["one".to_owned(), "two".to_owned()], vec![1]),
        "null and blank are no captions"
    );
    assert_eq!(raw.caption.meta.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(), ["image=a.jpg", "score=0.5"]);
    let raw = source.read(1).expect("it is right");
    assert_eq!((raw.picture, raw.caption.labels), (Some(Picture::Encoded(b"picture b".to_vec())), vec![]), "a path, and -1 is no label");
    assert!(!raw.caption.meta.contains_key("score"), "null is not there");
    let raw = source.read(2).expect("nothing is required");
    assert_eq!((raw.picture, raw.caption.texts, raw.caption.labels), (None, vec![], vec![0]));
    assert_eq!(source.read(3).expect_err("there are two classes").reason, "bad label");
    assert!(source.read(4).expect("it is right").caption.labels.is_empty());
    let source = open(&config("t.parquet"), folder.path(), CAPTIONED.label(Want::Required)).expect("it is whole");
    let reasons: Vec<_> = (0..5).map(|index| source.read(index).map_or_else(|bad| bad.reason, |_| "none")).collect();
    assert_eq!(reasons, ["none", "no label", "no caption", "bad label", "no label"]);
    let source = open(&config("t.parquet"), folder.path(), PICTURES).expect("it is whole");
    assert_eq!(source.read(2).expect_err("a picture is required").reason, "no image");
    assert!(source.read(0).expect("it is right").caption.texts.is_empty());
}

#[test]
fn every_row_is_the_same_in_any_order_and_in_any_layout() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("data")).expect("room");
    let layouts = [
        properties().set_max_row_group_row_count(Some(97)).set_compression(Compression::SNAPPY).build(),
        properties()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_data_page_size_limit(40_000)
            .set_write_batch_size(8)
            .build(),
        properties().set_max_row_group_row_count(Some(10)).set_dictionary_enabled(false).build(),
    ];
    for (number, layout) in layouts.into_iter().enumerate() {
        numbered(&folder.path().join(format!("data/train-{number:05}-of-00003.parquet")), 300, 20_000, layout);
    }
    for pattern in ["data", "data/train-*.parquet", "data/train-{00000..00002}-of-00003.parquet"] {
        let source = open(&ParquetConfig { cache_mb: 2, ..config(pattern) }, folder.path(), CAPTIONED).expect(pattern);
        assert_eq!(source.len(), 900, "{pattern}");
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let source = &source;
                scope.spawn(move || {
                    for step in 0..120 {
                        let index = (thread * 300 + step * 211) % 900;
                        let raw = source.read(index).expect("it is right");
                        let row = index % 300;
                        assert_eq!(raw.key, format!("data/train-{:05}-of-00003.parquet:{row}", index / 300));
                        assert_eq!(raw.picture, Some(Picture::Encoded(bytes(row, 20_000))), "row {row}");
                        assert_eq!(
                            (raw.caption.texts[0].as_str(), raw.caption.labels[0]),
                            (format!("caption {row}").as_str(), row as i64 % 3)
                        );
                    }
                });
            }
        });
    }
}

#[test]
fn pages_that_make_random_reads_dear_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let large = properties().set_data_page_size_limit(1 << 30).set_dictionary_enabled(false).set_compression(Compression::UNCOMPRESSED);
    numbered(&folder.path().join("large.parquet"), 500, 40_000, large.build());
    numbered(&folder.path().join("usual.parquet"), 500, 40_000, properties().set_dictionary_enabled(false).set_write_batch_size(8).build());
    let notes = |path: &str, cache_mb| {
        open(&ParquetConfig { cache_mb, ..config(path) }, folder.path(), PICTURES).expect("it is whole").notes().to_vec()
    };
    assert!(notes("large.parquet", 4)[0].contains("decodes about 19 MiB"), "{:?}", notes("large.parquet", 4));
    assert_eq!((notes("large.parquet", 256).len(), notes("usual.parquet", 4).len()), (0, 0), "all of it fits, or pages are small");
}

#[test]
fn a_damaged_page_costs_its_rows_and_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.parquet");
    let layout = properties().set_dictionary_enabled(false).set_data_page_size_limit(20_000).set_write_batch_size(1);
    numbered(&path, 100, 10_000, layout.set_compression(Compression::SNAPPY).build());
    let whole = std::fs::read(&path).expect("it is there");
    // A compressed page that is no longer one.
    let mut damaged = whole.clone();
    let at = whole.len() / 2;
    damaged[at..at + 3000].iter_mut().for_each(|byte| *byte = !*byte);
    std::fs::write(&path, &damaged).expect("room");
    let source = open(&ParquetConfig { cache_mb: 0, ..config("t.parquet") }, folder.path(), PICTURES).expect("its footer is whole");
    let read: Vec<Result<Raw, Bad>> = (0..100).map(|index| source.read(index)).collect();
    let lost = read.iter().filter(|raw| raw.is_err()).count();
    let wrong = read
        .iter()
        .enumerate()
        .filter(|(row, raw)| raw.as_ref().is_ok_and(|raw| raw.picture != Some(Picture::Encoded(bytes(*row, 10_000)))))
        .count();
    assert!((1..=12).contains(&(lost + wrong)), "{lost} lost, {wrong} of other bytes");
    assert!(read.iter().filter_map(|raw| raw.as_ref().err()).all(|bad| bad.reason == "corrupt table" && !bad.detail.is_empty()));
    for cut in [0, 3, 12, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).expect("room");
        let error = open(&config("t.parquet"), folder.path(), PICTURES).expect_err("it is cut").to_string();
        assert!(error.contains("t.parquet is no whole Parquet file"), "{cut}: {error}");
    }
}

#[test]
fn plain_tables_name_files_and_classes() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("in")).expect("room");
    std::fs::write(folder.path().join("in/a.jpg"), b"picture a").expect("room");
    let columns = vec![
        ("filepath", words(&[Some("a.jpg"), Some("a.jpg"), None, Some("b.jpg"), Some(" ")])),
        ("title", words(&[Some("nan"), None, Some("x"), Some("y"), Some("z")])),
        ("kind", words(&[Some("dog"), Some("cat"), Some("dog"), Some("7"), Some("1.5")])),
    ];
    write(&folder.path().join("in/t.parquet"), columns, properties().build());
    let named =
        ParquetConfig { img_key: "filepath".into(), caption_key: "title".into(), label_key: "kind".into(), ..config("in/t.parquet") };
    let source = open(&named, folder.path(), Wants::WHATEVER).expect("it is whole");
    assert_eq!(source.classes(), ["dog", "cat"], "in the order of the table");
    let first = source.read(0).expect("it is right");
    assert_eq!(
        (first.picture, first.caption.texts, first.caption.labels),
        (Some(Picture::Encoded(b"picture a".to_vec())), vec!["nan".to_owned()], vec![0])
    );
    assert_eq!(source.read(1).expect("it is right").caption.texts, Vec::<String>::new(), "null is not `nan`");
    assert_eq!(source.read(3).expect_err("7 is no class").reason, "bad label");
    let source = open(&ParquetConfig { label_key: String::new(), ..named.clone() }, folder.path(), PICTURES).expect("it is whole");
    let reasons: Vec<_> = (0..5).map(|index| source.read(index).map_or_else(|bad| bad.reason, |_| "none")).collect();
    assert_eq!(reasons, ["none", "none", "no image", "missing file", "no image"]);
    let classes = ParquetConfig { caption_key: String::new(), ..named };
    let source = open(&classes, folder.path(), CAPTIONED).expect("it is whole");
    assert_eq!(source.read(1).expect("it is right").caption.texts, ["cat"], "the class is the caption");
}

#[test]
fn what_cannot_be_right_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let texts = || words(&[Some("a")]);
    write(&folder.path().join("a.parquet"), vec![("image", pictures(&[(Some(b"a"), None)])), ("text", texts())], properties().build());
    write(&folder.path().join("b.parquet"), vec![("image", texts()), ("text", texts())], properties().build());
    write(&folder.path().join("none.parquet"), vec![("image", texts().slice(0, 0)), ("text", texts().slice(0, 0))], properties().build());
    std::fs::write(folder.path().join("c.parquet"), b"not one").expect("room");
    for (config, wanted) in [
        (config("gone.parquet"), "gone.parquet"),
        (config("c.parquet"), "is no whole Parquet file"),
        (config("a.parquet::b.parquet"), "b.parquet has other columns than a.parquet"),
        (config("none.parquet"), "none.parquet: no row"),
        (ParquetConfig { img_key: "imag".into(), ..config("a.parquet") }, "did you mean `image`?"),
        (ParquetConfig { caption_key: "image".into(), ..config("a.parquet") }, "a text or a list of texts is wanted"),
        (ParquetConfig { label_key: "image".into(), ..config("a.parquet") }, "a number, a name, or a list of them is wanted"),
        (config("http://host/a.parquet"), "http://host/a.parquet"),
        (config(""), "`path` names no file"),
    ] {
        let error = open(&config, folder.path(), CAPTIONED).expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let labels =
        open(&config("a.parquet"), folder.path(), PICTURES.label(Want::Required)).expect_err("there is no label column").to_string();
    assert!(labels.contains("`label_key` names column `label`, which is not there"), "{labels}");
}

#[test]
fn files_that_number_classes_otherwise_are_not_one_table() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, names) in [("a", r#"["cat", "dog"]"#), ("b", r#"["dog", "cat"]"#), ("c", r#"["cat", "dog"]"#)] {
        let about = format!(r#"{{"info": {{"features": {{"label": {{"names": {names}, "_type": "ClassLabel"}}}}}}}}"#);
        let properties = properties().set_key_value_metadata(Some(vec![KeyValue::new("huggingface".into(), about)])).build();
        numbered(&folder.path().join(format!("{name}.parquet")), 3, 10, properties);
    }
    let labelled = PICTURES.label(Want::Required);
    let error = open(&config("a.parquet::b.parquet"), folder.path(), labelled).expect_err("0 is two classes").to_string();
    assert!(error.contains("b.parquet numbers its classes otherwise than a.parquet"), "{error}");
    assert_eq!(open(&config("a.parquet::c.parquet"), folder.path(), labelled).expect("the same").classes(), ["cat", "dog"]);
    assert_eq!(open(&config("a.parquet::b.parquet"), folder.path(), PICTURES).expect("nobody reads them").len(), 6);
    let given =
        ParquetConfig { classes: Some(ClassNames::List(vec!["x".into(), "y".into(), "z".into()])), ..config("a.parquet::b.parquet") };
    assert_eq!(open(&given, folder.path(), labelled).expect("the user says").classes(), ["x", "y", "z"]);
}

#[test]
fn the_laws_of_sources_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    numbered(&folder.path().join("t.parquet"), 40, 100, properties().set_max_row_group_row_count(Some(7)).build());
    every_law(&config("t.parquet"), folder.path()).expect("every law");
    let classes = ParquetConfig { classes: Some(ClassNames::List(vec!["a".into(), "b".into(), "c".into()])), ..config("t.parquet") };
    every_law(&classes, folder.path()).expect("every law");
}
