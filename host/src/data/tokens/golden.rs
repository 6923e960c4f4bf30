//! Tokenizers of each kind against open_clip with transformers: `tests/golden/hf_tokenizers.py`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;

const GOLDEN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/hf_tokenizers.json"));

fn golden() -> Value {
    serde_json::from_str(GOLDEN).expect("the golden file is JSON")
}

/// Writes the files of a tokenizer into a folder of its own.
fn folder_of(name: &str, golden: &Value, root: &Path) -> PathBuf {
    let folder = root.join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    for (file, content) in golden["files"][name].as_object().expect("files") {
        // A name stands for the same file of another tokenizer.
        let content = content.as_str().map_or(content, |other| &golden["files"][other][file]);
        std::fs::write(folder.join(file), content.to_string()).expect("it is written");
    }
    folder
}

fn options(value: &Value) -> TokenizerOptions {
    serde_json::from_value(value.clone()).expect("open_clip's names are read")
}

#[test]
fn ids_of_every_kind_of_tokenizer_equal_those_of_open_clip() {
    let (golden, root) = (golden(), tempfile::tempdir().expect("a folder"));
    let texts: Vec<&str> = golden["texts"].as_array().expect("texts").iter().filter_map(Value::as_str).collect();
    let mut wrong = Vec::new();
    for case in golden["cases"].as_array().expect("cases") {
        let (name, given) = (case["tokenizer"].as_str().expect("a name"), options(&case["options"]));
        let tokenizer = match name {
            "clip" => clip_with(&given).expect("it builds"),
            _ => from_file_with(&folder_of(name, &golden, root.path()), &given).expect("it is read"),
        };
        for (text, row) in texts.iter().zip(case["rows"].as_array().expect("rows")) {
            let theirs: Vec<i64> = serde_json::from_value(row.clone()).expect("ids");
            let mut ours = tokenizer.encode(text);
            assert!(ours.len() <= given.context && ours.iter().all(|id| (0..tokenizer.vocab() as i64).contains(id)), "{name}: {ours:?}");
            ours.resize(given.context, tokenizer.pad());
            if ours != theirs {
                wrong.push(format!("{name} {}: {text:?}\n  ours   {ours:?}\n  theirs {theirs:?}", case["options"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ ({}):\n{}", wrong.len(), golden["origin"], wrong.join("\n"));
}

#[test]
fn short_texts_are_not_padded_and_are_read_back() {
    let (golden, root) = (golden(), tempfile::tempdir().expect("a folder"));
    let mut words = vec![("bert", json!({}), 0), ("roberta", json!({}), 1), ("t5", json!({}), 0), ("siglip", json!({}), 1)];
    words.extend([("nllb", json!({}), 1), ("gemma", json!({}), 0), ("bert", json!({"strip_sep": true}), 0)]);
    words.extend([("clips", json!({"mode": "clips"}), 0), ("left", json!({}), 0)]);
    for (name, given, pad) in words {
        let tokenizer = from_file_with(&folder_of(name, &golden, root.path()), &options(&given)).expect("it is read");
        let ids = tokenizer.encode("two dogs");
        assert_eq!(tokenizer.pad(), pad, "{name}");
        assert_eq!(ids.len() == 77, matches!(name, "clips" | "left" | "gemma"), "{name}: {ids:?}");
        assert_eq!(tokenizer.decode(&ids).trim(), "two dogs", "{name} {given}");
    }
}

#[test]
fn a_file_and_its_folder_are_the_same_tokenizer() {
    let (golden, root) = (golden(), tempfile::tempdir().expect("a folder"));
    let folder = folder_of("siglip", &golden, root.path());
    let [file, folder] = [folder.join("tokenizer.json"), folder].map(|path| from_file(&path, 16).expect("it is read"));
    assert_eq!(file.encode("a dog"), folder.encode("a dog"));
    assert_eq!((file.pad(), folder.pad()), (1, 1), "the configuration beside it is read");
    let empty = root.path().join("empty");
    std::fs::create_dir(&empty).expect("a folder");
    let error = from_file(&empty, 16).expect_err("there is none").to_string();
    assert!(error.contains("holds no tokenizer.json") && error.contains("save_pretrained"), "{error}");
    std::fs::write(root.path().join("siglip/tokenizer_config.json"), "[]").expect("it is written");
    let error = from_file(&root.path().join("siglip"), 16).expect_err("it is broken").to_string();
    assert!(error.contains("tokenizer_config.json"), "{error}");
}

#[test]
fn options_that_a_tokenizer_cannot_follow_are_refused() {
    let (golden, root) = (golden(), tempfile::tempdir().expect("a folder"));
    for (name, given, wanted) in [
        ("bert", json!({"language": "fra_Latn"}), "knows no languages"),
        ("nllb", json!({"language": "xx_Xxxx"}), "`xx_Xxxx`"),
        ("bert", json!({"mode": "clips"}), "no bos_token"),
        ("gemma", json!({"strip_sep_token": true}), "no sep_token"),
        ("clips", json!({"mode": "clips", "context": 2}), "context of 2"),
    ] {
        let error = from_file_with(&folder_of(name, &golden, root.path()), &options(&given)).expect_err("it cannot").to_string();
        assert!(error.contains(wanted), "{name}: {error}");
    }
    for (given, wanted) in
        [(json!({"strip_sep": true}), "`strip_sep`"), (json!({"language": "eng_Latn"}), "`language`"), (json!({"mode": "clips"}), "`mode`")]
    {
        let error = clip_with(&options(&given)).expect_err("it means nothing").to_string();
        assert!(error.contains(wanted), "{error}");
    }
    assert!(serde_json::from_value::<TokenizerOptions>(json!({"celan": "lower"})).is_err(), "an unknown option");
}
