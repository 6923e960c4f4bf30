//! The flags of open_clip and VL Hub: the table has all of them, and every command of their READMEs becomes a run file.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vlhub_host::compat::{self, FlagEffect, FlagOrigin, FlagValue, page};
use vlhub_host::config::document::{Document, leaves};

use crate::cargo::root;
use crate::program::{must, run};

/// What tests/golden/flags.py wrote.
fn golden() -> Value {
    let text = std::fs::read_to_string(root().join("tests/golden/flags.json")).expect("tests/golden/flags.py writes it");
    serde_json::from_str(&text).expect("JSON")
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().expect("a list").iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
}

/// A flag's name as the table writes it.
fn plain(name: &str) -> String {
    name.trim_start_matches('-').replace('_', "-")
}

#[test]
fn the_page_of_flags_is_what_the_program_reads() {
    let path = root().join("host/FLAGS.md");
    let page = page::markdown();
    if std::fs::read_to_string(&path).unwrap_or_default() != page {
        std::fs::write(&path, page).expect("written");
        panic!("host/FLAGS.md was stale and has been written again; commit it");
    }
}

#[test]
fn every_flag_of_both_programs_is_in_the_table() {
    let golden = golden();
    let mut origins: Vec<(&str, BTreeSet<String>)> = Vec::new();
    for (program, flags) in golden["flags"].as_object().expect("programs") {
        let mut names = BTreeSet::new();
        for declared in flags.as_array().expect("a list") {
            for name in texts(&declared["names"]) {
                let flag = compat::all().find(|flag| flag.name == plain(&name)).unwrap_or_else(|| panic!("{program} has {name}"));
                let several = !declared["several"].is_null();
                let fits = match (flag.takes, declared["takes"].as_str().expect("a word")) {
                    // The path that VL Hub has in its program.
                    (FlagValue::Place, "nothing") => true,
                    (FlagValue::Switch, "nothing" | "bool") => true,
                    (FlagValue::Switch, "str") => declared["default"] == false,
                    (FlagValue::Whole, "int") | (FlagValue::Number, "float") => !several,
                    (FlagValue::Wholes, "int") | (FlagValue::Numbers, "float") | (FlagValue::Texts, "str") => several,
                    (FlagValue::Text, "str") => !several && declared["choices"].is_null() && declared["default"] != false,
                    (FlagValue::OneOf(words), "str") if !declared["choices"].is_null() => {
                        texts(&declared["choices"]).iter().all(|word| words.contains(&word.as_str()))
                    }
                    _ => false,
                };
                assert!(fits, "{program}: {name} takes {declared}, not {:?}", flag.takes);
                names.insert(flag.name.to_owned());
            }
        }
        origins.push((program.as_str(), names));
    }
    let has = |program: &str, name: &str| origins.iter().any(|(known, names)| *known == program && names.contains(name));
    let readme: BTreeSet<String> = texts(&golden["named"]["VL Hub"]).iter().map(|name| plain(name)).collect();
    for name in &readme {
        assert!(compat::all().any(|flag| flag.name == name), "VL Hub's README names --{name}");
    }
    for flag in compat::all() {
        let (release, main, vlhub) = (has("open_clip 3.3.0", flag.name), has("open_clip main", flag.name), has("VL Hub", flag.name));
        let origin = match (release || main, vlhub) {
            (true, true) => FlagOrigin::Both,
            (true, false) if release => FlagOrigin::OpenClip,
            (true, false) => FlagOrigin::OpenClipMain,
            (false, true) => FlagOrigin::VlHub,
            (false, false) => FlagOrigin::Readme,
        };
        assert_eq!(flag.origin, origin, "--{}", flag.name);
        assert!(origin != FlagOrigin::Readme || readme.contains(flag.name), "--{} is in no program", flag.name);
    }
}

/// Small data in place of the paths of a command.
fn local(folder: &Path, word: &str) -> String {
    let (name, path) = word.split_once('=').filter(|(name, _)| name.starts_with("--")).unwrap_or(("", word));
    let at = |name: &str| folder.join(name).display().to_string();
    let path = match path {
        path if path.starts_with("pipe:") => format!("pipe:cat {}", at("{0..1}.tar")),
        path if path.ends_with(".tar") && path.contains('{') => at("{0..1}.tar"),
        path if path.ends_with(".csv") => at("pairs.csv"),
        path if path.ends_with(".pt") || path.ends_with(".pth.tar") => at("weights.pt"),
        path if path.starts_with('/') => at("images"),
        path => path.to_owned(),
    };
    if name.is_empty() { path } else { format!("{name}={path}") }
}

