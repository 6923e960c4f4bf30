//! What a user sees: every command, and what it says when something is wrong.

use std::time::Instant;

use crate::cargo::root;
use crate::program::{SMALL, must, run};

#[test]
fn every_problem_of_a_run_file_comes_in_one_report_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = "sed = 1\n[objective.simclar]\n[objective.clip]\ninit_log_scal = 2.0\nmax_scale = \"high\"\n[backbone.image]\nuse = \"clip\"\n[trian]\nbatch = 3\n[train]\nbatch = -1\n[data.train]\nuse = \"webdatset\"\n[eval.x]\nuse = \"zeroshot\"\nevery = \"soon\"\n[objective.\"a.b\"]\nuse = \"clip\"\n";
    std::fs::write(folder.path().join("run.toml"), file).expect("written");
    let ran = run(folder.path(), &["check", "run.toml", "pretrained=nowhere.safetensors", "optimizer.lr=nan"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    for (part, why) in [("there is no file", "a missing file"), ("\"nan\"", "a number that is none")] {
        assert!(ran.err.lines().any(|text| text.contains("command line ") && text.contains(part)), "{why}: {}", ran.err);
    }
    for (line, part, why) in [
        (1, "did you mean `seed`?", "a misspelt top-level key"),
        (2, "no objective is called `simclar`", "an unknown plugin, with what is known"),
        (4, "did you mean `init_log_scale`?", "a misspelt option"),
        (5, "invalid type: string \"high\"", "a wrong type, at its own key"),
        (7, "`clip` is of kind objective, not backbone", "a plugin of another kind"),
        (8, "did you mean `train`?", "a misspelt table"),
        (11, "invalid value", "a negative count"),
        (12, "did you mean `webdataset`?", "an unknown source"),
        (16, "`soon` is no time", "a bad time"),
        (17, "cannot be a key", "a dot in a key"),
    ] {
        let found = ran.err.lines().any(|text| text.contains(&format!("run.toml:{line} ")) && text.contains(part));
        assert!(found, "{why}: no line for run.toml:{line} with {part:?} in\n{}", ran.err);
    }
}

#[test]
fn a_wrong_run_file_is_refused_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), "[objective.clip]\nwieght = 1\n").expect("written");
    run(folder.path(), &["check", "run.toml"]);
    let begin = Instant::now();
    let ran = run(folder.path(), &["check", "run.toml"]);
    assert_eq!(ran.code, 2);
    assert!(begin.elapsed().as_secs() < 5, "far slower than a person waits: {:?}", begin.elapsed());
}

#[test]
fn usage_mistakes_end_with_2_and_say_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), SMALL).expect("written");
    for (args, part, why) in [
        (&["train", "missing.toml"][..], "cannot read the run file `missing.toml`", "a missing file"),
        (&["train", "rum.toml"], "did you mean `run.toml`?", "a typo in the file's name"),
        (&["trian", "run.toml"], "train", "a typo in the command"),
        (&["train", "run.toml", "--resmue"], "--resume", "a typo in a flag"),
        (&["train", "run.toml", "batch"], "is no override", "an override without a value"),
        (&["train", "run.toml", "device=gpu"], "known: auto cpu cuda", "an unknown device"),
        (&["train", "run.toml", "device=cuda:77"], "device `cuda:77`", "a GPU that is not there is never a silent CPU"),
        (&["plugins", "show", "simclar"], "no plugin is called `simclar`; did you mean `simclr`?", "an unknown plugin"),
        (&["plugins", "show", "clp"], "did you mean `clip`?", "a typo in a plugin's name"),
        (&["plugins", "list", "nothing_like_this"], "no plugin fits", "a pattern that fits nothing"),
        (&["models", "show", "ViT-B-23"], "did you mean `ViT-B-32`?", "a typo in a model's name"),
        (&["embed", "--model", "ViT-B-32", "--out", "x"], "nothing to embed", "no input"),
        (&["eval", "run.toml", "--checkpoint", "nowhere"], "has no `[eval.", "no suite"),
        (&["compare", "nowhere"], "nowhere", "a missing run"),
        (&["data", "check", "nowhere"], "nowhere", "a missing data set"),
    ] {
        let ran = run(folder.path(), args);
        assert!(ran.code == 2 || ran.code == 4, "{why}: exit status {} for {args:?}\n{}", ran.code, ran.err);
        assert!(ran.err.contains(part), "{why}: {part:?} is not in\n{}", ran.err);
        assert!(!ran.err.contains("panicked"), "{why}: {}", ran.err);
    }
    assert!(!folder.path().join("logs").exists(), "nothing was written");
}

