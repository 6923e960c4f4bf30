//! What somebody outside the workspace builds: `examples/template`, a plugin, and `examples/slim`, a distribution that links it. The same
//! plugin, and one of each other kind as `cargo vlhub new` writes it, are then loaded as libraries by our own program, which was built in
//! another workspace.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::cargo;

/// The kinds of `cargo vlhub new` beside the objective, which is `examples/template`.
const KINDS: [&str; 6] = ["backbone", "augmentation", "caption", "suite", "source", "store"];

/// A workspace of the two examples and a crate of each other kind, in the checkout's target folder so that Cargo's configuration of the checkout applies.
///
/// One workspace for all, because Cargo then gives the crates below them the features that they have in ours: tch is not compiled again.
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
    // Of a member, Cargo would only warn that it ignores its profiles.
    let member = |mut manifest: String| {
        manifest.truncate(manifest.find("[profile.").unwrap_or(manifest.len()));
        manifest
    };
    let elsewhere = tempfile::tempdir().expect("a folder");
    let tool = cargo::profile_folder().join("cargo-vlhub");
    for kind in KINDS {
        let name = format!("my-{kind}");
        let sdk = root.join("sdk").display().to_string();
        let made = Command::new(&tool).args(["new", &name, "--kind", kind, "--sdk", &sdk]).current_dir(&elsewhere).output();
        let made = made.unwrap_or_else(|error| panic!("{}: {error}; `cargo build --workspace` makes it", tool.display()));
        assert!(made.status.success(), "{kind}: {}", String::from_utf8_lossy(&made.stderr));
        for file in files_below(&elsewhere.path().join(&name)) {
            let inside = file.strip_prefix(elsewhere.path()).expect("it is below").to_owned();
            let text = read(&file);
            let text = if inside.ends_with("Cargo.toml") { member(text) } else { text };
            write(folder.join(inside), text);
        }
    }
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
        write(folder.join(file), if file.ends_with("Cargo.toml") { member(text) } else { text });
    }
    let ours = read(&root.join("Cargo.toml"));
    let profiles = ours.find("[profile.").map_or("", |at| &ours[at..]);
    let members = KINDS.map(|kind| format!("\"my-{kind}\""));
    let members = format!("[workspace]\nresolver = \"3\"\nmembers = [\"template\", \"slim\", {}]\n\n", members.join(", "));
    write(folder.join("Cargo.toml"), format!("{members}{profiles}"));
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).expect("versions are those of the checkout");
    folder
}

