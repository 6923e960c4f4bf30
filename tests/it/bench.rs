//! Speed and memory of parts of a run, through the command line. `bench train`, `data` and `tokens` are tested with what they measure.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use serde_json::Value;

use crate::program::{SMALL, must, run};

const SUITE: &str =
    "\n[eval.shapes]\nuse = \"zeroshot\"\nevery = \"end\"\ndata = { use = \"shapes\", split = \"held_out\", samples = 48, size = 16 }\n";

/// A folder with the small run and a suite.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), SMALL.to_owned() + SUITE).expect("written");
    folder
}

#[track_caller]
fn json(folder: &Path, args: &[&str]) -> Value {
    let text = must(folder, &[&["bench"], args, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[track_caller]
fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("no number `{name}` in {value}"))
}

#[track_caller]
fn above_zero(value: &Value, names: &[&str]) {
    for name in names {
        assert!(number(value, name) > 0.0, "{name}: {value}");
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn names<'a>(value: &'a Value, list_name: &str) -> Vec<&'a str> {
    list(value, list_name).iter().filter_map(|part| part["name"].as_str()).collect()
}

/// Runs each line of arguments behind `bench` and `command`, and expects exit status 2 and these words.
fn refused(folder: &Path, command: &str, wrong: &[(&[&str], &str)]) {
    for (args, words) in wrong {
        let ran = run(folder, &[&["bench", command][..], *args].concat());
        assert!(ran.code == 2 && ran.err.contains(words), "{command} {args:?}: {words:?} is not in ({}) {}", ran.code, ran.err);
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
    }
}

/// Every file below a folder, with its size and when it was written.
fn files(folder: &Path) -> BTreeMap<String, (u64, SystemTime)> {
    let (mut folders, mut found) = (vec![folder.to_path_buf()], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("it is there").flatten() {
            let (path, about) = (entry.path(), entry.metadata().expect("it is there"));
            if about.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.display().to_string(), (about.len(), about.modified().expect("the system tells")));
            }
        }
    }
    found
}

#[test]
fn objectives_alone_are_measured_for_growing_batches() {
    let folder = folder();
    let path = folder.path();
    let all =
        json(path, &["loss", "clip", "objective/siglip", "--rows", "64,128,256", "--width", "32", "--repeat", "2", "--device", "cpu"]);
    assert_eq!((list(&all, "objectives").len(), all["repeat"].as_u64()), (2, Some(2)), "{all}");
    above_zero(&all, &["limit"]);
    for (speed, name) in list(&all, "objectives").iter().zip(["clip", "siglip"]) {
        assert_eq!((speed["objective"].as_str(), speed["width"].as_i64()), (Some(name), Some(32)));
        assert_eq!(speed["reads"], serde_json::json!(["image `main`", "text `main`"]));
        let points = list(speed, "points");
        assert_eq!(points.iter().filter_map(|point| point["rows"].as_i64()).collect::<Vec<_>>(), [64, 128, 256]);
        for point in points {
            above_zero(point, &["seconds", "peak", "gradients", "products", "gflop", "of_limit"]);
            assert!(number(point, "beside") >= 0.0 && number(point, "products") < 60.0, "{point}");
        }
        let grown = number(&points[2], "gflop") / number(&points[1], "gflop");
        assert!((grown - 4.0).abs() < 0.1, "{name}: the products grow with the square of the rows: {grown}");
        assert!(number(speed, "exponent").is_finite(), "{speed}");
    }
    // Tiles keep the logits out of memory, for four products instead of three.
    let beside = |options: &[&str]| {
        let args = [&["loss", "clip"], options, &["--rows", "1024", "--width", "16", "--repeat", "1", "--device", "cpu"]].concat();
        let speed = json(path, &args);
        assert!(speed["objectives"][0]["exponent"].is_null(), "one size: {speed}");
        let point = &speed["objectives"][0]["points"][0];
        let gflop = 4.0 * 2.0 * 1024.0 * 1024.0 * 16.0 / 1e9;
        assert!((number(point, "gflop") / gflop - 1.0).abs() < 0.01, "{point}: {gflop}");
        number(point, "beside")
    };
    assert!(beside(&["tile=64"]) * 2.0 < beside(&["tile=1024"]));
    let told = must(path, &["bench", "loss", "filip", "dim=8", "--rows", "4,8", "--tokens", "5x6", "--width", "16", "--repeat", "1"]);
    for words in ["filip, width 16, reads image `main` with tokens", "time grows with rows to the power", "GFLOP/s"] {
        assert!(told.contains(words), "{words:?} is not in\n{told}");
    }
    assert!(!path.join("logs").exists());
}

