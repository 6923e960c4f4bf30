//! Gradient caching of towers with batch norm, through the command line.

use std::path::Path;

use crate::program::{must, run};

/// A ResNet, whose batch norms see chunks, and a text tower without batch norm.
const RESNET: &str = r#"
seed = 3
embed = 16
[backbone.image]
use = "resnet10t"
image_size = 32
[backbone.text]
use = "text_transformer"
context = 16
width = 16
layers = 1
heads = 2
[data.train]
use = "shapes"
samples = 32
size = 32
[objective.clip]
[train]
batch = 16
steps = 2
workers = 1
[schedule]
warmup = 0
"#;

/// The losses of a run, step by step, from its `metrics.jsonl`.
fn losses(folder: &Path, name: &str) -> Vec<f64> {
    let lines = std::fs::read_to_string(folder.join("logs").join(name).join("metrics.jsonl")).expect("it is there");
    let values = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a whole line"));
    values.filter_map(|value| value["loss"].as_f64()).collect()
}

/// Trains with chunks of `rows`; returns the losses and what was said.
fn train(folder: &Path, rows: u64, options: &[&str]) -> (Vec<f64>, String) {
    let name = format!("rows{rows}-{}", options.len());
    let (rows, named) = (format!("train.grad_cache.rows={rows}"), format!("name={name}"));
    let ran = run(folder, &[&["train", "run.toml", &named, &rows][..], options].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let log = std::fs::read_to_string(folder.join("logs").join(&name).join("out.log")).expect("it is there");
    (losses(folder, &name), log)
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), RESNET).expect("written");
    folder
}

#[test]
fn chunks_with_batch_norm_are_told_and_running_statistics_make_them_exact() {
    let folder = folder();
    let (plain, said) = train(folder.path(), 0, &[]);
    assert!(plain.len() == 2 && !said.contains("batch norm"), "{plain:?} {said}");
    let (chunked, said) = train(folder.path(), 4, &[]);
    assert!((chunked[0] - plain[0]).abs() > 1e-3, "chunks have statistics of their own: {chunked:?} and {plain:?}");
    let told = said.lines().find(|line| line.contains("WARN") && line.contains("batch norms")).unwrap_or_default();
    for part in ["backbone.image", "train.grad_cache.rows = 4", "batch of 16", "backbone.image.freeze_bn_stats = \"all\""] {
        assert!(told.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("backbone.text:"), "the text tower has none: {said}");

    let frozen = ["backbone.image.freeze_bn_stats=all"];
    let (plain, said) = train(folder.path(), 0, &frozen);
    assert!(said.contains("still mean 0 and variance 1"), "nothing was loaded: {said}");
    for rows in [4, 8] {
        let (chunked, said) = train(folder.path(), rows, &frozen);
        assert!(!said.contains("into chunks, and"), "{said}");
        // AdamW turns a gradient that is nearly zero, either way, into a whole step.
        for (step, tolerance) in [1e-5, 1e-3].into_iter().enumerate() {
            let apart = (chunked[step] - plain[step]).abs() / plain[step];
            assert!(apart <= tolerance, "rows {rows}, step {step}: {chunked:?} and {plain:?}");
        }
    }
}

#[test]
fn it_is_told_before_a_run_starts() {
    let folder = folder();
    let chunks = "train.grad_cache.rows=4";
    for command in [&["check", "run.toml", chunks][..], &["train", "run.toml", "--dry-run", chunks]] {
        let said = must(folder.path(), command);
        assert!(said.contains("warning: backbone.image: train.grad_cache.rows = 4"), "{command:?}: {said}");
        let frozen = must(folder.path(), &[command, &["backbone.image.freeze_bn_stats=all"][..]].concat());
        assert!(!frozen.contains("into chunks, and"), "{command:?}: {frozen}");
    }
    let json: serde_json::Value = serde_json::from_str(&must(folder.path(), &["check", "run.toml", "--json", chunks])).expect("JSON");
    assert!(json["warnings"][0].as_str().is_some_and(|warning| warning.contains("backbone.image")), "{json}");
    let json: serde_json::Value = serde_json::from_str(&must(folder.path(), &["check", "run.toml", "--json"])).expect("JSON");
    assert_eq!(json["warnings"], serde_json::json!([]));
    let wrong = run(folder.path(), &["check", "run.toml", "backbone.image.freeze_bn_stats=some"]);
    assert!(wrong.code == 2 && wrong.err.contains("`true`, `false` or \"all\""), "{}", wrong.err);
}

#[test]
fn a_chunk_of_one_value_for_each_channel_is_refused() {
    let folder = folder();
    let args = ["train", "run.toml", "--dry-run", "train.batch=17", "train.grad_cache.rows=8"];
    let ran = run(folder.path(), &args);
    assert!(ran.code != 0 && ran.err.contains("one value for each channel"), "{} {}", ran.out, ran.err);
    must(folder.path(), &[&args[..], &["backbone.image.freeze_bn_stats=all"]].concat());
}
