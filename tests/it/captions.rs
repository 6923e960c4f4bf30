//! Captions through the command line: labels made of captions reach training, token ids are rewritten, and `vlhub data match` tells all of it.

use std::path::Path;

use serde_json::Value;
use vlhub_sdk::image::{Rgb, RgbImage};

use crate::program::{HEAD, SMALL, SMALL_DATA, must, run};

/// The supervised net of colours, whose labels come from captions alone.
fn run_file() -> String {
    HEAD.replace(
        "[objective.classify]",
        "[view.text.main]\ntransform = [{ use = \"match_labels\", classes = \"classes.txt\" }]\n[objective.classify]",
    )
    .replace("use = \"imagefolder\"\npath = \"train\"", "use = \"csv\"\npath = \"captions.csv\"")
    .replace("show_batch = false\n", "show_batch = false\nmax_bad_fraction = 1.0\n")
}

/// Classes in an order that is not that of their names, with synonyms.
const CLASSES: &str = "yellow bird, canary\nred fox\nblue whale\ngreen frog\n";
/// Colours in the order of the classes, and captions that name them.
const SUBJECTS: [([u8; 3], &str); 4] = [
    ([230, 220, 30], "Two Canaries, singing!"),
    ([220, 30, 30], "a photo of red foxes"),
    ([30, 40, 220], "blue whales"),
    ([30, 190, 40], "my #greenfrog"),
];

/// A folder with pictures of four colours, `captions.csv` that names them without any label, and every fifth row that names nothing.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let mut table = String::from("filepath,title\n");
    for number in 0..80_u8 {
        let (colour, caption) = SUBJECTS[usize::from(number) % 4];
        let level = colour.map(|level| level.saturating_sub(number / 2));
        RgbImage::from_pixel(16, 16, Rgb(level)).save(path.join(format!("{number}.png"))).expect("written");
        table += &format!("{number}.png,\"{caption}\"\n");
        if number.is_multiple_of(4) {
            table += &format!("{number}.png,\"a fox, a whale\"\n");
        }
    }
    std::fs::write(path.join("captions.csv"), table).expect("written");
    std::fs::write(path.join("classes.txt"), CLASSES).expect("written");
    std::fs::write(path.join("head.toml"), run_file()).expect("written");
    for (at, (colour, _)) in SUBJECTS.iter().enumerate() {
        let class = path.join("val").join(CLASSES.lines().nth(at).expect("four classes"));
        std::fs::create_dir_all(&class).expect("made");
        for number in 0..4 {
            let level = colour.map(|level| level.saturating_sub(number * 9));
            RgbImage::from_pixel(16, 16, Rgb(level)).save(class.join(format!("{number}.png"))).expect("written");
        }
    }
    folder
}

fn matches(folder: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&must(folder, &[&["data", "match"], args, &["--json"]].concat())).expect("JSON")
}

