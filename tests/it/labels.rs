//! Classes by name, and several captions of one picture, through the command line.

use std::path::Path;

use serde_json::Value;
use vlhub_sdk::image::{Rgb, RgbImage};

use crate::program::{HEAD, must, run};

/// Colours in the order of their names' bytes.
const COLOURS: [(&str, [u8; 3]); 4] =
    [("blue", [30, 40, 220]), ("green", [30, 190, 40]), ("red", [220, 30, 30]), ("yellow", [230, 220, 30])];

/// A picture of a colour; each number gives another one.
fn picture(colour: [u8; 3], number: u8) -> RgbImage {
    RgbImage::from_pixel(16, 16, Rgb(colour.map(|level| level.saturating_sub(number * 2))))
}

/// Writes `count` pictures of a colour into a class folder.
fn class(folder: &Path, name: &str, colour: [u8; 3], count: u8) {
    std::fs::create_dir_all(folder.join(name)).expect("made");
    for number in 0..count {
        picture(colour, number).save(folder.join(name).join(format!("{number}.png"))).expect("written");
    }
}

/// A folder with the run file and pictures of four colours to train on; `val` lacks the first of them.
fn colours() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), HEAD).expect("written");
    for (name, colour) in COLOURS {
        class(&folder.path().join("train"), name, colour, 20);
        if name != "blue" {
            class(&folder.path().join("val"), name, colour, 6);
        }
    }
    folder
}

