//! Token ids through the command line.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::program::{command, must, ran, run};

fn ids(out: &str) -> Vec<Vec<i64>> {
    out.lines().map(|line| serde_json::from_str(line).expect("a list of ids")).collect()
}

#[test]
fn each_line_becomes_a_list_of_ids() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).expect("written");
    let of = |args: &[&str]| ids(&must(folder.path(), &[&["tokenize"], args].concat()));
    write("texts.txt", "A dog\r\n\ncaf\u{c3}\u{a9}".as_bytes());
    let wanted = [vec![49_406, 320, 1929, 49_407], vec![49_406, 49_407], vec![49_406, 15_304, 49_407]];
    assert_eq!(of(&["texts.txt"]), wanted);
    assert_eq!(of(&["texts.txt", "--context", "3"])[0], [49_406, 320, 49_407]);
    assert_ne!(of(&["texts.txt", "--clean", "whitespace"])[0], wanted[0], "a capital is another letter");
    write(
        "texts.jsonl",
        br#""A dog"
"a\ndog"
"#,
    );
    assert_eq!(of(&["texts.jsonl", "--json-lines"]), [wanted[0].clone(), wanted[0].clone()], "one text over two lines");

    let mut child = command(folder.path());
    let mut child =
        child.args(["tokenize", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(b"a dog\n").expect("written");
    let piped = ran(child.wait_with_output().expect("it ends"));
    assert_eq!((piped.code, ids(&piped.out)), (0, vec![wanted[0].clone()]), "{}", piped.err);
}

#[test]
fn another_tokenizer_is_taken_from_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let golden: Value = serde_json::from_str(include_str!("../golden/hf_tokenizers.json")).expect("JSON");
    std::fs::create_dir(folder.path().join("bert")).expect("a folder");
    for (name, content) in golden["files"]["bert"].as_object().expect("files") {
        std::fs::write(folder.path().join("bert").join(name), content.to_string()).expect("written");
    }
    std::fs::write(folder.path().join("texts.txt"), "two dogs").expect("written");
    let folder = folder.path();
    let by_folder = must(folder, &["tokenize", "texts.txt", "--tokenizer", "bert"]);
    assert_eq!(must(folder, &["tokenize", "texts.txt", "--tokenizer", "bert/tokenizer.json"]), by_folder);
    let case = golden["cases"]
        .as_array()
        .expect("cases")
        .iter()
        .find(|case| case["tokenizer"] == "bert" && case["options"].get("context").is_none());
    assert!(case.is_none_or(|case| case["rows"][0].is_array()));
    assert!(ids(&by_folder)[0].len() > 3, "{by_folder}");
    let speed: Value =
        serde_json::from_str(&must(folder, &["bench", "tokens", "texts.txt", "--tokenizer", "bert", "--seconds", "0.05", "--json"]))
            .expect("JSON");
    assert!(speed["texts"] == 1 && speed["texts_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{speed}");
}

#[test]
fn what_is_no_text_is_told_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("latin"), b"a dog\ncaf\xe9\n").expect("written");
    std::fs::write(folder.path().join("plain"), "a dog\n").expect("written");
    for (args, code, wanted) in [
        (&["tokenize", "latin"][..], 3, "latin, line 2: not UTF-8"),
        (&["tokenize", "plain", "--json-lines"], 3, "plain, line 1: not a JSON string"),
        (&["tokenize", "missing"], 2, "missing"),
        (&["tokenize", "plain", "--tokenizer", "nowhere"], 1, "nowhere"),
        (&["tokenize", "plain", "--context", "1"], 2, "context of 1"),
        (&["bench", "tokens", "plain", "--seconds", "0"], 2, "above 0"),
        (&["bench", "tokens", "/dev/null"], 1, "no text"),
    ] {
        let ran = run(folder.path(), args);
        assert!(ran.code == code && ran.err.contains(wanted), "{args:?}: {} {}", ran.code, ran.err);
    }
    assert_eq!(ids(&run(folder.path(), &["tokenize", "latin"]).out).len(), 1, "the line before it is printed");
}
