//! The first minutes of somebody who is new: what there is, what a run shows, what the quick start says, which compiler plugins need.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cargo::{profile_folder, root};
use crate::program::{Ran, SMALL, command, must, ran, run, vlhub};

/// `vlhub plugins list` with more arguments, as in a terminal of so many columns, or in a pipe.
fn list(columns: Option<usize>, args: &[&str]) -> Ran {
    let mut child = command(root());
    child.env_remove("COLUMNS").args(["plugins", "list"]).args(args);
    if let Some(columns) = columns {
        child.env("COLUMNS", columns.to_string());
    }
    ran(child.output().expect("it starts"))
}

/// Kind and name of every plugin that a list speaks of.
fn names(args: &[&str]) -> BTreeSet<(String, String)> {
    let text = list(None, &[args, &["--json"]].concat()).out;
    let all: Vec<Value> = serde_json::from_str(&text).expect("it is JSON");
    let word = |plugin: &Value, key: &str| plugin[key].as_str().expect("a word").to_owned();
    all.iter().map(|plugin| (word(plugin, "kind"), word(plugin, "name"))).collect()
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split_whitespace().collect()
}

#[test]
fn the_list_of_plugins_is_a_menu_that_fits_the_terminal() {
    let all = names(&[]);
    let kinds: BTreeSet<&str> = all.iter().map(|(kind, _)| kind.as_str()).collect();
    for (columns, width) in [(None, 80), (Some(60), 60), (Some(132), 132)] {
        let page = list(columns, &[]).out;
        assert!(page.lines().all(|line| line.chars().count() <= width), "{width} columns: {page}");
        assert!(page.lines().count() < 140, "four screens are no menu: {page}");
        for kind in &kinds {
            assert_eq!(page.lines().filter(|line| line.starts_with(&format!("{kind} · "))).count(), 1, "{kind} has one heading: {page}");
        }
        for name in ["vit", "text_transformer", "clip", "siglip", "flip", "choose", "zeroshot"] {
            assert_eq!(page.lines().filter(|line| line.starts_with(&format!("  {name} "))).count(), 1, "{name}: {page}");
        }
        assert!(!words(&page).contains("vit_b_32"), "presets are folded: {page}");
        assert!(page.contains("--all"), "{page}");
    }
}

#[test]
fn one_kind_is_told_whole_and_presets_are_shown_when_asked_for() {
    let objectives = names(&["objective"]);
    assert!(objectives.len() >= 12 && objectives.iter().all(|(kind, _)| kind == "objective"), "{objectives:?}");
    let page = list(Some(70), &["objective"]).out;
    assert!(page.lines().all(|line| line.chars().count() <= 70) && !page.contains('…'), "{page}");
    for (_, name) in &objectives {
        assert!(page.lines().any(|line| line.trim_end().starts_with(&format!("  {name}"))), "{name}: {page}");
        let shown: Vec<Value> =
            serde_json::from_str(&must(root(), &["plugins", "show", &format!("objective/{name}"), "--json"])).expect("JSON");
        let summary = shown[0]["summary"].as_str().expect("a text");
        let flat = page.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(&summary.split_whitespace().collect::<Vec<_>>().join(" ")), "{name} is told whole: {summary}\n{page}");
    }
    let clip = must(root(), &["plugins", "show", "clip"]);
    let told = |option: &str| clip.lines().position(|line| line.starts_with(&format!("  {option}")));
    let tile = told("tile = 0  (integer)").unwrap_or_else(|| panic!("the option with its default and type: {clip}"));
    let about = clip.lines().nth(tile + 1).unwrap_or_default();
    assert!(about.starts_with("      ") && about.len() > 40, "what it means, below it in the width of the terminal: {clip}");
    assert_eq!(list(Some(70), &["objectives"]).out, page, "the plural is the same word");
    assert_eq!(names(&["suite"]), names(&["eval"]), "what `cargo vlhub new` calls a suite");

    let everything = list(None, &["--all"]).out;
    let shown = words(&everything);
    let lost: Vec<_> = names(&[]).into_iter().filter(|(_, name)| !shown.contains(name.as_str())).collect();
    assert!(lost.is_empty(), "not in the list of everything: {lost:?}");
    assert!(everything.lines().all(|line| line.chars().count() <= 80), "{everything}");
    let found = list(None, &["vit_b_*"]).out;
    assert!(words(&found).contains("vit_b_32"), "whoever names a pattern sees the presets that fit: {found}");

    let typo = list(None, &["objectve"]);
    assert_eq!(typo.code, 2);
    assert!(typo.err.contains("did you mean `objective`?") && typo.err.contains("clip") && !typo.err.contains("vit_b_32"), "{}", typo.err);
}