#[test]
fn output_that_cannot_be_written_is_no_panic() {
    use std::process::{Command, Stdio};
    let program = crate::program::vlhub().display().to_string();
    let closed =
        Command::new("sh").args(["-c", &format!("{program} plugins schema | head -c 1")]).stderr(Stdio::piped()).output().expect("sh runs");
    assert!(closed.stderr.is_empty(), "{}", String::from_utf8_lossy(&closed.stderr));
    let full = Command::new("sh").args(["-c", &format!("{program} plugins schema > /dev/full")]).output().expect("sh runs");
    assert_eq!(full.status.code(), Some(1), "{}", String::from_utf8_lossy(&full.stderr));
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), SMALL).expect("written");
    std::fs::write(folder.path().join("texts.txt"), "a\n").expect("written");
    std::fs::create_dir(folder.path().join("device")).expect("made");
    let special = run(folder.path(), &["embed", "--model", "run.toml", "--texts", "texts.txt", "--out", "device"]);
    assert_eq!(special.code, 2, "what is no regular file is never replaced: {}", special.err);
}

#[test]
fn the_catalogue_is_what_the_full_build_has() {
    let page = must(root(), &["plugins", "list", "--markdown"]);
    let path = root().join("plugins/CATALOG.md");
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    if page != kept {
        std::fs::write(&path, page).expect("written");
        panic!("plugins/CATALOG.md was stale and has been written again; commit it");
    }
}

#[test]
fn read_commands_speak_json() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), SMALL).expect("written");
    for args in [
        &["plugins", "list", "--json"][..],
        &["plugins", "show", "clip", "--json"],
        &["plugins", "schema"],
        &["models", "list", "--json"],
        &["check", "run.toml", "--json"],
        &["data", "check", "shapes", "samples=8", "--json"],
    ] {
        let text = must(folder.path(), args);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}\n{text}"));
        assert!(!value.is_null(), "{args:?}");
    }
}

#[test]
fn the_resolved_options_are_a_run_file_again() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), SMALL).expect("written");
    let once = must(folder.path(), &["check", "run.toml", "--resolved"]);
    std::fs::write(folder.path().join("again.toml"), &once).expect("written");
    assert_eq!(must(folder.path(), &["check", "again.toml", "--resolved"]), once);
    assert!(once.contains("patch_dropout = 0.25") && once.contains("beta2 = 0.98"), "{once}");
}

#[test]
fn a_named_model_stands_for_its_tables() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), "model = \"ViT-B/32\"\n[backbone.image]\npatch_dropout = 0.5\n[objective.clip]\n")
        .expect("written");
    let resolved = must(folder.path(), &["check", "run.toml", "--resolved"]);
    for part in ["embed = 512", "patch_size = 32", "patch_dropout = 0.5", "vocab = 49408"] {
        assert!(resolved.contains(part), "{part} is not in\n{resolved}");
    }
}

#[test]
fn plugins_try_gives_loss_and_gradients() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("in.safetensors");
    let random = |rows: i64| {
        vlhub_sdk::ops::normalize(&vlhub_sdk::tch::Tensor::randn([rows, 8], (vlhub_sdk::tch::Kind::Float, vlhub_sdk::tch::Device::Cpu)))
    };
    vlhub_host::checkpoint::write_safetensors(
        &input,
        &[("image.main".into(), random(5)), ("text.main".into(), random(5))],
        &Default::default(),
    )
    .expect("written");
    must(folder.path(), &["plugins", "try", "objective/clip", "image_weight=1.0", "--input", "in.safetensors", "--out", "out.safetensors"]);
    let out = vlhub_host::checkpoint::read_safetensors(&folder.path().join("out.safetensors")).expect("it was written");
    let names: Vec<&str> = out.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["loss", "grad.image.main", "grad.text.main", "grad.logit_scale"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    let missing = run(folder.path(), &["plugins", "try", "objective/clip", "--input", "out.safetensors", "--out", "x"]);
    assert_eq!(missing.code, 2, "{}", missing.err);
}

#[test]
fn embed_writes_unit_rows_of_images_and_texts() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), SMALL).expect("written");
    std::fs::write(folder.path().join("texts.txt"), "a red circle\na blue square\n").expect("written");
    let picture = vlhub_sdk::image::RgbImage::from_fn(40, 30, |x, y| vlhub_sdk::image::Rgb([x as u8, y as u8, 9]));
    std::fs::create_dir(folder.path().join("pictures")).expect("made");
    picture.save(folder.path().join("pictures/one.png")).expect("saved");
    must(folder.path(), &["embed", "--model", "run.toml", "--images", "pictures", "--texts", "texts.txt", "--out", "e.safetensors"]);
    let out = vlhub_host::checkpoint::read_safetensors(&folder.path().join("e.safetensors")).expect("it was written");
    for (name, rows) in [("image", 1), ("text", 2)] {
        let (_, tensor) = out.iter().find(|(known, _)| known == name).expect(name);
        assert_eq!(tensor.size(), [rows, 16]);
        let norm = tensor.norm_scalaropt_dim(2.0, [-1], false);
        assert!((norm - 1.0).abs().max().double_value(&[]) < 1e-5, "{name} has unit length");
    }
    std::fs::write(folder.path().join("pictures/two.png"), b"<html>not a picture</html>").expect("written");
    let bad = run(folder.path(), &["embed", "--model", "run.toml", "--images", "pictures", "--out", "e.safetensors"]);
    assert_eq!(bad.code, 3, "{}", bad.err);
    assert!(bad.err.contains("two.png"), "{}", bad.err);
}