/// The report of each suite by its key.
fn reports(folder: &Path, args: &[&str]) -> Value {
    let args = [&["eval", "run.toml", "--json"][..], args].concat();
    let all: Value = serde_json::from_str(&must(folder, &args)).expect("JSON");
    let list = all["results"].as_array().expect("results").iter();
    list.map(|result| (result["name"].as_str().expect("a key").to_owned(), result["report"].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn metric(report: &Value, name: &str) -> f64 {
    let list = report["metrics"].as_array().expect("metrics");
    list.iter().find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))["value"]
        .as_f64()
        .expect("a number")
}

fn notes(report: &Value) -> String {
    report["notes"].to_string()
}

#[test]
fn a_data_set_without_one_of_the_classes_is_measured_by_names() {
    let folder = colours();
    let folder = folder.path();
    let val = r#"data={use="imagefolder",path="val"}"#;
    let suite = |key: &str, table: &str| format!(r#"eval.{key}={{use="{table},{val}}}"#);
    must(folder, &["train", "run.toml", &suite("head", r#"accuracy""#)]);
    let config = std::fs::read_to_string(folder.join("logs/head/config.toml")).expect("it is there");
    for (name, _) in COLOURS {
        assert!(config.contains(&format!("\"{name}\"")), "the run's own file says what its classes are called: {config}");
    }
    let learnt = |name: &str| format!(r#"{name}",train={{use="imagefolder",path="train"}}"#);
    let found = reports(
        folder,
        &[
            "--checkpoint",
            "logs/head",
            &suite("accuracy", r#"accuracy""#),
            &suite("knn", &learnt("knn")),
            &suite("probe", &learnt("linear_probe")),
        ],
    );
    for key in ["accuracy", "knn", "probe"] {
        assert!(metric(&found[key], "top1") > 0.9, "{key}: by places all of it would be wrong: {}", found[key]);
        assert_eq!(found[key]["samples"], 18);
        assert_eq!(found[key]["confusion"]["classes"], serde_json::json!(["blue", "green", "red", "yellow"]), "{key}");
        assert!(notes(&found[key]).contains("1 of 4 classes have no sample"), "{key}: {}", notes(&found[key]));
    }
    // All classes said, in an order of one's own: one of them has no pictures.
    let said = r#"eval.said={use="accuracy",data={use="imagefolder",path="val",classes=["yellow","blue","red","green"]}}"#;
    let said = reports(folder, &["--checkpoint", "logs/head", said]);
    assert_eq!(said["said"]["metrics"], found["accuracy"]["metrics"]);
    // Another name is none of the head's, and none of those that the neighbours have.
    std::fs::rename(folder.join("val/red"), folder.join("val/rad")).expect("renamed");
    for table in [r#"accuracy""#.to_owned(), learnt("knn"), learnt("linear_probe")] {
        let ran = run(folder, &["eval", "run.toml", "--checkpoint", "logs/head", &suite("it", &table)]);
        assert_eq!(ran.code, 2, "{table}: {}", ran.err);
        assert!(ran.err.contains("1 of the 3 classes of `data`") && ran.err.contains("`rad` (near: `red`)"), "{table}: {}", ran.err);
    }
    // The same at the start of a run, not after its last step.
    let ran = run(folder, &["train", "run.toml", "name=late", &suite("head", r#"accuracy""#)]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("eval.head") && ran.err.contains("`rad` (near: `red`)"), "{}", ran.err);
    assert!(!folder.join("logs/late").exists(), "nothing is written");
}

#[test]
fn a_head_has_the_classes_of_its_data() {
    let folder = colours();
    let folder = folder.path();
    let ran = run(folder, &["train", "run.toml", "objective.classify.classes=3"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    for part in ["objective.classify: its head has 3 classes, and data.train has 4 (blue, green, red, yellow)", "classes=4"] {
        assert!(ran.err.contains(part), "{}", ran.err);
    }
    let ran = run(folder, &["train", "run.toml", "train.steps=2", "objective.classify.classes=6", "name=wide"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("its head has 6 classes") && ran.err.contains("the last 2 are never trained"), "{}", ran.err);
    let ran = run(folder, &["train", "run.toml", "train.steps=2", r#"class_names=["blue","red","green","yellow"]"#]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("class_names: class 1 is `red`, and `green` in data.train"), "{}", ran.err);
}

#[test]
fn a_run_does_not_go_on_with_classes_in_another_order() {
    let folder = colours();
    let folder = folder.path();
    must(folder, &["data", "pack", "train", "--out", "shards"]);
    let names = folder.join("shards/classnames.txt");
    let list = std::fs::read_to_string(&names).expect("class names beside the shards");
    assert_eq!(list.lines().collect::<Vec<_>>(), ["blue", "green", "red", "yellow"]);
    let shards = std::fs::read_dir(folder.join("shards")).expect("it is there").flatten().map(|entry| entry.path());
    let shards: Vec<_> = shards.filter(|path| path.extension().is_some_and(|suffix| suffix == "tar")).collect();
    let data = format!(r#"data.train={{use="webdataset",shards="{}"}}"#, shards[0].display());
    let args = ["train", "run.toml", "train.save_every=2", data.as_str()];
    must(folder, &[&args[..], &["train.steps=4"]].concat());
    let resumed = |steps: &str| run(folder, &[&args[..], &[steps, "--resume", "latest"]].concat());
    std::fs::write(&names, "blue\nred\ngreen\nyellow\n").expect("written");
    let ran = resumed("train.steps=4");
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains("the classes have changed: class 1 is `green`, and `red` in data.train"), "{}", ran.err);
    std::fs::write(&names, list).expect("written");
    assert_eq!(resumed("train.steps=4").code, 0);
}

#[test]
fn labels_that_are_numbers_are_classes_of_that_number() {
    let folder = colours();
    let folder = folder.path();
    // Folders in the order of strings, which is not that of the numbers; shards keep the places.
    for (at, number) in ["0", "1", "10", "2"].into_iter().enumerate() {
        class(&folder.join("numbered"), number, COLOURS[at].1, 12);
    }
    let accuracy = |key: &str, path: &str| format!(r#"eval.{key}={{use="accuracy",data={{use="imagefolder",path="{path}"}}}}"#);
    let numbered = r#"data.train={use="imagefolder",path="numbered"}"#;
    must(folder, &["train", "run.toml", numbered]);
    // `2` alone has the place 0 in its own list.
    class(&folder.join("two"), "2", COLOURS[3].1, 5);
    class(&folder.join("two"), "1", COLOURS[1].1, 5);
    let found = reports(folder, &["--checkpoint", "logs/head", &accuracy("two", "two")]);
    assert!(metric(&found["two"], "top1") > 0.9, "{found}");
    // Without names in the data the numbers are the classes; a data set with names then goes by its order, and says so.
    must(folder, &["data", "pack", "train", "--out", "shards"]);
    std::fs::remove_file(folder.join("shards/classnames.txt")).expect("it is there");
    must(folder, &["train", "run.toml", "name=numbers", r#"data.train={use="webdataset",shards="shards/*.tar"}"#]);
    let config = std::fs::read_to_string(folder.join("logs/numbers/config.toml")).expect("it is there");
    let names = config.lines().skip_while(|line| !line.starts_with("class_names")).take(6).collect::<String>();
    assert!(["\"0\"", "\"1\"", "\"2\"", "\"3\""].iter().all(|name| names.contains(name)), "{names}");
    let found = reports(folder, &["--checkpoint", "logs/numbers", &accuracy("all", "train")]);
    assert!(metric(&found["all"], "top1") > 0.9, "{found}");
    assert!(
        notes(&found["all"]).contains("were matched by their order") && notes(&found["all"]).contains("`red` was taken for `2`"),
        "{found}"
    );
    let ran = run(folder, &["eval", "run.toml", "--checkpoint", "logs/numbers", &accuracy("val", "val")]);
    assert_eq!(ran.code, 2, "three names cannot be four numbers: {}", ran.err);
    assert!(ran.err.contains("`data` has 3 classes") && ran.err.contains("the supervised head has 4"), "{}", ran.err);
}

/// A run of two steps: what it finds is no matter, as long as it is the same.
fn untrained(folder: &Path) {
    std::fs::write(folder.join("run.toml"), crate::program::SMALL).expect("written");
    must(folder, &["train", "run.toml", "train.steps=2", "name=small"]);
}

#[test]
fn prompts_in_another_order_than_the_folders_change_nothing() {
    let folder = colours();
    let folder = folder.path();
    untrained(folder);
    let suite = |key: &str, classes: &str| {
        format!(r#"eval.{key}={{use="zeroshot",topk=[1,2],classes={classes},data={{use="imagefolder",path="train"}}}}"#)
    };
    let found = reports(
        folder,
        &[
            "--checkpoint",
            "logs/small",
            &suite("own", "[]"),
            &suite("turned", r#"["yellow","red","green","blue"]"#),
            &suite("renamed", r#"["navy","lime","crimson","amber"]"#),
        ],
    );
    for name in ["top1", "top2", "mean_per_class_recall"] {
        assert_eq!(metric(&found["own"], name), metric(&found["turned"], name), "{name}");
    }
    assert_eq!(notes(&found["turned"]), "[]");
    assert!(notes(&found["renamed"]).contains("`green` was taken for `lime`"), "{}", notes(&found["renamed"]));
    let ran = run(folder, &["eval", "run.toml", "--checkpoint", "logs/small", &suite("it", r#"["blue","red","green","amber"]"#)]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("1 of the 4 classes of `data` are none of `classes`: `yellow`"), "{}", ran.err);
}

#[test]
fn captions_of_a_picture_count_the_same_in_every_layout() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    untrained(folder);
    let templates = ["a photo of a {}", "{}", "one {} thing", "the drawing is {}, \"all of it\""];
    let captions = |name: &str| templates.map(|template| template.replace("{}", name));
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let [mut rows, mut lines, mut lists] = ["filepath,title\n"; 3].map(str::to_owned);
    for (name, colour) in COLOURS {
        picture(colour, 3).save(folder.join(format!("{name}.png"))).expect("written");
        let texts = captions(name);
        for text in &texts {
            rows += &format!("{name}.png,{}\n", quoted(text));
        }
        lines += &format!("{name}.png,{}\n", quoted(&texts.join("\n")));
        lists += &format!("{name}.png,{}\n", quoted(&serde_json::to_string(&texts).expect("JSON")));
    }
    for (name, table) in [("rows", &rows), ("lines", &lines), ("lists", &lists)] {
        std::fs::write(folder.join(format!("{name}.csv")), table).expect("written");
    }
    let suite =
        |key: &str, table: &str, more: &str| format!(r#"eval.{key}={{use="retrieval"{more},data={{use="csv",path="{table}.csv"}}}}"#);
    let found = reports(
        folder,
        &[
            "--checkpoint",
            "logs/small",
            &suite("rows", "rows", ""),
            &suite("lines", "lines", ""),
            &suite("lists", "lists", ""),
            &suite("apart", "rows", r#",group="sample""#),
            &suite("whole", "lines", ",split_texts=false"),
        ],
    );
    for key in ["rows", "lines", "lists"] {
        assert_eq!(found[key]["metrics"], found["rows"]["metrics"], "{key}");
        assert_eq!(found[key]["samples"], 4, "{key}");
        assert!(notes(&found[key]).contains("16 texts of 4 pictures"), "{key}: {}", notes(&found[key]));
    }
    assert!(notes(&found["rows"]).contains("16 samples are 4 pictures"), "{}", notes(&found["rows"]));
    assert!(notes(&found["lines"]).contains("4 samples have several captions in one text, on lines"), "{}", notes(&found["lines"]));
    assert!(notes(&found["lists"]).contains("as a JSON list"), "{}", notes(&found["lists"]));
    assert_eq!((&found["apart"]["samples"], &found["whole"]["samples"]), (&16.into(), &4.into()));
    assert!(!notes(&found["whole"]).contains("texts of"), "one text each: {}", notes(&found["whole"]));
}