#[test]
fn the_objectives_of_a_run_are_measured_with_its_options_and_widths() {
    let folder = folder();
    let path = folder.path();
    let all = json(path, &["loss", "run.toml", "objective.siglip.weight=0.5", "--rows", "32,64", "--repeat", "1"]);
    let found: Vec<_> = list(&all, "objectives").iter().map(|speed| (speed["objective"].as_str(), speed["width"].as_i64())).collect();
    assert_eq!(found, [(Some("clip"), Some(16)), (Some("siglip"), Some(16))]);
    assert!(all["device"].as_str().is_some_and(|device| device.starts_with("Cpu, 1 threads")), "the run's threads: {all}");
    refused(
        path,
        "loss",
        &[
            (&["clp"], "did you mean `clip`?"),
            (&["filip"], "`--tokens 50x32`"),
            (&["filip", "--tokens", "50"], "such as `50x32`"),
            (&["clip", "tiles=3"], "tile"),
            (&["clip", "--rows", "0"], "--rows"),
            (&["clip", "--row", "8"], "--rows"),
            (&["clip", "--device", "gpu"], "known: auto cpu cuda"),
            (&["tile=3"], "name objectives"),
            (&["missing.toml"], "cannot read the run file `missing.toml`"),
            (&["rum.toml"], "did you mean `run.toml`?"),
            (&["run.toml", "clip"], "`run.toml` is a run"),
            (&["run.toml", "--width", "8"], "--width"),
            (&["distill", "teacher=big"], "`[teacher.big]`"),
            (&["classify", "classes=4", "mixup=0.5", "--rows", "8"], "`vlhub bench train` measures it in a run"),
        ],
    );
    assert_ne!(run(path, &["bench", "loss"]).code, 0);
}

#[test]
fn suites_are_measured_part_by_part_and_nothing_is_kept() {
    let folder = folder();
    let path = folder.path();
    let speed = json(path, &["eval", "run.toml", "--batch", "8"]);
    above_zero(&speed, &["limit", "threads"]);
    above_zero(&speed["embedding"], &["batch", "seconds", "images_per_second", "peak", "products", "gflop", "of_limit"]);
    assert_eq!((speed["embedding"]["batch"].as_u64(), list(&speed, "suites").len()), (Some(8), 1), "{speed}");
    let suite = &speed["suites"][0];
    assert_eq!((suite["name"].as_str(), suite["plugin"].as_str(), suite["samples"].as_u64()), (Some("shapes"), Some("zeroshot"), Some(48)));
    above_zero(suite, &["seconds", "decoded_per_second", "images", "images_per_second", "texts", "texts_per_second", "metrics", "gflop"]);
    above_zero(suite, &["tokens_given", "tokens_computed", "products"]);
    let parts = names(suite, "parts");
    for part in
        ["tokenising", "forward text", "means of classes", "waiting for pictures", "preparing pictures", "forward image", "intervals"]
    {
        assert!(parts.contains(&part), "{part}: {parts:?}");
    }
    let all: f64 = list(suite, "parts").iter().map(|part| number(part, "seconds")).sum();
    assert!(all <= number(suite, "seconds"), "parts do not lie within each other: {suite}");
    assert!(!names(suite, "operations").is_empty());
    let part = json(path, &["eval", "run.toml", "--samples", "12", "--suites", "shapes", "--repeat", "1"]);
    assert_eq!(part["suites"][0]["samples"].as_u64(), Some(12), "{part}");
    let told = must(path, &["bench", "eval", "run.toml", "--samples", "12"]);
    for words in ["encoding pictures alone:", "shapes (zeroshot): 12 samples", "tokens computed of", "forward image", "GFLOP/s"] {
        assert!(told.contains(words), "{words:?} is not in\n{told}");
    }
    assert!(!path.join("logs").exists() && !path.join(".cache").exists(), "{:?}", files(path).keys());
    std::fs::write(path.join("bare.toml"), SMALL).expect("written");
    refused(
        path,
        "eval",
        &[
            (&["run.toml", "--suites", "shpes"], "no suite is called `shpes`; did you mean `shapes`?"),
            (&["bare.toml"], "has no `[eval.…]` table"),
            (&["missing.toml"], "cannot read the run file `missing.toml`"),
            (&["run.toml", "--sampels", "8"], "--samples"),
            (&["run.toml", "--batch", "0"], "--batch"),
            (&["run.toml", "eval.shapes.templtes=[]"], "did you mean `templates`?"),
        ],
    );
}

#[test]
fn a_trained_run_is_measured_and_its_folder_is_left_as_it_is() {
    let folder = folder();
    let path = folder.path();
    must(path, &["train", "run.toml", "train.steps=2", "train.save_every=2"]);
    let before = files(&path.join("logs"));
    assert!(before.len() > 3, "{before:?}");
    let speed = json(path, &["eval", "logs/small", "--samples", "12"]);
    assert_eq!(speed["suites"][0]["samples"].as_u64(), Some(12), "{speed}");
    let started = json(path, &["start", "logs/small", "--repeat", "1"]);
    assert_eq!(started["batch"].as_u64(), Some(16), "{started}");
    above_zero(&json(path, &["memory", "logs/small", "--batches", "4"]), &["weights"]);
    above_zero(&json(path, &["loss", "logs/small", "--rows", "8", "--repeat", "1"]), &["limit"]);
    above_zero(&json(path, &["train", "logs/small", "--steps", "1"]), &["seconds"]);
    assert_eq!(files(&path.join("logs")), before);
    std::fs::create_dir(path.join("empty")).expect("made");
    for command in ["train", "start", "memory", "data"] {
        refused(path, command, &[(&["empty"], "`empty` is no run: it has no `config.toml`")]);
    }
    assert_ne!(run(path, &["bench", "eval", "empty"]).code, 0);
}

