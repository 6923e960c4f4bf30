//! Suites of published data sets, through the command line.

use std::path::Path;

use serde_json::Value;
use vlhub_sdk::image::{ImageFormat, Rgb, RgbImage};

use crate::program::{HEAD, SMALL, must, run};

fn picture(path: &Path, shade: u8) {
    std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("made");
    let format = if path.extension().is_some_and(|suffix| suffix == "png") { ImageFormat::Png } else { ImageFormat::Jpeg };
    RgbImage::from_pixel(20, 18, Rgb([shade, 255 - shade, 40])).save_with_format(path, format).expect("written");
}

/// A folder with a run file and three data sets in their real layouts.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    std::fs::write(root.join("run.toml"), SMALL).expect("written");
    for (name, shade) in [("apple_pie/1", 10), ("apple_pie/2", 20), ("waffles/3", 200)] {
        picture(&root.join(format!("food-101/images/{name}.jpg")), shade);
    }
    std::fs::create_dir_all(root.join("food-101/meta")).expect("made");
    std::fs::write(root.join("food-101/meta/test.txt"), "apple_pie/1\napple_pie/2\nwaffles/3\n").expect("written");
    // ImageNet-A has 200 of ImageNet's classes; the third folder is none of them.
    for (wnid, shade) in [("n01498041", 10), ("n12267677", 200), ("n01440764", 90)] {
        picture(&root.join(format!("imagenet-a/{wnid}/a.jpg")), shade);
    }
    for (folder, shade) in [("alarm_clock", 10), ("backpack", 200), ("air_freshener", 90)] {
        picture(&root.join(format!("objectnet-1.0/images/{folder}/a.png")), shade);
    }
    folder
}

/// What the suites said, by their keys.
fn measured(folder: &Path, args: &[&str]) -> Value {
    let args = [&["eval", "run.toml", "--random-weights", "--json"][..], args].concat();
    let all: Value = serde_json::from_str(&must(folder, &args)).expect("JSON");
    let results = all["results"].as_array().expect("results").iter();
    results.map(|result| (result["name"].as_str().expect("a key").to_owned(), result.clone())).collect::<serde_json::Map<_, _>>().into()
}

fn metric(result: &Value, name: &str) -> f64 {
    let metrics = result["report"]["metrics"].as_array().unwrap_or_else(|| panic!("no report: {result}"));
    let found = metrics.iter().find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("no {name}: {result}"));
    found["value"].as_f64().expect("a number")
}

