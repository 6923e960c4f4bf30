//! What somebody outside the workspace builds: `examples/template`, a plugin, and `examples/slim`, a distribution that links it. The same
//! plugin is then loaded as a library by our own program, which was built in another workspace.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::cargo;

/// A workspace of the two examples, in the checkout's target folder so that Cargo's configuration of the checkout applies.
///
/// One workspace for both, because Cargo then gives the crates below them the features that they have in ours: tch is not compiled again.
fn workspace() -> PathBuf {
    let root = cargo::root();
    let folder = root.join("target").join("third-party");
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // Only files that differ are written: Cargo goes by their time.
    let write = |path: PathBuf, text: String| {
        fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder");
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            fs::write(&path, text).expect("it can be written");
        }
    };
    for file in ["template/Cargo.toml", "template/build.rs", "template/src/lib.rs", "template/src/loss.rs", "template/tests/conformance.rs"]
        .into_iter()
        .chain(["slim/Cargo.toml", "slim/build.rs", "slim/src/main.rs"])
    {
        let mut text = read(&root.join("examples").join(file)).replace("path = \"../../", &format!("path = \"{}/", root.display()));
        match file {
            "slim/Cargo.toml" => {
                // The second has the one feature that only our tests ask for: with it, tch and what lies below are those of our workspace.
                let more = "my-loss = { path = \"../template\" }\nserde_json = { version = \"1\", features = [\"unbounded_depth\"] }";
                text = text.replace("[dependencies]\n", &format!("[dependencies]\n{more}\n"));
            }
            "slim/src/main.rs" => text.push_str("\nuse my_loss as _;\n"),
            _ => {}
        }
        if file.ends_with("Cargo.toml") {
            // Of a member, Cargo would only warn that it ignores them.
            text.truncate(text.find("[profile.").unwrap_or(text.len()));
        }
        write(folder.join(file), text);
    }
    let ours = read(&root.join("Cargo.toml"));
    let profiles = ours.find("[profile.").map_or("", |at| &ours[at..]);
    let members = "[workspace]\nresolver = \"3\"\nmembers = [\"template\", \"slim\"]\n\n";
    write(folder.join("Cargo.toml"), format!("{members}{profiles}"));
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).expect("versions are those of the checkout");
    folder
}

/// Files that a build has made of a target: programs, or libraries.
fn made(messages: &str, target: &str) -> Vec<PathBuf> {
    let lines = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let artifacts = lines.filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == target);
    let files = artifacts.flat_map(|artifact| artifact["filenames"].as_array().cloned().unwrap_or_default());
    files.filter_map(|file| file.as_str().map(PathBuf::from)).collect()
}

#[track_caller]
fn output(program: &Path, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let (said, complained) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{} {args:?}: {}\n{said}\n{complained}", program.display(), out.status);
    said.into_owned()
}

/// The file without an extension: a program, next to its `.d`.
#[track_caller]
fn program(files: &[PathBuf]) -> &Path {
    files.iter().find(|file| file.extension().is_none()).expect("a program was built")
}

#[test]
fn a_third_partys_plugin_keeps_the_laws_is_linked_and_is_loaded() {
    let folder = workspace();
    let all = ["--offline", "--workspace", "--all-targets", "--message-format", "json-render-diagnostics"];
    let linked = cargo::build(&folder, &all);

    let laws = output(program(&made(&linked, "conformance")), &[]);
    assert!(laws.contains("my_loss"), "the laws were asked of it: {laws}");

    let slim = made(&linked, "slim").into_iter().find(|file| file.ends_with("slim")).expect("the distribution was built");
    let list: Value = serde_json::from_str(&output(&slim, &["plugins", "list", "--json"])).expect("it is JSON");
    let packages: BTreeSet<&str> =
        list.as_array().expect("a list").iter().filter_map(|plugin| plugin["package"].as_str()?.split(' ').next()).collect();
    let wanted = ["my-loss", "vlhub-plugin-clip", "vlhub-plugin-vit", "vlhub-plugin-zeroshot"];
    assert_eq!(packages.into_iter().collect::<Vec<_>>(), wanted, "a distribution has the crates that it names, and no others");
    trains(&slim, "libraries=[]");

    let loadable = cargo::build(&folder, &[&all[..], &["--features", "my-loss/dylib"]].concat());
    let library = made(&loadable, "my_loss").into_iter().find(|file| file.extension().is_some_and(|end| end == "so"));
    let library = library.expect("a library was built").display().to_string();
    let host = cargo::profile_folder().join("vlhub");
    let shown = output(&host, &["--library", &library, "plugins", "show", "my_loss"]);
    assert!(shown.contains("margin") && shown.contains("my-loss"), "our own program knows it: {shown}");
    trains(&host, &format!("libraries=[\"{library}\"]"));
}

/// The template's own run file trains `my_loss` by its name.
#[track_caller]
fn trains(program: &Path, libraries: &str) {
    let logs = tempfile::tempdir().expect("a folder");
    let file = cargo::root().join("examples/template/run.toml");
    let logs_at = format!("logs={}", logs.path().display());
    output(program, &["train", &file.display().to_string(), libraries, &logs_at, "train.steps=3", "train.batch=8", "train.log_every=1"]);
    let metrics = fs::read_to_string(logs.path().join("my-loss/metrics.jsonl")).expect("it was trained");
    let lines: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).expect("a whole line")).collect();
    assert!(lines.len() == 3 && lines.iter().all(|line| line["metrics"]["my_loss_loss"].as_f64().is_some_and(f64::is_finite)), "{metrics}");
}
