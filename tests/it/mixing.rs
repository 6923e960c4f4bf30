//! The data engine through the command line: several sources as one, drawing with replacement, fast decoding, and what is told of the data.

use std::path::Path;

use serde_json::Value;
use vlhub_sdk::image::{Rgb, RgbImage};

use crate::program::{SMALL, must, run};

/// What the pictures are called: eight of the first table, four of the second. Words that a tokenizer gives back as they were.
const NAMES: [&str; 12] = ["dog", "cat", "fox", "cow", "pig", "hen", "bee", "owl", "car", "bus", "van", "jet"];

/// A run over a table of JPEGs, twelve of 96 × 80 pixels, with `classes.toml` and `fast.toml` beside it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (table, from, to) in [("one.csv", 0, 8u8), ("two.csv", 8, 12)] {
        let mut rows = String::from("filepath\ttitle\n");
        for number in from..to {
            let image = RgbImage::from_fn(96, 80, |x, y| Rgb([number.wrapping_mul(37), (x * 2) as u8, (y * 3) as u8]));
            image.save(folder.path().join(format!("{number}.jpg"))).expect("room");
            rows += &format!("{number}.jpg\tpicture of {}\n", NAMES[usize::from(number)]);
        }
        std::fs::write(folder.path().join(table), rows.replace("\t", ",")).expect("room");
    }
    let run = SMALL.replace("use = \"shapes\"\nsamples = 96\nsize = 16", "use = \"csv\"\npath = \"one.csv\"");
    let run = run.replace("batch = 16\nsteps = 14", "batch = 4\nsteps = 2");
    std::fs::write(folder.path().join("run.toml"), run).expect("room");
    folder
}

const MIX: &str =
    r#"data.train={ use = "mix", sources = [{ use = "csv", path = "one.csv" }, { use = "csv", path = "two.csv", rate = 6.0 }] }"#;

/// The captions of a step's batch.
fn captions(folder: &Path, step: usize, options: &[&str]) -> Vec<String> {
    let step = step.to_string();
    must(folder, &[&["data", "preview", "run.toml", "--step", &step], options].concat());
    let text = std::fs::read_to_string(folder.join("preview.txt")).expect("it is written");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn sources_are_mixed_at_their_rates_and_resumed_anywhere() {
    let folder = folder();
    let ran = run(folder.path(), &["train", "run.toml", "--dry-run", MIX]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("train.resampled = true"), "{}", ran.err);
    let drawn: Vec<String> =
        (0..15).flat_map(|step| captions(folder.path(), step, &[MIX, "train.resampled=true", "train.samples=60"])).collect();
    let second = drawn.iter().filter(|text| NAMES[8..].iter().any(|name| text.ends_with(name))).count();
    // Three of four are drawn from the second table: 45 of 60, with a standard deviation of 3.4.
    assert!(drawn.len() == 60 && (32..=57).contains(&second), "{second} of {}", drawn.len());
    must(folder.path(), &["train", "run.toml", MIX, "train.resampled=true", "train.samples=60"]);
    let kept = std::fs::read_to_string(folder.path().join("logs/small/config.toml")).expect("it is written");
    assert!(kept.contains("resampled = true") && kept.contains("rate = 6.0"), "{kept}");
}

#[test]
fn schema_files_name_the_sources() {
    let folder = folder();
    let table = |name: &str| format!(r#"{{"use": "csv", "path": "{name}"}}"#);
    let schema = format!(
        "{{'a': {{'train_data': {}, 'train_num_samples': 30}},\n 'b': {{'train_data': {}, 'train_num_samples': 10}}}}",
        table("one.csv"),
        table("two.csv")
    );
    std::fs::write(folder.path().join("schema.py"), schema).expect("room");
    let options = [r#"data.train={ use = "mix", schema = "schema.py" }"#, "train.resampled=true", "train.samples=40"];
    let drawn: Vec<String> = (0..10).flat_map(|step| captions(folder.path(), step, &options)).collect();
    assert_eq!(drawn.len(), 40);
    let first = drawn.iter().filter(|text| NAMES[..8].iter().any(|name| text.ends_with(name))).count();
    assert!((18..=40).contains(&first), "{first} of 40; 30 are expected");
}

#[test]
fn fast_decoding_changes_pixels_a_little_and_is_recorded() {
    let folder = folder();
    let picture = |mode: &str| {
        must(folder.path(), &["data", "preview", "run.toml", &format!("train.decode=\"{mode}\"")]);
        vlhub_sdk::image::open(folder.path().join("preview.png")).expect("it is a picture").into_rgb8()
    };
    let (exact, fast) = (picture("exact"), picture("fast"));
    assert_eq!(exact.dimensions(), fast.dimensions());
    let apart: u64 = exact.as_raw().iter().zip(fast.as_raw()).map(|(one, other)| u64::from(one.abs_diff(*other))).sum();
    let mean = apart as f64 / exact.as_raw().len() as f64;
    assert!(mean > 0.0 && mean < 2.0, "{mean} levels apart on average");
    must(folder.path(), &["train", "run.toml", "train.decode=\"fast\""]);
    let kept = std::fs::read_to_string(folder.path().join("logs/small/config.toml")).expect("it is written");
    assert!(kept.contains("decode = \"fast\""), "{kept}");
    let ran = run(folder.path(), &["train", "run.toml", "--dry-run", "train.decode=\"quick\"", "train.prefetch=\"much\""]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("train.decode") && ran.err.contains("`exact`") && ran.err.contains("no amount of memory"), "{}", ran.err);
}

#[test]
fn an_epoch_ends_with_what_it_did_not_use() {
    let folder = folder();
    let jpeg = std::fs::read(folder.path().join("3.jpg")).expect("it is there");
    std::fs::write(folder.path().join("3.jpg"), &jpeg[..jpeg.len() / 2]).expect("room");
    let ran = run(folder.path(), &["train", "run.toml", "train.max_bad_fraction=1.0"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("epoch 0: 1 samples not used: 1 truncated image"), "{}", ran.err);
}

#[test]
fn statistics_of_data_are_told() {
    let folder = folder();
    let json: Value = serde_json::from_str(&must(folder.path(), &["data", "stats", "one.csv", "--json"])).expect("it is JSON");
    assert_eq!((json["samples"].as_u64(), json["formats"]["jpg"].as_u64(), json["width"]["max"].as_f64()), (Some(8), Some(8), Some(96.0)));
    assert_eq!((json["words"]["p50"].as_f64(), json["context"].as_u64()), (Some(3.0), Some(77)));
    let text = must(folder.path(), &["data", "stats", "run.toml", "--samples", "4"]);
    assert!(text.contains("8 samples, 4 looked at, 0 of them unreadable") && text.contains("fill the context of 32 tokens"), "{text}");
    let ran = run(folder.path(), &["data", "stats", "none.csv"]);
    assert!(ran.code == 2 && ran.err.contains("none.csv"), "{}", ran.err);
}
