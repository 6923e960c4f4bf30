//! Data through the command line: what of a sample must be there, and what is told of what cannot be used.

use std::fs::File;
use std::io::Cursor;
use std::path::Path;

use serde_json::Value;
use vlhub_sdk::image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage};

use crate::program::{Ran, SMALL, SMALL_DATA, must, run};

/// The small run with another objective and views.
fn run_file(objective: &str) -> String {
    let views = "[view.image.a]\naugment = [{ use = \"simclr\" }]\n[view.image.b]\naugment = [{ use = \"simclr\" }]\n";
    SMALL
        .replace("[objective.clip]\n", &format!("{views}{objective}\n"))
        .replace(SMALL_DATA, "")
        .replace("batch = 16\nsteps = 14", "batch = 4\nsteps = 1\nmax_bad_fraction = 1.0")
}

const SIMCLR: &str = "[objective.simclr]\nhidden = [16]\nout = 8";
const CLASSIFY: &str = "[objective.classify]\nclasses = 9";

/// A folder with the run files `clip.toml`, `simclr.toml`, `byol.toml` and `classify.toml`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, objective) in
        [("clip", "[objective.clip]"), ("simclr", SIMCLR), ("byol", "[objective.byol]\nhidden = 16\nout = 8"), ("classify", CLASSIFY)]
    {
        std::fs::write(folder.path().join(format!("{name}.toml")), run_file(objective)).expect("written");
    }
    folder
}

fn picture(number: u8) -> RgbImage {
    RgbImage::from_fn(20, 18, |x, y| Rgb([number.wrapping_mul(37), (x * 12) as u8, (y * 14) as u8]))
}

fn encoded(number: u8, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture(number).write_to(&mut bytes, format).expect("memory does not fail");
    bytes.into_inner()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("it has one")).expect("room");
    std::fs::write(path, bytes).expect("room");
}

fn shard(folder: &Path, name: &str, members: &[(String, Vec<u8>)]) {
    let mut builder = tar::Builder::new(File::create(folder.join(name)).expect("room"));
    for (member, data) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, member, data.as_slice()).expect("room");
    }
    builder.finish().expect("room");
}

fn train(folder: &Path, name: &str, data: &str) -> Ran {
    run(folder, &["train", &format!("{name}.toml"), "--dry-run", &format!("data.train={data}")])
}

/// `vlhub data check` of a run, with its exit status.
fn check(folder: &Path, name: &str, data: &str) -> (i32, Value, String) {
    let text = std::fs::read_to_string(folder.join(format!("{name}.toml"))).expect("it is there");
    std::fs::write(folder.join("checked.toml"), format!("{text}\n[data]\ntrain = {data}\n")).expect("written");
    let ran = run(folder, &["data", "check", "checked.toml", "--json"]);
    (ran.code, serde_json::from_str(&ran.out).unwrap_or_default(), ran.err)
}

#[test]
fn objectives_that_read_pictures_alone_need_no_captions_from_any_source() {
    let folder = folder();
    let mut table = String::from("filepath\n");
    let mut members = Vec::new();
    for number in 0..12u8 {
        write(folder.path(), &format!("flat/{number}.png"), &encoded(number, ImageFormat::Png));
        table += &format!("flat/{number}.png\n");
        members.push((format!("{number:05}.png"), encoded(number, ImageFormat::Png)));
    }
    write(folder.path(), "p.csv", table.as_bytes());
    shard(folder.path(), "p.tar", &members);
    for data in [
        "{use=\"imagefolder\",path=\"flat\"}",
        "{use=\"webdataset\",shards=\"p.tar\"}",
        "{use=\"csv\",path=\"p.csv\"}",
        "{use=\"csv\",path=\"p.csv\",caption_key=\"\"}",
    ] {
        for name in ["simclr", "byol"] {
            let ran = train(folder.path(), name, data);
            assert_eq!(ran.code, 0, "{name} on {data}: {}", ran.err);
            assert!(ran.out.contains("12 samples"), "{name} on {data}: {}", ran.out);
        }
        assert_eq!(check(folder.path(), "simclr", data).0, 0, "{data}");
        let ran = train(folder.path(), "clip", data);
        assert_eq!(ran.code, 2, "captions are read: {data}\n{}", ran.err);
        assert!(ran.err.contains("data.train: "), "{data}: {}", ran.err);
        let (code, _, err) = check(folder.path(), "clip", data);
        assert_eq!(code, 2, "check and training agree: {data}: {err}");
    }
    let text = must(folder.path(), &["data", "check", "p.tar"]);
    assert!(text.contains("pictures alone: 12") && text.contains("pictures with captions: none, because"), "{text}");
}

