//! Tables and the policy of pictures through the command line: Parquet, workbooks, img2dataset's folders, a part of a folder, orientation and transparency.

use std::path::{Path, PathBuf};

use serde_json::Value;
use vlhub_sdk::image::{Rgb, RgbImage, Rgba, RgbaImage};

use crate::program::{SMALL, SMALL_DATA, must, run};

/// Files that `tests/golden/tables.py` wrote with Hugging Face `datasets` and pandas.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

/// A folder with a run file of CLIP without data.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let text = SMALL.replace(SMALL_DATA, "").replace("batch = 16\nsteps = 14", "batch = 4\nsteps = 2\nmax_bad_fraction = 0.5");
    std::fs::write(folder.path().join("clip.toml"), text).expect("written");
    folder
}

/// `vlhub data check`, whatever its exit status.
fn check(folder: &Path, args: &[&str]) -> Value {
    let ran = run(folder, &[&["data", "check"], args, &["--json"]].concat());
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {} {}", ran.out, ran.err))
}

#[test]
fn an_export_of_datasets_is_checked_trained_on_and_packed() {
    let folder = folder();
    let parquet = golden("tables.parquet");
    std::fs::create_dir(folder.path().join("data")).expect("room");
    std::fs::copy(&parquet, folder.path().join("data/train-00000-of-00001.parquet")).expect("room");
    for data in ["data", "data/train-00000-of-00001.parquet"] {
        let told = check(folder.path(), &[data]);
        assert_eq!((&told["samples"], &told["good"], &told["captions"]), (&12.into(), &11.into(), &11.into()), "{told}");
        assert_eq!(told["reasons"]["no caption"], 1, "the one that is null: {told}");
    }
    let train = ["train", "clip.toml", "data.train={use=\"parquet\",path=\"data\"}", "name=a", "schedule.warmup=0"];
    must(folder.path(), &train);
    let packed: Value = serde_json::from_str(&must(folder.path(), &["data", "pack", "data", "--out", "shards", "--json"])).expect("JSON");
    assert_eq!(packed["samples"], 12);
    let told = check(folder.path(), &["shards/00000.tar"]);
    let classes: Vec<&String> = told["classes"].as_object().expect("a table").keys().collect();
    assert_eq!(classes, ["cat", "dog", "sea horse"]);
    let ran = run(folder.path(), &["data", "check", "data", "img_key=imge"]);
    assert!(ran.out.contains("pictures alone: none, because") && ran.out.contains("did you mean `image`?"), "{} {}", ran.out, ran.err);
}

#[test]
fn a_workbook_is_a_table_of_files() {
    let folder = folder();
    std::fs::copy(golden("tables.xlsx"), folder.path().join("t.xlsx")).expect("room");
    for name in ["a.jpg", "b.jpg"] {
        RgbImage::from_pixel(20, 18, Rgb([90, 20, 10])).save(folder.path().join(name)).expect("room");
    }
    let told = check(folder.path(), &["t.xlsx", "sheet=pairs"]);
    assert_eq!((&told["samples"], &told["good"]), (&6.into(), &4.into()), "{told}");
    assert_eq!((&told["reasons"]["empty caption"], &told["reasons"]["no image"]), (&1.into(), &1.into()), "{told}");
    let ran = run(folder.path(), &["data", "check", "t.xlsx", "sheet=pars"]);
    assert!(ran.code == 2 && ran.err.contains("did you mean `pairs`?"), "{}", ran.err);
    must(
        folder.path(),
        &[
            "train",
            "clip.toml",
            "data.train={use=\"xlsx\",path=\"t.xlsx\",sheet=\"pairs\"}",
            "train.steps=1",
            "name=x",
            "schedule.warmup=0",
        ],
    );
}

