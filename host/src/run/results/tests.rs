use std::fs;

use image::RgbImage;
use serde_json::{Value, json};
use vlhub_core::{Answer, Example, MeanOf, ScoreColumn, Thumbnail};

use super::*;

/// Three classes, six samples; names and keys that a careless writer would break.
fn report() -> Report {
    let names = ["a, \"b\"", "<i>two</i>", "three"].map(str::to_owned).to_vec();
    let hits = vec![1.0, 0.0, 1.0, 1.0, 0.0, 0.25];
    let table = SampleTable {
        name: String::new(),
        keys: ["k,1", "k\n2", "k3", "k4", "k5", "k6"].map(str::to_owned).to_vec(),
        units: Vec::new(),
        classes: vec![0, 0, 1, 1, 2, 2],
        predicted: vec![0, 1, 1, 1, 1, 0],
        columns: vec![
            ScoreColumn { metric: "top1".into(), values: hits.clone(), mean: MeanOf::Rows },
            ScoreColumn { metric: "mean_per_class_recall".into(), values: hits, mean: MeanOf::Classes },
        ],
    };
    let picture = |shade: u8, side: u32| {
        Thumbnail::new(
            &RgbImage::from_pixel(side, side, image::Rgb([shade; 3])),
            Answer { text: "x".into(), score: Some(0.5), right: Some(true) },
        )
    };
    let example =
        Example { section: "Best".into(), title: "t".into(), pictures: vec![picture(9, 16), picture(200, 90)], texts: Vec::new() };
    let mut report = Report { samples: 6, classes: names, tables: vec![table], examples: vec![example], ..Report::default() };
    report.metric_with_chance("top1", 0.5, 0.25);
    report.metrics[0].interval = Some([0.2, 0.8]);
    report
}

#[test]
fn a_folder_has_every_file_and_the_line_names_them() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), &dir.path().join("results.jsonl"), "zero/shot", json!({"step": 7}), &report()).expect("written");
    let line: Value = serde_json::from_str(&fs::read_to_string(dir.path().join("results.jsonl")).expect("there")).expect("one line");
    assert_eq!((&line["name"], &line["step"], &line["interval"]["top1"]), (&json!("zero/shot"), &json!(7), &json!([0.2, 0.8])));
    assert_eq!(line["tables"], json!([{"name": "", "file": "per_sample/zero-shot.csv", "mean_of_classes": ["mean_per_class_recall"]}]));
    let order = fs::read_to_string(dir.path().join("confusion_matrix/zero-shot.order.csv")).expect("there");
    assert_eq!(order.lines().count(), 4, "a header and three classes: {order}");
    let matrix = matrix::from_csv(&fs::read(dir.path().join("confusion_matrix/zero-shot.csv")).expect("there")).expect("a matrix");
    assert_eq!(matrix.counts, [[1, 1, 0], [0, 2, 0], [1, 1, 0]], "counted from the samples, as the report has none");
}

#[test]
fn samples_come_back_from_csv_as_they_were() {
    let report = report();
    let about = TableFile { mean_of_classes: vec!["mean_per_class_recall".into()], ..TableFile::default() };
    let bytes = samples::to_csv(&report.tables[0], &report.classes).expect("written");
    assert!(bytes.starts_with(b"key,class,predicted,top1,mean_per_class_recall\n"), "{}", String::from_utf8_lossy(&bytes));
    let (table, names) = samples::from_csv(&bytes, &about).expect("read");
    assert_eq!((&table, &names), (&report.tables[0], &report.classes));
    let mut shared = report.tables[0].clone();
    shared.units = ["a, b", "a, b", "c", "", "", "c"].map(str::to_owned).to_vec();
    let bytes = samples::to_csv(&shared, &report.classes).expect("written");
    assert!(bytes.starts_with(b"key,class,predicted,unit,top1,"), "{}", String::from_utf8_lossy(&bytes));
    assert_eq!(samples::from_csv(&bytes, &about).expect("read").0, shared, "rows of one picture are still together");
    shared.units.pop();
    assert!(samples::to_csv(&shared, &report.classes).is_err(), "a unit is missing");
    let error = samples::from_csv(b"key,class,predicted,top1\na,,,many\n", &about).expect_err("no number").to_string();
    assert!(error.contains("line 2") && error.contains("many"), "{error}");
    let error = samples::from_csv(b"key,class,predicted\na,x,\nb,,\n", &about).expect_err("a class is missing").to_string();
    assert!(error.contains("others have none"), "{error}");
    assert!(samples::from_csv(b"name,top1\n", &about).is_err());
}

