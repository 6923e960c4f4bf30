//! Data sets in CLIP_benchmark's and DataComp's layouts, measured through the command line.

use std::fs::File;
use std::io::Cursor;
use std::path::Path;

use serde_json::Value;
use vlhub_sdk::image::{ImageFormat, Rgb, RgbImage};

use crate::program::{SMALL, must, run};

const COLOURS: [(&str, [u8; 3]); 5] =
    [("blue", [30, 40, 220]), ("green", [30, 190, 40]), ("red", [220, 30, 30]), ("white", [240, 240, 240]), ("yellow", [230, 220, 30])];

/// A picture of a colour; each number gives another one.
fn picture(colour: usize, number: usize) -> RgbImage {
    RgbImage::from_fn(16, 16, |x, y| Rgb(COLOURS[colour].1.map(|level| level.saturating_sub((number as u32 * 3 + (x * y) % 7) as u8))))
}

fn png(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).expect("it is written to memory");
    bytes.into_inner()
}

/// A NumPy array of 64-bit whole numbers.
fn npy(values: &[i64]) -> Vec<u8> {
    let header = format!("{{'descr': '<i8', 'fortran_order': False, 'shape': ({},), }}\n", values.len());
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// A data set: files beside its shards, and the members of its samples, two samples a shard.
fn dataset(folder: &Path, files: &[(&str, &str)], samples: &[Vec<(&str, Vec<u8>)>]) {
    std::fs::create_dir_all(folder.join("test")).expect("made");
    for (name, text) in files {
        std::fs::write(folder.join(name), text).expect("written");
    }
    let shards: Vec<_> = samples.chunks(2).collect();
    std::fs::write(folder.join("test/nshards.txt"), shards.len().to_string()).expect("written");
    for (number, shard) in shards.iter().enumerate() {
        let mut builder = tar::Builder::new(File::create(folder.join(format!("test/{number}.tar"))).expect("made"));
        for (at, sample) in shard.iter().enumerate() {
            for (suffix, bytes) in sample {
                let mut header = tar::Header::new_ustar();
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, format!("s{number:03}{at}.{suffix}"), &bytes[..]).expect("written");
            }
        }
        builder.finish().expect("written");
    }
}

const TEMPLATES: &str = "a photo of a {c} thing.\na {c} square.\n";

/// Ten pictures of five colours with their classes, and groups where they are asked for.
fn colours(folder: &Path, groups: bool) {
    let names = COLOURS.map(|(name, _)| name).join("\n");
    let sample = |at: usize| {
        let mut sample = vec![("png", png(&picture(at % 5, at))), ("cls", (at % 5).to_string().into_bytes())];
        sample.extend(groups.then(|| ("npy", npy(&[(at / 5) as i64, 7]))));
        sample
    };
    let samples: Vec<_> = (0..10).map(sample).collect();
    dataset(folder, &[("classnames.txt", &names), ("zeroshot_classification_templates.txt", TEMPLATES)], &samples);
}

/// A folder with a run file, data sets of every type, and the pictures of the first of them in class folders.
fn sets() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    std::fs::write(root.join("run.toml"), SMALL).expect("written");
    colours(&root.join("sets/wds_vtab-colours"), false);
    for at in 0..10 {
        let class = root.join("plain").join(COLOURS[at % 5].0);
        std::fs::create_dir_all(&class).expect("made");
        picture(at % 5, at).save(class.join(format!("{at}.png"))).expect("written");
    }
    let captions = |at: usize| format!("a {} square\nnumber {at}", COLOURS[at % 5].0).into_bytes();
    let pairs: Vec<_> = (0..6).map(|at| vec![("png", png(&picture(at % 5, at))), ("txt", captions(at))]).collect();
    dataset(&root.join("sets/wds_pairs"), &[("dataset_type.txt", "retrieval\n")], &pairs);
    let names = COLOURS.map(|(name, _)| name).join("\n");
    let both: Vec<_> = (0..6).map(|at| vec![("png", png(&picture(at % 5, at))), ("npy", npy(&[1, 0, (at % 2) as i64, 0, 0]))]).collect();
    let files = [("dataset_type.txt", "multilabel"), ("classnames.txt", &*names), ("zeroshot_classification_templates.txt", TEMPLATES)];
    dataset(&root.join("sets/wds_both"), &files, &both);
    folder
}

fn json(folder: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&must(folder, args)).expect("JSON")
}

fn metric(report: &Value, name: &str) -> f64 {
    let list = report["metrics"].as_array().unwrap_or_else(|| panic!("metrics in {report}"));
    let found = list.iter().find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("no {name} in {report}"));
    found["value"].as_f64().expect("a number")
}

/// The result of a data set.
fn result<'a>(all: &'a Value, name: &str) -> &'a Value {
    let list = all["results"].as_array().expect("results");
    list.iter().find(|result| result["name"] == name).unwrap_or_else(|| panic!("no {name} in {all}"))
}