#[test]
fn the_start_of_a_run_is_told_stage_by_stage() {
    let folder = folder();
    let path = folder.path();
    let speed = json(path, &["start", "run.toml", "--repeat", "2"]);
    assert_eq!((speed["repeat"].as_u64(), speed["batch"].as_u64()), (Some(2), Some(16)));
    assert!(speed["device"].as_str().is_some_and(|device| device.starts_with("Cpu, 1 threads")), "{speed}");
    let stages = list(&speed, "stages");
    let found: Vec<_> = stages.iter().filter_map(|stage| stage["stage"].as_str()).collect();
    assert_eq!(found, ["loaded", "checked", "model", "data", "ready", "first_batch", "first_step"]);
    let mut before = 0.0;
    for stage in stages {
        let seconds = number(stage, "seconds");
        assert!(seconds > before && seconds < 300.0, "{speed}");
        assert!(number(stage, "fastest") <= seconds && seconds <= number(stage, "slowest"), "{stage}");
        if cfg!(target_os = "linux") {
            assert!(number(stage, "resident") > f64::from(1 << 20), "{stage}");
        }
        before = seconds;
    }
    let told = must(path, &["bench", "start", "run.toml", "--repeat", "1"]);
    for words in ["batch 16, median of 1 processes", "program and libtorch", "model built", "first step"] {
        assert!(told.contains(words), "{words:?} is not in\n{told}");
    }
    refused(
        path,
        "start",
        &[
            (&["missing.toml"], "cannot read the run file `missing.toml`"),
            (&["rum.toml"], "did you mean `run.toml`?"),
            (&["run.toml", "train.bach=3"], "did you mean `batch`?"),
            (&["run.toml", "--repeat", "0"], "--repeat"),
            // Found by the process that starts, and told by the one that measures.
            (&["run.toml", "data.train.samples=4", "--repeat", "1"], "data.train: "),
        ],
    );
    assert!(!path.join("logs").exists());
}

#[test]
fn the_memory_of_a_run_is_told_by_kind_and_by_row() {
    let folder = folder();
    let path = folder.path();
    let used = json(path, &["memory", "run.toml", "ema.decay=0.9", "--batches", "4,8,16"]);
    above_zero(&used, &["weights", "gradients", "optimizer", "mib_per_row", "mib_at_no_row"]);
    assert_eq!(
        (used["teachers"].as_i64(), &used["averages"]),
        (Some(0), &used["weights"]),
        "the average is as large as the weights: {used}"
    );
    // AdamW keeps two numbers for each parameter.
    assert!(number(&used, "optimizer") >= 2.0 * number(&used, "gradients"), "{used}");
    let batches = list(&used, "batches");
    assert_eq!(batches.iter().filter_map(|batch| batch["rows"].as_u64()).collect::<Vec<_>>(), [4, 8, 16]);
    assert_eq!(number(&batches[1], "batch"), 2.0 * number(&batches[0], "batch"));
    let kept: f64 = ["weights", "optimizer", "averages", "teachers"].iter().map(|kind| number(&used, kind)).sum();
    for pair in batches.windows(2) {
        assert!(number(&pair[0], "step") < number(&pair[1], "step"), "{used}");
    }
    for batch in batches {
        assert_eq!(number(batch, "total"), kept + number(batch, "batch") + number(batch, "step"), "{used}");
        assert!(number(batch, "step") > number(&used, "gradients"), "{used}");
    }
    // In chunks of which none keeps its graph, a row takes less.
    let chunks = json(path, &["memory", "run.toml", "train.grad_cache.rows=2", "--batches", "4,8,16"]);
    assert!(number(&chunks, "mib_per_row") < number(&used, "mib_per_row"), "{chunks} and {used}");
    assert!(json(path, &["memory", "run.toml", "--batches", "8"])["mib_per_row"].is_null());
    let told = must(path, &["bench", "memory", "run.toml", "--batches", "4,8"]);
    for words in ["optimiser states", "step, at most", "a row takes"] {
        assert!(told.contains(words), "{words:?} is not in\n{told}");
    }
    refused(
        path,
        "memory",
        &[
            (&["missing.toml"], "cannot read the run file `missing.toml`"),
            (&["run.toml", "--batches", "0"], "rows are a whole number from 1"),
            (&["run.toml", "--batches", "8,many"], "rows are a whole number from 1"),
            (&["run.toml", "--batch", "8"], "--batches"),
            (&["run.toml", "--batches", "4096"], "data.train: "),
        ],
    );
    assert!(!path.join("logs").exists());
}