/// The sources and run files of a crate; not its own Cargo configuration, which is that of the checkout here.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("it was made").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with(".cargo") {
            found.extend(files_below(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
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
    // Shards of the template's store go to a cache that is made for it.
    let cache = tempfile::tempdir().expect("a folder");
    let out = Command::new(program)
        .env("VLHUB_DATA_CACHE", cache.path())
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let (said, complained) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{} {args:?}: {}\n{said}\n{complained}", program.display(), out.status);
    said.into_owned()
}

/// The library among the files that a build has made of a target.
#[track_caller]
fn library(messages: &str, target: &str) -> String {
    let files = made(messages, target);
    let library = files.iter().find(|file| file.extension().is_some_and(|end| end == "so"));
    library.unwrap_or_else(|| panic!("a library of {target} was built: {files:?}")).display().to_string()
}

#[test]
fn third_partys_plugins_keep_the_laws_are_linked_and_are_loaded() {
    let folder = workspace();
    let loadable = KINDS.map(|kind| format!("my-{kind}/dylib")).join(",");
    let all = ["--offline", "--workspace", "--all-targets", "--message-format", "json-render-diagnostics", "--features"];
    let linked = cargo::build(&folder, &[&all[..], &[&loadable]].concat());

    let laws: String =
        made(&linked, "conformance").iter().filter(|file| file.extension().is_none()).map(|file| output(file, &[])).collect();
    for plugin in [
        "objective::my_loss",
        "backbone::my_backbone",
        "augmentation::my_augmentation",
        "caption::my_caption",
        "eval::my_suite",
        "source::my_source",
        "store::my_store",
    ] {
        assert!(laws.contains(plugin), "the laws were asked of {plugin}: {laws}");
    }

    let slim = made(&linked, "slim").into_iter().find(|file| file.ends_with("slim")).expect("the distribution was built");
    let list: Value = serde_json::from_str(&output(&slim, &["plugins", "list", "--json"])).expect("it is JSON");
    let packages: BTreeSet<&str> =
        list.as_array().expect("a list").iter().filter_map(|plugin| plugin["package"].as_str()?.split(' ').next()).collect();
    let wanted = ["my-loss", "vlhub-host", "vlhub-plugin-clip", "vlhub-plugin-vit", "vlhub-plugin-zeroshot"];
    assert_eq!(packages.into_iter().collect::<Vec<_>>(), wanted, "a distribution has the host's data sources and the crates that it names");
    trains(&slim, "libraries=[]", &cargo::root().join("examples/template"), "my-loss");
    knows_what_it_lacks(&slim);

    let loadable = cargo::build(&folder, &[&all[..], &[&format!("{loadable},my-loss/dylib")]].concat());
    let host = cargo::profile_folder().join("vlhub");
    let shown = output(&host, &["--library", &library(&loadable, "my_loss"), "plugins", "show", "my_loss"]);
    assert!(shown.contains("margin") && shown.contains("my-loss"), "our own program knows it: {shown}");
    for (name, crate_folder) in KINDS
        .map(|kind| (format!("my-{kind}"), folder.join(format!("my-{kind}"))))
        .into_iter()
        .chain([("my-loss".into(), cargo::root().join("examples/template"))])
    {
        let library = library(&loadable, &name.replace('-', "_"));
        trains(&host, &format!("libraries=[\"{library}\"]"), &crate_folder, &name);
    }
}

/// A run file and a command that name first-party plugins of crates that a build leaves out are told which feature brings them in: also
/// presets, and plugins of crates that register hundreds.
#[track_caller]
fn knows_what_it_lacks(slim: &Path) {
    for (plugin, feature) in [("resnet50", "resnet"), ("convnext_tiny", "convnet"), ("eva02_base_patch14_224", "eva"), ("knn", "probe")] {
        let out = Command::new(slim).args(["plugins", "show", plugin]).output().expect("it starts");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && said.contains(&format!("--features {feature}`")), "{plugin}: {said}");
    }
    let list = output(slim, &["plugins", "list", "objective"]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(list.contains("byol, simclr (`simclr`)") && !list.contains("(`clip`)"), "a menu says what is left out: {list}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.toml").display().to_string();
    fs::write(&file, "[backbone.image]\nuse = \"swin_tiny_patch4_window7_224\"\n[objective.siglp]\n").expect("written");
    let said = Command::new(slim).args(["check", &file]).output().expect("it starts").stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("build it with `--features swin`") && said.contains("did you mean `siglip`"), "{said}");
}

/// The run file of a crate trains with its plugin, which it calls by its name.
#[track_caller]
fn trains(program: &Path, libraries: &str, crate_folder: &Path, name: &str) {
    let logs = tempfile::tempdir().expect("a folder");
    let file = crate_folder.join("run.toml").display().to_string();
    let logs_at = format!("logs={}", logs.path().display());
    output(program, &["train", &file, libraries, &logs_at, "train.steps=3", "train.batch=8", "train.log_every=1"]);
    let run = logs.path().join(name);
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).expect("it was trained");
    let lines: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).expect("a whole line")).collect();
    let of_plugin = |line: &Value| line["metrics"]["my_loss_loss"].as_f64().is_some_and(f64::is_finite);
    let finite = |line: &Value| line["loss"].as_f64().is_some_and(f64::is_finite) && (name != "my-loss" || of_plugin(line));
    assert!(lines.len() == 3 && lines.iter().all(finite), "{metrics}");
    let options = fs::read_to_string(run.join("config.toml")).expect("it was written");
    assert!(options.contains(&name.replace('-', "_")), "{name} was used: {options}");
}