#[test]
fn clip_benchmarks_folders_are_measured_as_they_are_and_written_as_it_writes_them() {
    let folder = sets();
    let root = folder.path();
    let pattern = "out/{dataset}_{model}_{pretrained}_{language}_{task}.json";
    let eval = ["eval", "run.toml", "--random-weights", "--json", "--output", pattern, "--benchmark", "sets"];
    let all = json(root, &eval);
    assert_eq!(all["results"].as_array().expect("results").len(), 3, "every data set of the folder");
    let classes = &result(&all, "wds/vtab/colours")["report"];
    assert_eq!(classes["samples"], 10);

    // The same pictures in class folders, with the same templates, are the same numbers.
    let plain =
        r#"eval.plain={use="zeroshot",templates=["a photo of a {c} thing.","a {c} square."],data={use="imagefolder",path="plain"}}"#;
    let other = json(root, &["eval", "run.toml", plain, "--random-weights", "--json"]);
    for name in ["top1", "top5", "mean_per_class_recall"] {
        assert_eq!(metric(classes, name), metric(&result(&other, "plain")["report"], name), "{name}");
    }

    let read = |name: &str| -> Value {
        let file = root.join("out").join(name);
        serde_json::from_slice(&std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))).expect("JSON")
    };
    let written = read("vtab_colours_small_random_en_zeroshot_classification.json");
    for (key, value) in [
        ("dataset", "wds/vtab/colours"),
        ("model", "small"),
        ("pretrained", "random"),
        ("task", "zeroshot_classification"),
        ("language", "en"),
    ] {
        assert_eq!(written[key], value, "{key}");
    }
    assert_eq!(written["metrics"]["acc1"], metric(classes, "top1"));
    assert_eq!(written["metrics"]["acc5"], 1.0, "there are five classes");
    assert_eq!(written["metrics"]["mean_per_class_recall"], metric(classes, "mean_per_class_recall"));
    let pairs = &result(&all, "wds/pairs")["report"];
    let written = read("pairs_small_random_en_zeroshot_retrieval.json");
    assert_eq!(written["metrics"]["image_retrieval_recall@5"], metric(pairs, "text_to_image_R@5"));
    assert_eq!(written["metrics"]["text_retrieval_recall@1"], metric(pairs, "image_to_text_R@1"));
    assert!(pairs["notes"].to_string().contains("12 texts of 6 pictures"), "{pairs}");
    let both = &result(&all, "wds/both")["report"];
    let precision = metric(both, "mean_average_precision");
    // Every picture is blue and half of them are red; the other three classes count as 0.
    assert!(precision > 0.2 && precision <= 0.4, "{precision}");
    assert_eq!(read("both_small_random_en_zeroshot_classification.json")["metrics"]["mean_average_precision"], precision);

    std::fs::remove_file(root.join("out/both_small_random_en_zeroshot_classification.json")).expect("it was there");
    let again = json(root, &[&eval[..], &["--skip-existing"]].concat());
    assert!(result(&again, "wds/pairs")["why_not"].as_str().is_some_and(|why| why.contains("pairs_small") && why.contains("is there")));
    assert!(result(&again, "wds/both")["report"].is_object(), "what has no file is measured");
}

#[test]
fn folders_and_patterns_that_are_no_data_sets_are_refused() {
    let folder = sets();
    for (args, wanted) in [
        (&["--benchmark", "plain"][..], "`plain` is no data set and holds none"),
        (&["--benchmark", "sets/wds_*", "--split", "train"], "train/nshards.txt"),
        (&["--benchmark", "sets", "--output", "{datset}.json"], "did you mean `dataset`?"),
        (&["--benchmark", "sets", "--suite", "x"], "cannot be used with"),
    ] {
        let ran = run(folder.path(), &[&["eval", "run.toml", "--random-weights"][..], args].concat());
        assert!(ran.code == 2 && ran.err.contains(wanted), "{wanted}: {} {}", ran.code, ran.err);
    }
    std::fs::write(folder.path().join("sets/wds_pairs/dataset_type.txt"), "retreival").expect("written");
    let ran = run(folder.path(), &["eval", "run.toml", "--random-weights", "--benchmark", "sets/wds_pairs"]);
    assert!(ran.code == 2 && ran.err.contains("did you mean `retrieval`?"), "{} {}", ran.code, ran.err);
}

