//! What evaluations leave behind, and the pages made of it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::program::{SMALL, must, run};

/// A small run with a suite that measures pictures of four shapes.
fn trained() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    let suite = "[eval.shapes]\nuse = \"zeroshot\"\nevery = \"1 epoch\"\ndata = { use = \"shapes\", split = \"held_out\", samples = 48, size = 16 }\n";
    fs::write(folder.path().join("run.toml"), format!("{SMALL}\n{suite}")).expect("written");
    must(folder.path(), &["train", "run.toml"]);
    folder
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The files of a suite in a folder, and that they agree with each other.
fn check_files(folder: &Path, lines: &str) {
    let line: Value = serde_json::from_str(read(folder, lines).lines().last().expect("a line")).expect("JSON");
    let (value, bounds) = (line["metrics"]["top1"].as_f64().expect("top1"), &line["interval"]["top1"]);
    assert!(bounds[0].as_f64() <= Some(value) && Some(value) <= bounds[1].as_f64() && bounds[0].is_f64(), "{line}");
    let file = line["tables"][0]["file"].as_str().expect("a table");
    let mut table = csv::Reader::from_path(folder.join(file)).expect("a table");
    let head: Vec<String> = table.headers().expect("a header").iter().map(str::to_owned).collect();
    assert_eq!(head[..4], ["key", "class", "predicted", "top1"], "{head:?}");
    let rows: Vec<_> = table.records().map(|row| row.expect("a row")).collect();
    let right = rows.iter().filter(|row| row[1] == row[2]).count();
    assert_eq!((rows.len(), right as f64 / rows.len() as f64), (48, value), "the table has the metric's samples");
    let mut classes = csv::Reader::from_path(folder.join("per_class/shapes.csv")).expect("a table");
    let samples: u64 = classes.records().map(|row| row.expect("a row")[1].parse::<u64>().expect("a count")).sum();
    assert_eq!(samples, 48);
    let examples: Value = serde_json::from_str(&read(folder, "examples/shapes.json")).expect("JSON");
    for picture in examples.as_array().expect("a list").iter().flat_map(|example| example["pictures"].as_array().expect("pictures")) {
        let path = folder.join("examples").join(picture["file"].as_str().expect("a file"));
        assert!(image::open(&path).is_ok(), "{} is a picture", path.display());
    }
    for name in ["confusion_matrix/shapes.csv", "confusion_matrix/shapes.order.csv"] {
        assert!(read(folder, name).lines().count() > 2, "{name}");
    }
    for name in ["confusion_matrix/shapes.svg", "confusion_matrix/shapes.clustered.svg"] {
        assert!(read(folder, name).starts_with("<svg xmlns="), "{name}");
    }
}

#[test]
fn an_evaluation_leaves_the_files_of_a_run_and_tables_and_pages_are_made_of_them() {
    let folder = trained();
    let path = folder.path();
    check_files(&path.join("logs/small"), "checkpoints/results.jsonl");
    assert!(read(path, "logs/small/curves.svg").contains("Learning rate"));
    let page = read(path, "logs/small/report.html");
    for wanted in ["95 % interval", "Least recognised", "data:image/png;base64,", "Environment", "hardware threads"] {
        assert!(page.contains(wanted), "{wanted}");
    }

    let said = must(path, &["eval", "logs/small", "--out", "measured", "--save-results-to-csv", "all.csv"]);
    assert!(said.contains("95 % interval"), "{said}");
    must(path, &["eval", "logs/small", "--save-results-to-csv", "all.csv", "eval.shapes.data.samples=24"]);
    let measured = path.join("measured");
    check_files(&measured, "results.jsonl");
    let table = read(path, "all.csv");
    let head: Vec<&str> =
        table.lines().filter(|line| line.starts_with("run,checkpoint,suite,metric,value,low,high,samples,chance")).collect();
    assert_eq!(head.len(), 1, "one header:\n{table}");
    let metrics = (table.lines().count() - 1) / 2;
    assert!(metrics >= 2 && table.contains("\nsmall,") && table.contains(",48,") && table.contains(",24,"), "{table}");

    // The folder is read as a run's is.
    let again = must(path, &["report", "measured"]);
    assert!(again.contains("shapes top1") && again.contains("wrote measured/report.html"), "{again}");
    must(path, &["eval", "logs/small", "--out", "measured"]);
    assert_eq!(read(&measured, "results.jsonl").lines().count(), 2, "a second measurement of the same weights is added");
    let ran = run(path, &["eval", "logs/small", "--out", "logs/small"]);
    assert!(ran.code == 2 && ran.err.contains("the folder of a run") && ran.err.contains("another folder"), "{}", ran.err);
    let ran = run(path, &["eval", "run.toml", "--random-weights", "--out", "measured"]);
    assert!(ran.code == 2 && ran.err.contains("measured of"), "{}", ran.err);

    compared(path);
}

/// Every format of `compare`, on the run and others.
fn compared(path: &Path) {
    for (name, seed, lr) in [("again", "4", "1e-3"), ("slow", "3", "1e-5")] {
        must(path, &["train", "run.toml", &format!("name={name}"), &format!("seed={seed}"), &format!("optimizer.lr={lr}")]);
    }
    let runs = ["logs/small", "logs/again", "logs/slow"];
    let of = |more: &[&str]| must(path, &[&["compare"][..], &runs, more].concat());
    let said = of(&["--out", "page.html"]);
    assert!(said.contains("optimizer.lr") && said.contains("mean ± deviation over seeds"), "{said}");
    let page = read(path, "page.html");
    for wanted in ["Which differences are more than noise", "Results over seeds", "Accuracy against speed", "Options that differ"] {
        assert!(page.contains(wanted), "{wanted}");
    }
    assert!(!page.contains("<script") && !page.contains("https://"));
    let markdown = of(&["--format", "md"]);
    assert!(markdown.starts_with("# 3 runs compared") && markdown.contains("## Paired tests"), "{markdown}");
    let csv = of(&["--format", "csv"]);
    let mut table = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<_> = table.records().map(|row| row.expect("a row")).collect();
    assert!(rows.len() >= 6 && rows.iter().all(|row| row.len() == 15), "{rows:?}");
    let json: Value = serde_json::from_str(&of(&["--format", "json"])).expect("JSON");
    assert_eq!(json["groups"].as_array().map(Vec::len), Some(2), "two seeds of one, and another: {}", json["groups"]);
    assert!(json["tests"].as_array().is_some_and(|tests| !tests.is_empty()), "{}", json["remarks"]);
    of(&["--format", "md", "--out", "page.md"]);
    assert!(read(path, "page.md").starts_with("# 3 runs"));
    let ran = run(path, &["compare", "logs/small", "--baseline", "run.toml"]);
    assert!(ran.code == 2 && ran.err.contains("imagenet"), "{}", ran.err);
}