#[test]
fn numbers_are_labels_without_names_from_any_source() {
    let folder = folder();
    let mut table = String::from("filepath,label\n");
    let mut members = Vec::new();
    for number in 0..12u8 {
        let bytes = encoded(number, ImageFormat::Png);
        write(folder.path(), &format!("flat/{number}.png"), &bytes);
        table += &format!("flat/{number}.png,{}\n", number % 9);
        members.push((format!("{number:05}.png"), bytes));
        members.push((format!("{number:05}.cls"), (number % 9).to_string().into_bytes()));
    }
    write(folder.path(), "p.csv", table.as_bytes());
    shard(folder.path(), "p.tar", &members);
    for data in ["{use=\"webdataset\",shards=\"p.tar\"}", "{use=\"csv\",path=\"p.csv\",label_key=\"label\"}"] {
        let ran = train(folder.path(), "classify", data);
        assert_eq!(ran.code, 0, "{data}: {}", ran.err);
        assert!(ran.out.contains("12 samples"), "{data}: {}", ran.out);
    }
}

#[test]
fn a_member_that_nobody_reads_may_be_anything() {
    let folder = folder();
    let mut members = Vec::new();
    for number in 0..8u8 {
        members.push((format!("{number}.jpg"), encoded(number, ImageFormat::Jpeg)));
        members
            .push((format!("{number}.json"), format!("{{\"similarity\": {}}}", if number % 4 == 0 { "NaN" } else { "0.3" }).into_bytes()));
        members.push((format!("{number}.txt"), if number == 5 { vec![0xFF, 0xFE] } else { format!("number {number}").into_bytes() }));
        members.push((format!("{number}.cls"), b"[]".to_vec()));
    }
    shard(folder.path(), "nan.tar", &members);
    let data = "{use=\"webdataset\",shards=\"nan.tar\"}";
    let (code, summary, err) = check(folder.path(), "simclr", data);
    assert_eq!((code, summary["good"].as_u64()), (0, Some(8)), "{err}");
    let (code, summary, _) = check(folder.path(), "clip", data);
    assert_eq!((code, summary["good"].as_u64(), &summary["problems"][0]["reason"]), (3, Some(7), &Value::from("not UTF-8")));
    members.iter_mut().find(|(name, _)| name == "5.txt").expect("it is there").1 = b"number 5".to_vec();
    members.retain(|(name, _)| !name.ends_with("cls"));
    shard(folder.path(), "nan.tar", &members);
    let text = must(folder.path(), &["data", "check", "nan.tar"]);
    assert!(text.contains("8 samples, 8 can be used where pictures and captions are read"), "{text}");
}