#[test]
fn datacomps_tasks_are_measured_with_their_own_metrics_and_its_average_says_of_how_many() {
    let folder = sets();
    let root = folder.path();
    colours(&root.join("evalsets/wds_vtab-dtd_test"), false);
    colours(&root.join("evalsets/wds_geode_test"), true);
    colours(&root.join("evalsets/wds_wilds-iwildcam_test"), true);
    let eval = ["eval", "run.toml", "--random-weights", "--json", "--datacomp", "evalsets", "--datacomp-results", "eval_results.jsonl"];
    let all = json(root, &eval);
    assert_eq!(all["results"].as_array().expect("results").len(), 40);
    let why = |name: &str| result(&all, name)["why_not"].as_str().unwrap_or_default().to_owned();
    assert!(why("imagenet1k").contains("wds_imagenet1k_test") && why("imagenet1k").starts_with("absent"), "{}", why("imagenet1k"));
    assert!(why("misc/winogavil").starts_with("not measured") && why("fairness/utkface").contains("no metric that counts"));

    let text = std::fs::read_to_string(root.join("eval_results.jsonl")).expect("it is written");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let line = |key: &str| lines.iter().find(|line| line["key"] == key).unwrap_or_else(|| panic!("no {key} in {text}"));
    assert_eq!((lines.len(), &line("vtab/dtd")["dataset"]), (3, &Value::from("Describable Textures")));
    let top1 = metric(&result(&all, "vtab/dtd")["report"], "top1");
    assert_eq!(line("vtab/dtd")["metrics"]["main_metric"], top1);
    let worst = line("fairness/geode")["metrics"]["acc_wg"].as_f64().expect("a number");
    assert_eq!(line("fairness/geode")["metrics"]["main_metric"], worst);
    assert!(worst <= top1 && [0.0, 0.2, 0.4, 0.6, 0.8, 1.0].contains(&worst), "the worse of two groups of five pictures: {worst}");
    let f1 = line("wilds/iwildcam")["metrics"]["main_metric"].as_f64().expect("a number");
    assert!(line("wilds/iwildcam")["metrics"]["F1-macro_all"] == f1 && f1 <= 1.0);
    let average = all["datacomp"].as_array().expect("means").last().expect("the average").clone();
    assert_eq!((&average["name"], &average["measured"], &average["of"]), (&"Average".into(), &3.into(), &38.into()));
    assert!((average["value"].as_f64().expect("a number") - (top1 + worst + f1) / 3.0).abs() < 1e-12);

    let again = run(root, &[&eval[..3], &eval[4..], &["--skip-existing"]].concat());
    assert!(again.code == 0 && again.out.contains("vtab/dtd: passed over"), "{} {}", again.out, again.err);
    assert!(again.out.contains("(partial: 3 of 38 tasks)"), "{}", again.out);
    // A list of one's own, and a picture without its group.
    std::fs::write(root.join("evalsets/tasklist.yml"), "fairness/geode:\n  name: GeoDE\n  main_metric: acc_wg\n").expect("written");
    colours(&root.join("evalsets/wds_geode_test"), false);
    let ran = run(root, &["eval", "run.toml", "--random-weights", "--datacomp", "evalsets"]);
    assert!(ran.code == 3 && ran.err.contains("has no number 0 in its `npy` member"), "{} {}", ran.code, ran.err);
}

#[test]
fn published_captions_are_measured_from_their_own_files_or_told_as_absent() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    std::fs::write(root.join("run.toml"), SMALL).expect("written");
    let save = |path: &str, number: usize| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        picture(number, number).save(path).expect("written");
    };
    let image = |at: usize| serde_json::json!({"filename": format!("{at}.png"), "split": "test", "sentences": [{"raw": format!("a {at}")}, {"raw": "b"}]});
    let list = serde_json::json!({"images": [image(0), image(1), image(2)], "dataset": "flickr30k"});
    (0..3).for_each(|at| save(&format!("flickr30k/flickr30k-images/{at}.png"), at));
    std::fs::write(root.join("flickr30k/dataset_flickr30k.json"), list.to_string()).expect("written");
    let items = serde_json::json!({"0": {"filename": "0.png", "caption": "a red dog", "negative_caption": "a blue dog"}});
    save("sugarcrepe/val2017/0.png", 0);
    std::fs::write(root.join("sugarcrepe/add_att.json"), items.to_string()).expect("written");
    let named = ["flickr30k", "sugarcrepe", "winoground", "coco_captions", "flickr8k"].map(|name| format!("eval.{name}={{}}"));
    let suites = [&named[..], &[r#"eval.there={use="flickr30k",path="flickr30k/.",split="all"}"#.to_owned()]].concat();
    let args: Vec<&str> = ["eval", "run.toml", "--random-weights", "--json"].into_iter().chain(suites.iter().map(String::as_str)).collect();
    let all = json(root, &args);
    assert_eq!(result(&all, "flickr30k")["report"]["samples"], 3);
    assert!(result(&all, "flickr30k")["report"]["notes"].to_string().contains("6 texts of 3 pictures"), "{all}");
    assert_eq!(result(&all, "there")["report"]["metrics"], result(&all, "flickr30k")["report"]["metrics"], "the folder is an option");
    assert!(metric(&result(&all, "sugarcrepe")["report"], "accuracy") <= 1.0);
    for (name, file) in
        [("winoground", "examples.jsonl"), ("coco_captions", "captions_val2017.json"), ("flickr8k", "dataset_flickr8k.json")]
    {
        let why = result(&all, name)["why_not"].as_str().unwrap_or_default();
        assert!(why.starts_with("absent: ") && why.contains(file), "{name}: {why}");
    }
}