#[test]
fn data_sets_are_measured_by_their_names_and_absent_ones_told_with_their_layout() {
    let folder = folder();
    let results = measured(
        folder.path(),
        &[
            r#"eval.food101={path="."}"#,
            r#"eval.imagenet_a={path=".",templates=["a {}"],topk=[1,200]}"#,
            r#"eval.objectnet={path=".",ensemble=false,class_transform=["upper"],transform=["scramble_words"]}"#,
            r#"eval.heard={use="imagenet_a",path=".",templates=["{}"],subset="in100",classes="default_first"}"#,
            r#"eval.flowers102={path="gone"}"#,
            r#"eval.stanford_cars={data={use="stanford_cars",path="gone"}}"#,
        ],
    );
    assert_eq!(results["food101"]["report"]["samples"], 3);
    assert!((0.0..=1.0).contains(&metric(&results["food101"], "top1")), "{}", results["food101"]);
    let imagenet_a = &results["imagenet_a"];
    assert_eq!(imagenet_a["report"]["samples"], 2);
    assert_eq!(metric(imagenet_a, "top200"), 1.0, "a model chooses among 200 classes");
    let notes = imagenet_a["report"]["notes"].to_string();
    assert!(notes.contains("200 of 1000 classes are asked for") && notes.contains("n01440764"), "{notes}");
    assert_eq!(results["objectnet"]["report"]["samples"], 2);
    assert!(results["objectnet"]["report"]["notes"].to_string().contains("air_freshener"), "{}", results["objectnet"]);
    for (key, wanted) in [("flowers102", "jpg/image_00001.jpg"), ("stanford_cars", "cars_test_annos_withlabels.mat")] {
        let why = results[key]["why_not"].as_str().unwrap_or_else(|| panic!("it is absent: {}", results[key]));
        assert!(why.starts_with("absent: ") && why.contains("gone") && why.contains(wanted) && why.contains("https://"), "{why}");
    }
    let told = must(folder.path(), &["eval", "run.toml", "--random-weights", r#"eval.flowers102={path="gone"}"#]);
    assert!(told.contains("flowers102: absent: ") && told.contains("imagelabels.mat"), "{told}");
}

#[test]
fn a_run_keeps_where_its_data_sets_are() {
    let folder = folder();
    let root = folder.path();
    let suites = "[eval.food101]\npath = \".\"\n[eval.flowers102]\npath = \"gone\"\n[eval.flickr8k]\npath = \"gone\"\n";
    std::fs::write(root.join("run.toml"), format!("{SMALL}{suites}")).expect("written");
    let trained = run(root, &["train", "run.toml", "train.steps=2"]);
    assert!(trained.code == 0 && trained.err.contains("eval.flowers102 is absent"), "{}", trained.err);
    let line = std::fs::read_to_string(root.join("logs/small/checkpoints/results.jsonl")).expect("it is there");
    assert_eq!(line.lines().count(), 1, "what is absent has no numbers: {line}");
    // The run is measured again from what it says of itself, in any folder.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let told = must(elsewhere.path(), &["eval", root.join("logs/small").to_str().expect("a name"), "--json"]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let of = |name: &str| told["results"].as_array().expect("results").iter().find(|one| one["name"] == name).expect("measured").clone();
    assert_eq!(of("food101")["report"]["samples"], 3);
    for name in ["flowers102", "flickr8k"] {
        assert!(of(name)["why_not"].as_str().is_some_and(|why| why.starts_with("absent: ")), "{}", of(name));
    }
}

#[test]
fn what_is_wrong_with_a_data_set_or_an_option_is_told_before_anything_is_measured() {
    let folder = folder();
    for (suite, wanted) in [
        (r#"eval.food101={path="imagenet-a"}"#, "is not `food101` as it is published"),
        (r#"eval.food101={path=".",split="val"}"#, "`test` or `train`"),
        (r#"eval.food101={path=".",level="family"}"#, "unknown field `level`"),
        (r#"eval.food101={path=".",subset="in100"}"#, "`in100` is a subset of ImageNet's 1000 classes, and the data set has 2"),
        (r#"eval.food101={path=".",subset=["apple pi"]}"#, "did you mean `apple pie`?"),
        (r#"eval.food101={}"#, "`path` is missing"),
        (r#"eval.food102={path="."}"#, "did you mean `food101`?"),
        (r#"eval.food101={path=".",transform=["uper"]}"#, "did you mean `upper`?"),
    ] {
        let ran = run(folder.path(), &["eval", "run.toml", "--random-weights", suite]);
        assert_eq!(ran.code, 2, "{suite}\n{}\n{}", ran.out, ran.err);
        assert!(ran.err.contains(wanted), "{suite}\n{}", ran.err);
    }
}

#[test]
fn subsets_are_files_of_the_run_and_heads_choose_among_them() {
    let folder = folder();
    let root = folder.path();
    std::fs::write(root.join("head.toml"), HEAD).expect("written");
    for (class, shade) in [("ant", 0), ("bee", 80), ("cow", 160), ("dog", 240)] {
        (0..20).for_each(|number| picture(&root.join(format!("train/{class}/{number}.png")), shade + number % 4));
    }
    must(root, &["train", "head.toml"]);
    std::fs::write(root.join("some.txt"), "dog\nant\n").expect("written");
    let data = r#"data={use="imagefolder",path="train"}"#;
    let suites = [
        format!(r#"eval.all={{use="accuracy",{data}}}"#),
        format!(r#"eval.file={{use="accuracy",{data},subset="some.txt"}}"#),
        format!(r#"eval.numbers={{use="accuracy",{data},subset=[3,0]}}"#),
    ];
    let args: Vec<&str> =
        ["eval", "head.toml", "--checkpoint", "logs/head", "--json"].into_iter().chain(suites.iter().map(String::as_str)).collect();
    let all: Value = serde_json::from_str(&must(root, &args)).expect("JSON");
    let reports: Vec<&Value> = all["results"].as_array().expect("results").iter().map(|result| &result["report"]).collect();
    let samples: Vec<&Value> = reports.iter().map(|report| &report["samples"]).collect();
    assert_eq!(samples, [80, 40, 40]);
    for report in &reports[1..] {
        assert!(
            report["notes"].to_string().contains("2 of 4 classes are asked for; pictures of other classes that were left out: 40"),
            "{report}"
        );
        assert_eq!(report["confusion"]["classes"], serde_json::json!(["dog", "ant"]), "in the order as given");
    }
}