#[test]
fn check_and_training_find_the_same_samples() {
    let folder = folder();
    // Of 16 samples, some lack a caption, some a label, some have a picture or a label that is none.
    let mut members = Vec::new();
    for number in 0..16u8 {
        let name = |suffix: &str| format!("{number:02}.{suffix}");
        members.push((name("jpg"), if number == 3 { b"<html>".to_vec() } else { encoded(number, ImageFormat::Jpeg) }));
        if number % 4 != 1 {
            members.push((name("txt"), if number == 6 { b" ".to_vec() } else { format!("number {number}").into_bytes() }));
        }
        if number != 7 {
            members.push((name("cls"), if number == 10 { b"-1".to_vec() } else { (number % 9).to_string().into_bytes() }));
        }
    }
    shard(folder.path(), "mixed.tar", &members);
    let data = "{use=\"webdataset\",shards=\"mixed.tar\"}";
    for (name, good, listed) in [("simclr", 15, 16), ("clip", 10, 12), ("classify", 14, 16)] {
        let (_, summary, err) = check(folder.path(), name, data);
        assert_eq!(summary["good"].as_u64(), Some(good), "{name}: {err}\n{summary}");
        let ran = train(folder.path(), name, data);
        assert_eq!(ran.code, 0, "{name}: {}", ran.err);
        assert!(ran.out.contains(&format!("{listed} samples")), "{name}: {}", ran.out);
        // Steps over several epochs meet every sample: what is skipped in training is what check finds.
        let args = ["train", &format!("{name}.toml"), &format!("name={name}"), "train.steps=12", &format!("data.train={data}")];
        must(folder.path(), &args);
        let log = std::fs::read_to_string(folder.path().join(format!("logs/{name}/skipped.jsonl"))).expect("it is there");
        let mut skipped: Vec<String> =
            log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["key"].to_string()).collect();
        skipped.sort();
        skipped.dedup();
        let mut found: Vec<String> = summary["problems"].as_array().expect("a list").iter().map(|bad| bad["key"].to_string()).collect();
        found.sort();
        assert_eq!(skipped, found, "{name}");
    }
}

#[test]
fn names_with_dots_are_explained_by_data_check_and_by_check() {
    let folder = folder();
    for (file, name, wanted) in [
        ("a.tar", "sample{}.input", "did you mean image_key = \"input.jpg\"?"),
        ("b.tar", "photo.{}", "a key ends at the first dot of a name, so `photo.0.jpg` is key `photo` with suffix `0.jpg`"),
    ] {
        let members: Vec<_> = (0..8u8)
            .flat_map(|number| {
                let stem = name.replace("{}", &number.to_string());
                [(format!("{stem}.jpg"), encoded(number, ImageFormat::Jpeg)), (format!("{stem}.txt"), b"a caption".to_vec())]
            })
            .collect();
        shard(folder.path(), file, &members);
        let found = run(folder.path(), &["data", "check", file]);
        assert!(found.code != 0 && found.err.contains(wanted), "{file}: {} {}", found.code, found.err);
        let run_file = run(folder.path(), &["check", "clip.toml", &format!("data.train={{use=\"webdataset\",shards=\"{file}\"}}")]);
        assert!(run_file.code == 2 && run_file.err.contains(wanted), "{file}: {} {}", run_file.code, run_file.err);
    }
    let right = run(
        folder.path(),
        &["check", "clip.toml", "data.train={use=\"webdataset\",shards=\"a.tar\",image_key=\"input.jpg\",text_key=\"input.txt\"}"],
    );
    assert_eq!(right.code, 0, "{}", right.err);
}