#[test]
fn classes_are_counted_as_scikit_learn_does() {
    let report = report();
    let rows = classes::of_table(&report.tables[0], &report.classes);
    // scikit-learn 1.9: precision_recall_fscore_support([0,0,1,1,2,2], [0,1,1,1,1,0]).
    let recalls: Vec<_> = rows.iter().map(|row| row.recall.expect("samples")).collect();
    assert_eq!(recalls, [0.5, 1.0, 0.0]);
    assert_eq!(rows.iter().map(|row| row.precision).collect::<Vec<_>>(), [Some(0.5), Some(0.5), None], "nothing is taken for the third");
    let f1: Vec<_> = rows.iter().map(|row| row.f1.expect("there")).collect();
    assert!((f1[1] - 2.0 / 3.0).abs() < 1e-12 && f1[0] == 0.5 && f1[2] == 0.0, "{f1:?}");
    assert_eq!(rows[2].mistaken, Some(("a, \"b\"".into(), 1)), "of equals the first");
    assert_eq!(rows[1].predicted, 4.0 / 6.0);
    assert_eq!(classes::from_csv(&classes::to_csv(&rows).expect("written")).expect("read"), rows);
    assert_eq!(classes::of_matrix(&matrix::of_table(&report.tables[0], &report.classes)), rows, "from the matrix likewise");
    assert!(classes::from_csv(b"class\n").is_err());
    let ranked: Vec<_> = classes::ranked(&rows).iter().map(|row| row.class.as_str()).collect();
    assert_eq!(ranked, ["three", "a, \"b\"", "<i>two</i>"]);
}

#[test]
fn examples_keep_their_pictures_and_forget_those_of_before() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut report = report();
    examples::write(dir.path(), "s", &report.examples).expect("written");
    let stored = examples::read(dir.path(), "s").expect("read");
    let files: Vec<_> = stored[0].pictures.iter().map(|picture| picture.file.clone()).collect();
    assert!(files[0].ends_with(".png") && files[1].ends_with(".jpg"), "small pictures are exact: {files:?}");
    assert!(files.iter().all(|file| dir.path().join(file).exists()));
    assert_eq!(stored[0].pictures[0].answer, examples::StoredAnswer { text: "x".into(), score: Some(0.5), right: Some(true) });
    report.examples[0].pictures.remove(1);
    examples::write(dir.path(), "s", &report.examples).expect("written");
    assert_eq!(fs::read_dir(dir.path().join("s")).expect("there").count(), 1);
    assert!(examples::read(dir.path(), "none").expect("no list").is_empty());
}

#[test]
fn a_table_of_results_grows_and_keeps_one_header() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("all.csv");
    let report = report();
    appended::append(&file, "a", "a.safetensors", &[("zero", &report)]).expect("written");
    let mut text = fs::read_to_string(&file).expect("there");
    // A kill in the middle of a line.
    text.push_str("b,b.safe");
    fs::write(&file, text).expect("written");
    appended::append(&file, "c", "c, 2", &[("zero", &report)]).expect("written");
    let expected = "run,checkpoint,suite,metric,value,low,high,samples,chance\na,a.safetensors,zero,top1,0.5,0.2,0.8,6,0.25\n\
                    c,\"c, 2\",zero,top1,0.5,0.2,0.8,6,0.25\n";
    assert_eq!(fs::read_to_string(&file).expect("there"), expected);
    fs::write(&file, "other,columns\n1,2\n").expect("written");
    let error = appended::append(&file, "a", "b", &[]).expect_err("another table").to_string();
    assert!(error.contains("name another file"), "{error}");
}

#[test]
fn an_evaluation_folder_is_of_one_model() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("out");
    let open = |path: &Path, measured: &str| folder::EvaluationFolder::open(path, measured, &[("version", "1".into())], "seed = 1\n");
    open(&path, "a").expect("new").add("s", json!({"weights": "raw"}), &report()).expect("written");
    open(&path, "a").expect("the same weights").add("t", json!({}), &report()).expect("written");
    assert_eq!(fs::read_to_string(path.join("results.jsonl")).expect("there").lines().count(), 2);
    assert!(open(&path, "b").expect_err("others").to_string().contains("measured of a"));
    fs::create_dir(path.join("checkpoints")).expect("made");
    assert!(open(&path, "a").expect_err("a run").to_string().contains("folder of a run"));
    assert!(open(dir.path(), "a").expect_err("a full folder").to_string().contains("other files"));
}