#[test]
fn what_img2dataset_left_beside_its_shards_is_told() {
    let folder = folder();
    std::fs::create_dir_all(folder.path().join("out")).expect("room");
    let mut builder = tar::Builder::new(std::fs::File::create(folder.path().join("out/00000.tar")).expect("room"));
    RgbImage::from_pixel(20, 18, Rgb([90, 20, 10])).save(folder.path().join("p.jpg")).expect("room");
    let picture = std::fs::read(folder.path().join("p.jpg")).expect("it is there");
    for number in 0..5 {
        for (suffix, bytes) in [("jpg", picture.as_slice()), ("txt", b"a picture")] {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, format!("{number:09}.{suffix}"), bytes).expect("room");
        }
    }
    builder.finish().expect("room");
    let stats = |successes: u32| {
        format!(r#"{{"count": 8, "successes": {successes}, "status_dict": {{"success": {successes}, "HTTP Error 404": 2}}}}"#)
    };
    std::fs::write(folder.path().join("out/00000_stats.json"), stats(6)).expect("room");
    let told = check(folder.path(), &["out"]);
    let notes = told["notes"].to_string();
    assert!(told["good"] == 5 && notes.contains("00000: 5 of 6") && notes.contains("2 × HTTP Error 404"), "{told}");
    std::fs::write(folder.path().join("out/00000_stats.json"), stats(5)).expect("room");
    let ran = run(folder.path(), &["train", "clip.toml", "data.train={use=\"img2dataset\",path=\"out\"}", "--dry-run"]);
    assert!(ran.code == 0 && ran.out.contains("5 samples") && !ran.err.contains("another number"), "{} {}", ran.out, ran.err);
}

#[test]
fn a_part_of_a_folder_is_an_option_that_a_run_records() {
    let folder = folder();
    for class in 0..6 {
        for number in 0..5 {
            let path = folder.path().join(format!("set/c{class}/{number}.png"));
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("room");
            RgbImage::from_pixel(16, 16, Rgb([class * 40, number * 50, 0])).save(path).expect("room");
        }
    }
    let told = check(folder.path(), &["set", "max_classes=2", "max_samples_per_class=3"]);
    assert_eq!((&told["samples"], told["classes"].as_object().expect("a table").len()), (&6.into(), 2), "{told}");
    let data = "data.train={use=\"imagefolder\",path=\"set\",max_classes=2,max_samples_per_class=3}";
    must(folder.path(), &["train", "clip.toml", data, "name=part", "schedule.warmup=0"]);
    let recorded = std::fs::read_to_string(folder.path().join("logs/part/config.toml")).expect("it is there");
    assert!(recorded.contains("max_classes = 2") && recorded.contains("choice_seed = 0"), "{recorded}");
    assert_eq!(std::fs::read_dir(folder.path().join("set")).expect("it is there").count(), 6, "nothing was moved");
}

#[test]
fn orientation_and_transparency_are_options_that_a_run_records() {
    let folder = folder();
    // A picture that is half transparent, and one that is on its side: what they become is seen in a batch of one view.
    std::fs::create_dir(folder.path().join("set")).expect("room");
    RgbaImage::from_pixel(16, 16, Rgba([0, 0, 0, 0])).save(folder.path().join("set/0.png")).expect("room");
    let embed = |more: &[&str], out: &str| {
        must(folder.path(), &[&["embed", "--model", "clip.toml", "--random-weights", "--images", "set", "--out", out], more].concat());
        std::fs::read(folder.path().join(out)).expect("it was written")
    };
    let usual = embed(&[], "usual.safetensors");
    let white = embed(&["--alpha", "white"], "white.safetensors");
    assert_ne!(usual, white, "what was black is white");
    assert_eq!(embed(&["--alpha", "black"], "black.safetensors"), usual, "black under transparent black");
    assert_eq!(embed(&["alpha=white"], "said.safetensors"), white, "a run file says so too");
    let ran = run(folder.path(), &["embed", "--model", "clip.toml", "--random-weights", "--images", "set", "--out", "o", "--exif", "turn"]);
    assert!(ran.code == 2 && ran.err.contains("ignore, apply"), "{}", ran.err);
    let parquet = format!("data.train={{use=\"parquet\",path={:?}}}", golden("tables.parquet").display().to_string());
    must(folder.path(), &["train", "clip.toml", &parquet, "name=a", "exif=apply", "alpha=white", "sixteen_bit=pil", "schedule.warmup=0"]);
    let recorded = std::fs::read_to_string(folder.path().join("logs/a/config.toml")).expect("it is there");
    for line in ["exif = \"apply\"", "alpha = \"white\"", "sixteen_bit = \"pil\""] {
        assert!(recorded.contains(line), "{line}: {recorded}");
    }
    let resumed =
        run(folder.path(), &["train", "clip.toml", &parquet, "name=a", "alpha=white", "sixteen_bit=pil", "schedule.warmup=0", "--resume"]);
    assert!(
        resumed.code == 4 && resumed.err.contains("exif"),
        "pictures that are decoded otherwise are other data: {} {}",
        resumed.code,
        resumed.err
    );
}