fn data(folder: &Path) {
    let picture = vlhub_sdk::image::RgbImage::from_fn(16, 16, |x, y| vlhub_sdk::image::Rgb([x as u8 * 9, y as u8 * 9, 9]));
    picture.save(folder.join("one.png")).expect("saved");
    std::fs::write(folder.join("pairs.csv"), "filepath\ttitle\none.png\ta red circle\n").expect("written");
    std::fs::copy(root().join("tests/golden/open_clip_tiny.safetensors"), folder.join("weights.pt")).expect("copied");
    std::fs::create_dir(folder.join("images")).expect("made");
    let bytes = std::fs::read(folder.join("one.png")).expect("it is there");
    for shard in 0..2 {
        let mut builder = tar::Builder::new(std::fs::File::create(folder.join(format!("{shard}.tar"))).expect("room"));
        for (name, bytes) in [("a.png", &bytes[..]), ("a.txt", b"a red circle")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, bytes).expect("room");
        }
        builder.finish().expect("room");
    }
}

/// The options that a command line gives by name alone, as they must stand in the run file.
fn wanted(words: &[String]) -> Vec<(&'static str, String)> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    let given = compat::split("train", &words, &["resume".into()]).expect("flags").given;
    let option = |given: &compat::GivenFlag| match given.flag.effect {
        FlagEffect::Option(path) => Some((path, given.values.first()?.clone())),
        _ => None,
    };
    given.iter().filter_map(option).collect()
}

#[test]
fn every_command_of_the_readmes_becomes_a_run_file() {
    let golden = golden();
    let folder = tempfile::tempdir().expect("a folder");
    data(folder.path());
    let (mut translated, mut refused) = (0, 0);
    for (page, commands) in golden["commands"].as_object().expect("pages") {
        for command in commands.as_array().expect("a list") {
            let words: Vec<String> = texts(command).iter().map(|word| local(folder.path(), word)).collect();
            let mut arguments = vec!["train", "--allow-pipe", "--print-config"];
            arguments.extend(words.iter().map(String::as_str));
            let ran = run(folder.path(), &arguments);
            if words.iter().any(|word| word.starts_with("--audio")) {
                assert!(ran.code == 2 && ran.err.contains("no sounds"), "{page}: {words:?}\n{}", ran.err);
                refused += 1;
                continue;
            }
            assert_eq!(ran.code, 0, "{page}: {words:?}\n{}", ran.err);
            let document = Document::parse(&ran.out, "printed", PathBuf::from(".")).expect("TOML");
            let options = leaves(&document.tree);
            for (path, value) in wanted(&words) {
                let same = options.get(path).is_some_and(|found| match found {
                    Value::Number(number) => number.as_f64() == value.parse().ok(),
                    Value::String(text) => *text == value,
                    Value::Bool(on) => value.parse() == Ok(*on),
                    _ => false,
                });
                assert!(same, "{page}: {path} is {value} in {words:?}\n{}", ran.out);
            }
            for (flag, suite) in [("--imagenet-val", "imagenet"), ("--objectnet", "objectnet"), ("--val-data", "val")] {
                let named = words.iter().any(|word| word.split('=').next() == Some(flag));
                let made = document.tree.get("eval").is_some_and(|suites| suites.get(suite).is_some());
                assert_eq!(named, made, "{page}: {flag}\n{}", ran.out);
            }
            std::fs::write(folder.path().join("printed.toml"), &ran.out).expect("written");
            let checked = run(folder.path(), &["check", "printed.toml", "--json", "--allow-pipe"]);
            let checked: Value = serde_json::from_str(&checked.out).unwrap_or_else(|error| panic!("{error}: {}", checked.err));
            let problems = checked["problems"].as_array().expect("a list");
            assert!(problems.is_empty(), "{page}: {words:?}\n{problems:?}\n{}", ran.out);
            translated += 1;
        }
    }
    assert!(translated >= 13 && refused == 2, "{translated} and {refused}");
}

#[test]
fn a_checkpoint_of_python_is_no_run_to_resume() {
    let folder = tempfile::tempdir().expect("a folder");
    data(folder.path());
    let ran = run(folder.path(), &["train", "--train-data=pairs.csv", "--resume", "weights.pt"]);
    assert!(ran.code == 2 && ran.err.contains("--pretrained weights.pt"), "{}", ran.err);
    let printed = must(folder.path(), &["train", "--train-data=pairs.csv", "--resume", "weights.pt", "--fine-tune", "--print-config"]);
    assert!(printed.contains("pretrained = \"weights.pt\""), "{printed}");
}