#[test]
fn check_builds_what_changes_pictures_and_captions_and_tells_all_of_it() {
    let folder = folder();
    let views = "[view.image.main]\naugment = [{ use = \"random_erasing\", p = 1.5 }, { use = \"rand_augment\", magnitude = 31 }]\n\
                 [view.text.main]\ntransform = [{ use = \"match_labels\", classes = \"none.txt\" }, { use = \"truncate\", tokens = 0 }]\n";
    let plain = "[view.image.main]\naugment = [{ use = \"random_resized_crop\" }, { use = \"flip\" }]\n\
                 [view.text.main]\ntransform = [{ use = \"choose\" }]\n";
    let text = SMALL.replace(plain, "").replace("[objective.clip]\n", &format!("{views}[objective.clip]\n"));
    std::fs::write(folder.path().join("views.toml"), text).expect("written");
    let ran = run(folder.path(), &["check", "views.toml"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    for wanted in ["views.toml:", "`p` is 1.5", "`magnitude` = 31", "none.txt", "view.text.main.transform.1"] {
        assert!(ran.err.contains(wanted), "{wanted}: {}", ran.err);
    }
}

#[test]
fn data_is_known_by_what_it_is_and_what_is_not_there_is_told() {
    let folder = folder();
    let members: Vec<_> = (0..8u8)
        .flat_map(|number| {
            [(format!("{number}.jpg"), encoded(number, ImageFormat::Jpeg)), (format!("{number}.txt"), b"a caption".to_vec())]
        })
        .collect();
    shard(folder.path(), "plain.tar", &members);
    let tar = std::fs::read(folder.path().join("plain.tar")).expect("it is there");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &tar).expect("memory does not fail");
    write(folder.path(), "packed/0.tar.gz", &packed.finish().expect("memory does not fail"));
    let text = must(folder.path(), &["data", "check", "packed"]);
    assert!(text.contains("8 samples"), "a folder of compressed shards: {text}");
    let ran = run(folder.path(), &["data", "check", "nowhere"]);
    assert!(ran.code == 2 && ran.err.contains("`nowhere` is not there"), "{}: {}", ran.code, ran.err);
    let ran = run(folder.path(), &["check", "clip.toml", "data.train={use=\"webdataset\",shards=\"packed\"}"]);
    assert!(ran.code == 2 && ran.err.contains("a folder; its shards are") && ran.err.contains("packed/*.tar"), "{}: {}", ran.code, ran.err);
    write(folder.path(), "t.csv", b"filepath\ttitle\n0.png\ta dog\n");
    write(folder.path(), "0.png", &encoded(0, ImageFormat::Png));
    let ran = run(folder.path(), &["data", "check", "t.csv", "separator=\\t"]);
    assert_eq!(ran.code, 0, "a tab as a shell writes it: {} {}", ran.out, ran.err);
    let ran = run(folder.path(), &["data", "check", "pipe:echo asked >> asked.log; exit 3", "--allow-pipe"]);
    let asked = std::fs::read_to_string(folder.path().join("asked.log")).unwrap_or_default();
    assert!(ran.code == 2 && !asked.is_empty(), "{}: {}", ran.code, ran.err);
    assert!(asked.lines().count() <= 4, "a command that fails is not run again for everything that is looked for: {asked}");
}

#[test]
fn numbered_folders_are_the_classes_of_their_numbers() {
    let folder = folder();
    let mut names = String::new();
    for class in 0..12u8 {
        // As many pictures as the class's number and one more, so that the counts tell which folder is which class.
        for number in 0..=class {
            write(folder.path(), &format!("val/{class}/{number}.png"), &encoded(class * 12 + number, ImageFormat::Png));
        }
        names += &format!("animal {class}\n");
    }
    write(folder.path(), "names.txt", names.as_bytes());
    let counts = |args: &[&str]| -> Value {
        let ran = run(folder.path(), &[&["data", "check", "val", "--json"], args].concat());
        serde_json::from_str::<Value>(&ran.out).expect("JSON")["classes"].clone()
    };
    let named = counts(&["classes=names.txt"]);
    for class in 0..12u64 {
        assert_eq!(named[format!("animal {class}")], class + 1, "{named}");
    }
    assert_eq!(counts(&[])["10"], 11, "without names a folder's name is its class");
    write(folder.path(), "val/12/1.png", &encoded(0, ImageFormat::Png));
    let outside = train(folder.path(), "classify", "{use=\"imagefolder\",path=\"val\",classes=\"names.txt\"}");
    assert!(outside.code == 2 && outside.err.contains("from 0 to 11, and `12` is outside"), "{}", outside.err);
}

#[test]
fn an_empty_class_keeps_its_place_and_is_told() {
    let folder = folder();
    for (class, pictures) in [("a", 0), ("b", 6u8)] {
        std::fs::create_dir_all(folder.path().join("set").join(class)).expect("room");
        (0..pictures).for_each(|number| write(folder.path(), &format!("set/{class}/{number}.png"), &encoded(number, ImageFormat::Png)));
    }
    let text = must(folder.path(), &["data", "check", "set"]);
    assert!(text.contains("1 of 2 class folders of ") && text.contains("hold no picture: a"), "{text}");
    let ran = train(folder.path(), "classify", "{use=\"imagefolder\",path=\"set\"}");
    assert!(ran.code == 0 && ran.err.contains("hold no picture: a"), "{}", ran.err);
}

#[test]
fn what_cannot_be_embedded_is_listed_and_the_rest_is_done() {
    let folder = folder();
    for number in 0..4u8 {
        write(folder.path(), &format!("photos/{number}.jpg"), &encoded(number, ImageFormat::Jpeg));
    }
    let whole = encoded(2, ImageFormat::Jpeg);
    write(folder.path(), "photos/2.jpg", &whole[..whole.len() - 40]);
    write(folder.path(), "photos/4.tif", &encoded(4, ImageFormat::Tiff));
    write(folder.path(), "photos/notes.txt", b"no picture");
    let embed =
        |more: &[&str]| run(folder.path(), &[&["embed", "--model", "clip.toml", "--out", "o.safetensors", "--batch", "2"], more].concat());
    let ran = embed(&["--images", "photos", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let said: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(said["images"], serde_json::json!(["photos/0.jpg", "photos/1.jpg", "photos/3.jpg", "photos/4.tif"]));
    let reasons: Vec<&str> = said["skipped"].as_array().expect("a list").iter().filter_map(|bad| bad["reason"].as_str()).collect();
    assert_eq!(reasons, ["not an image file", "truncated image"]);
    assert!(ran.err.contains("2 files were not used") && ran.err.contains("photos/2.jpg"), "{}", ran.err);
    let tensors = vlhub_host::formats::read_safetensors(&folder.path().join("o.safetensors")).expect("it was written");
    let images = &tensors.iter().find(|(name, _)| name == "image").expect("embeddings").1;
    assert_eq!(images.size(), [4, 16]);

    let none = embed(&["--images", "photos/2.jpg"]);
    assert!(none.code == 3 && none.err.contains("no picture could be used"), "{} {}", none.code, none.err);
    let typo = embed(&["--images", "photos/0.jpg", "photos/5.jpg"]);
    assert!(typo.code == 2 && typo.err.contains("photos/5.jpg"), "what is named must be there: {} {}", typo.code, typo.err);
}

#[test]
fn a_camera_s_picture_is_read_and_the_limit_is_an_option() {
    let folder = folder();
    GrayImage::from_pixel(5200, 5200, Luma([90])).save(folder.path().join("big.png")).expect("room");
    let embed = |more: &[&str]| {
        run(folder.path(), &[&["embed", "--model", "clip.toml", "--images", "big.png", "--out", "o.safetensors"], more].concat())
    };
    assert_eq!(embed(&[]).code, 0, "27 megapixels: {}", embed(&[]).err);
    for more in [&["--max-pixels", "27000000"][..], &["max_pixels=27000000"]] {
        let refused = embed(more);
        assert_eq!(refused.code, 3, "{more:?}: {}", refused.err);
        assert!(refused.err.contains("5200×5200") && refused.err.contains("`max_pixels` allows 27000000"), "{}", refused.err);
    }
    std::fs::create_dir(folder.path().join("flat")).expect("room");
    std::fs::rename(folder.path().join("big.png"), folder.path().join("flat/big.png")).expect("room");
    must(folder.path(), &["data", "check", "flat"]);
    let refused = run(folder.path(), &["data", "check", "flat", "--max-pixels", "1000"]);
    assert!(refused.code == 3 && refused.out.contains("too many pixels"), "{}", refused.out);
}

#[test]
fn sources_are_listed_like_other_plugins() {
    let folder = folder();
    let listed: Value = serde_json::from_str(&must(folder.path(), &["plugins", "list", "source", "--json"])).expect("JSON");
    let names: Vec<&str> = listed.as_array().expect("a list").iter().filter_map(|plugin| plugin["name"].as_str()).collect();
    for wanted in ["clip_benchmark", "csv", "food101", "imagefolder", "img2dataset", "mix", "parquet", "shapes", "webdataset", "xlsx"] {
        assert!(names.contains(&wanted), "{wanted}: {names:?}");
    }
    assert!(must(folder.path(), &["plugins", "show", "csv"]).contains("img_key"));
    let ran = run(folder.path(), &["check", "clip.toml", "data.train.use=csv", "data.train.pth=a.csv"]);
    assert!(ran.code == 2 && ran.err.contains("`csv` has no option `pth`") && ran.err.contains("did you mean `path`?"), "{}", ran.err);
}

#[test]
fn a_preview_is_the_batch_that_training_gets() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), SMALL).expect("written");
    must(folder.path(), &["train", "run.toml", "name=a", "train.steps=1", "train.show_batch=true", "schedule.warmup=0"]);
    let told = must(folder.path(), &["data", "preview", "run.toml", "--out", "first.png"]);
    assert!(told.contains("first.png") && told.contains("step 0 of 6 an epoch"), "{told}");
    must(folder.path(), &["data", "preview", "run.toml", "--step", "1"]);
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(bytes("first.png"), bytes("logs/a/train_batch0.png"), "the same pictures, the same draws");
    assert_eq!(bytes("first.txt"), bytes("logs/a/train_batch0.txt"), "the same captions");
    assert_ne!(bytes("first.png"), bytes("preview.png"), "another step, another batch");
    let words = "[view.image.main]\naugment = [{ use = \"random_resized_crop\" }, { use = \"flip\" }]\n";
    let mlm = SMALL.replace(words, "").replace("[objective.clip]\n", "[objective.mlm]\n");
    std::fs::write(folder.path().join("mlm.toml"), mlm).expect("written");
    let ran = run(folder.path(), &["data", "preview", "mlm.toml"]);
    assert!(ran.code == 2 && ran.err.contains("read no pictures"), "{}: {}", ran.code, ran.err);
}