#[test]
fn labels_that_are_made_of_captions_reach_training() {
    let folder = folder();
    let folder = folder.path();
    must(folder, &["train", "head.toml"]);
    let config = std::fs::read_to_string(folder.join("logs/head/config.toml")).expect("it is there");
    for name in CLASSES.lines() {
        assert!(config.contains(&format!("\"{name}\"")), "the classes of the head are those of the list: {config}");
    }
    let suite = r#"eval.colours={use="accuracy",data={use="imagefolder",path="val"}}"#;
    let all: Value =
        serde_json::from_str(&must(folder, &["eval", "head.toml", "--checkpoint", "logs/head", "--json", suite])).expect("JSON");
    let report = &all["results"][0]["report"];
    let top1 = report["metrics"].as_array().expect("metrics").iter().find(|metric| metric["name"] == "top1").expect("it is there");
    assert!(top1["value"].as_f64().expect("a number") > 0.9, "the order of the list is not that of the folders: {report}");
    // A head of another number of classes than the list is refused, as with labels of the data.
    let ran = run(folder, &["train", "head.toml", "name=wrong", "objective.classify.classes=3"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("its head has 3 classes") && ran.err.contains("4 (yellow bird, canary, red fox"), "{}", ran.err);
}

#[test]
fn a_class_is_found_by_the_name_of_its_kind_where_that_is_asked_for() {
    let folder = folder();
    let folder = folder.path();
    let transform = |synsets: &str| format!("{{use=\"match_labels\",classes=\"classes.txt\"{synsets}}}");
    let kept = |synsets: &str| matches(folder, &["captions.csv", "--transform", &transform(synsets)])["kept"].clone();
    assert_eq!((kept(""), kept(",synsets=[\"hypernyms\"]")), (80.into(), 100.into()), "a red fox is a `fox`");
    let ran = run(folder, &["data", "match", "captions.csv", "--transform", &transform(",synsets=[\"hyponym\"]")]);
    assert!(ran.code == 2 && ran.err.contains("hyponyms"), "{}: {}", ran.code, ran.err);
}

#[test]
fn data_match_tells_what_is_kept_and_why_the_rest_is_not() {
    let folder = folder();
    let folder = folder.path();
    let found = matches(folder, &["head.toml", "--examples", "2", "--out", "all.jsonl"]);
    assert_eq!((&found["samples"], &found["kept"], &found["one_label"]), (&100.into(), &80.into(), &80.into()));
    assert_eq!(found["dropped"], serde_json::json!({"match_labels": 20}));
    let classes = found["classes"].as_array().expect("a list");
    assert_eq!(classes.len(), 4);
    for (class, name) in classes.iter().zip(CLASSES.lines()) {
        assert_eq!(class, &serde_json::json!({"name": name, "samples": 20}));
    }
    assert_eq!(found["kept_examples"][0]["before"], serde_json::json!(["Two Canaries, singing!"]));
    assert_eq!(found["dropped_examples"][0]["before"], serde_json::json!(["a fox, a whale"]));
    let lines = std::fs::read_to_string(folder.join("all.jsonl")).expect("written");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 100);
    assert_eq!((&lines[0]["labels"], &lines[1]["by"]), (&serde_json::json!([0]), &"match_labels".into()));
    // The same for people.
    let text = must(folder, &["data", "match", "head.toml"]);
    for part in [
        "100 samples: 80 kept, 20 dropped, 0 cannot be used",
        "20 × dropped by match_labels",
        "classes: 4 of 4 have captions",
        "\"Two Canaries, singing!\" · yellow bird, canary",
        "\"a fox, a whale\" · match_labels",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn data_match_takes_a_path_and_transforms() {
    let folder = folder();
    let folder = folder.path();
    // No picture is opened: they may all be gone.
    for number in 0..80 {
        std::fs::remove_file(folder.join(format!("{number}.png"))).expect("it is there");
    }
    let multi = r#"{use="match_labels",classes=["fox","whale","frog","cat"],mode="multi"}"#;
    let found = matches(folder, &["captions.csv", "--transform", "clean", "--transform", multi]);
    assert_eq!((&found["kept"], &found["several_labels"]), (&60.into(), &20.into()), "`greenfrog` is no `frog`: {found}");
    assert_eq!(found["classes"][3], serde_json::json!({"name": "cat", "samples": 0}));
    assert_eq!(found["kept_examples"][0]["texts"], serde_json::json!(["a fox  a whale"]), "cleaned");
    let text = must(folder, &["data", "match", "captions.csv", "--transform", multi]);
    assert!(text.contains("without captions: frog, cat"), "{text}");
    let simple = matches(folder, &["captions.csv", "--transform", r#"{use="simple",classes="classes.txt"}"#]);
    assert_eq!(simple["kept_examples"][0]["texts"], serde_json::json!(["An image of yellow bird"]));
    assert_eq!(simple["dropped"], serde_json::json!({"simple": 20}));
    for (args, code, parts) in [
        (&["captions.csv"][..], 2, &["has no caption transform", "--transform"][..]),
        (&["captions.csv", "--transform", "match_label"], 2, &["match_label", "match_labels"]),
        (&["captions.csv", "--transform", r#"{use="match_labels",mood="multi"}"#], 2, &["mood"]),
        (&["captions.csv", "--transform", r#"{use="match_labels",classes="none.txt"}"#], 2, &["view.text.main.transform.0", "none.txt"]),
        (&["captions.csv", "--transform", "{use="], 2, &["is no table"]),
        (&["captions.csv", "--transform", r#"{use="match_labels",classes=["zebra"]}"#], 3, &["none of 100 samples is left"]),
    ] {
        let ran = run(folder, &[&["data", "match"], args].concat());
        assert_eq!(ran.code, code, "{args:?}: {}", ran.err);
        assert!(parts.iter().all(|part| ran.err.contains(part)), "{args:?}: {}", ran.err);
    }
}

#[test]
fn token_ids_are_rewritten_within_their_frame() {
    let folder = folder();
    let folder = folder.path();
    std::fs::write(folder.join("small.toml"), SMALL.replace(SMALL_DATA, "[data.train]\nuse = \"csv\"\npath = \"captions.csv\"\n"))
        .expect("written");
    let captions = |transform: &str| {
        must(folder, &["data", "preview", "small.toml", &format!("view.text.main.transform=[{transform}]")]);
        std::fs::read_to_string(folder.join("preview.txt")).expect("captions beside the picture").to_lowercase()
    };
    let (plain, short, first) = (captions(""), captions(r#"{use="truncate",tokens=2}"#), captions(r#""reduce""#));
    assert!(plain.contains("a photo of red fox") && !short.contains("a photo of"), "{short}");
    assert!(short.contains("a photo") && !first.contains("a photo"), "{short}{first}");
    let stripped = captions(r#"{use="strip",classes="classes.txt",remove=true}"#);
    assert!(stripped.contains("fox whale") && stripped.contains("blue"), "{stripped}");
    assert!(!stripped.contains("photo") && !stripped.contains("whales"), "ids, not words: no class has `whales`: {stripped}");
    let scrambled = captions(r#""scramble_tokens""#);
    let letters = |text: &str| {
        let mut letters: Vec<char> = text.chars().filter(|letter| letter.is_alphabetic()).collect();
        letters.sort_unstable();
        letters
    };
    assert!(scrambled != plain && letters(&scrambled) == letters(&plain), "the same ids in another order: {scrambled}");
}