#[test]
fn a_run_ends_with_its_loss_curve_and_the_place_of_its_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let suite = "[eval.seen]\nuse = \"zeroshot\"\ndata = { use = \"shapes\", size = 16, samples = 32 }\n";
    fs::write(folder.path().join("run.toml"), format!("{SMALL}{suite}")).expect("written");
    let said = must(folder.path(), &["train", "run.toml"]);
    let metrics = fs::read_to_string(folder.path().join("logs/small/metrics.jsonl")).expect("it was trained");
    let losses = metrics.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()?["loss"].as_f64());
    let highest = losses.fold(f64::MIN, f64::max);
    assert!(said.starts_with("loss, steps 1 to 14\n"), "{said}");
    assert!(
        said.lines().nth(1).is_some_and(|line| line.starts_with(&format!("{highest:>7.2} │")) && line.contains('█')),
        "{highest}: {said}"
    );
    assert!(said.contains("seen top1") && said.contains("(chance "), "{said}");
    assert!(said.trim_end().ends_with("report: logs/small/report.html"), "{said}");
    let again = must(folder.path(), &["report", "logs/small"]);
    assert!(again.starts_with(said.split("\n\n").next().expect("a picture")), "the picture again: {again}");
}

/// The words at the end of the quick start, for a run in `folder`.
fn next_steps(folder: &Path) -> String {
    let text = fs::read_to_string(root().join("sdk/cargo-vlhub/template/next_steps.txt.in")).expect("it is there");
    let shown = |path: &Path| path.display().to_string();
    let logs = folder.join("logs");
    [
        ("@run@", shown(&logs.join("quickstart"))),
        ("@logs@", shown(&logs)),
        ("@name@", "quickstart".into()),
        ("@root@", shown(root())),
        ("@vlhub@", shown(&vlhub())),
        ("@file@", "examples/configs/quickstart.toml".into()),
    ]
    .iter()
    .fold(text, |text, (key, value)| text.replace(key, value))
}

/// Each of the three commands is run as it is pasted; what trains is made short.
#[test]
fn what_the_quick_start_tells_to_try_next_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = vlhub().display().to_string();
    let logs = format!("logs={}", folder.path().join("logs").display());
    let short = format!("{logs} train.steps=2 train.batch=8 schedule.warmup=1");
    let first = ["train", "examples/configs/quickstart.toml", "name=quickstart"];
    must(root(), &[&first[..], &short.split(' ').collect::<Vec<_>>()].concat());
    let text = next_steps(folder.path());
    let commands: Vec<&str> = text.lines().map(str::trim).filter(|line| line.starts_with(&program)).collect();
    assert_eq!(commands.len(), 3, "{text}");
    for (line, wanted) in commands.iter().zip(["top1", "quickstart-siglip", "siglip"]) {
        let line = line.replace(" name=quickstart-siglip", &format!(" name=quickstart-siglip {short}"));
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).current_dir(root()).env_remove("LD_LIBRARY_PATH").env("NO_COLOR", "1");
        let ran = ran(shell.output().expect("sh runs"));
        assert_eq!(ran.code, 0, "{line}\n{}\n{}", ran.out, ran.err);
        assert!(ran.out.contains(wanted), "{line}\n{}", ran.out);
    }
    assert!(folder.path().join("logs/compare.html").exists(), "both runs are in one page");
}

/// The set-up tool, run in the checkout.
fn tool(args: &[&str]) -> Ran {
    let program = profile_folder().join("cargo-vlhub");
    assert!(program.exists(), "{} is missing: `cargo build --workspace` makes it", program.display());
    ran(Command::new(program).args(args).current_dir(root()).output().expect("it starts"))
}

#[test]
fn doctor_tells_the_compiler_that_plugin_libraries_need() {
    let host = vlhub().display().to_string();
    let said = tool(&["doctor", "--json", "--host", &host]);
    let findings: Vec<Value> = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", said.out, said.err));
    let plugins = findings.iter().find(|finding| finding["name"] == "plugins").expect("a line about plugins");
    let version = Command::new("rustc").arg("-V").output().expect("it runs").stdout;
    let version = String::from_utf8_lossy(&version).trim().trim_start_matches("rustc ").to_owned();
    assert_eq!(plugins["state"], "OK", "this very compiler built it: {plugins}");
    let found = plugins["found"].as_str().expect("a text");
    for part in [host.as_str(), version.as_str(), "vlhub-sdk 0.", "libtorch 2."] {
        assert!(found.contains(part), "{part} is not in {found}");
    }
    let other = root().join("Cargo.toml").display().to_string();
    let said = tool(&["doctor", "--host", &other]).out;
    assert!(said.contains("has no identity"), "a file that is no vlhub: {said}");
}

#[test]
fn a_test_that_nothing_is_called_is_refused_with_what_there_is() {
    let said = tool(&["test", "no_such_test_anywhere"]);
    assert_eq!(said.code, 1, "{}", said.err);
    for part in ["plugins/clip", "first_minutes", "no_such_test_anywhere"] {
        assert!(said.err.contains(part), "{part} is not in {}", said.err);
    }
}

#[test]
fn a_report_of_nothing_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = run(folder.path(), &["report", "."]);
    assert!(ran.code == 2 && ran.err.contains("not the folder of a run"), "{}", ran.err);
}