#[test]
fn the_speed_of_data_is_told_stage_by_stage() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), SMALL).expect("written");
    for number in 0..24u8 {
        write(folder.path(), &format!("pictures/{}/{number}.jpg", number % 2), &encoded(number, ImageFormat::Jpeg));
    }
    let data = "data.train={use=\"imagefolder\",path=\"pictures\"}";
    let text = must(folder.path(), &["bench", "data", "run.toml", data, "--seconds", "0.3", "--json"]);
    let speed: Value = serde_json::from_str(&text).expect("JSON");
    for stage in ["read", "decode", "augment", "tokenise", "end_to_end", "of_decode"] {
        assert!(speed[stage].as_f64().is_some_and(|rate| rate > 0.0), "{stage}: {text}");
    }
    assert_eq!((speed["threads"].as_u64(), speed["picture"][0].as_f64()), (Some(2), Some(20.0)), "{text}");
    let text = must(folder.path(), &["bench", "data", "run.toml", "train.workers=1", "--seconds", "0.3"]);
    assert!(text.contains("samples a second, 1 thread:") && text.contains("end to end"), "{text}");
    let ran = run(folder.path(), &["bench", "data", "run.toml", "--seconds", "0"]);
    assert!(ran.code == 2 && ran.err.contains("--seconds 0"), "{}: {}", ran.code, ran.err);
}
