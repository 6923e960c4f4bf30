//! What a user sees: every command, and what it says when something is wrong.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use vlhub_host::formats::{read_safetensors, write_safetensors};
use vlhub_sdk::ops::normalize;
use vlhub_sdk::tch::{Device, Kind, Tensor};

use crate::cargo::root;
use crate::program::{Ran, SMALL, must, run};

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
        (13, "did you mean `webdataset`?", "an unknown source"),
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

/// Every tensor that an objective may read: 4 rows, a joint space of 8, towers of width 6, a teacher whose joint space has 5.
fn everything() -> BTreeMap<String, Tensor> {
    let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
    let mut given = BTreeMap::new();
    for view in ["image.main", "image.a", "image.b", "image.classify_mixed", "text.main", "text.mlm", "average.image.a", "average.image.b"]
    {
        given.insert(view.to_owned(), random(&[4, 8]));
        given.insert(format!("{view}.pooled"), random(&[4, 6]));
    }
    for (view, tokens) in [("image.main", 3), ("text.main", 5), ("text.mlm", 5)] {
        given.insert(format!("{view}.tokens"), random(&[4, tokens, 6]));
    }
    let ids = Tensor::from_slice(&[8i64, 3, 4, 9, 0, 8, 5, 9, 0, 0, 8, 6, 7, 3, 9, 8, 4, 9, 0, 0]).view([4, 5]);
    given.insert("text.main.mask".into(), ids.not_equal(0));
    given.insert("ids.main".into(), ids);
    for view in ["image.main", "text.main"] {
        given.insert(format!("teacher.big.{view}"), random(&[4, 5]));
    }
    given.insert("teacher.big.log_scale".into(), Tensor::from(2.0f32));
    given.insert("labels".into(), Tensor::from_slice(&[0i64, 2, 1, 0]));
    given.insert("pictures.main".into(), random(&[4, 3, 6, 5]));
    given.insert("objective.queue".into(), normalize(&random(&[7, 8])));
    given
}

fn tried(folder: &Path, given: &BTreeMap<String, Tensor>, metadata: &[(&str, &str)], args: &[&str]) -> Ran {
    let tensors: Vec<_> = given.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    write_safetensors(&folder.join("in.safetensors"), &tensors, &metadata).expect("written");
    run(folder, &[&["plugins", "try"][..], args, &["--input", "in.safetensors", "--out", "out.safetensors"]].concat())
}

#[test]
fn plugins_try_gives_loss_and_gradients() {
    let folder = tempfile::tempdir().expect("a folder");
    let given = everything();
    let pair = "grad.image.main grad.text.main grad.logit_scale";
    for (args, expected) in [
        (&["clip", "positives=labels"][..], format!("{pair} metric.logit_scale")),
        (&["clip", "positives=texts"], pair.to_owned()),
        (&["clip", "extra_projections=true"], format!("{pair} grad.image.main.pooled grad.objective.text_projection.weight")),
        (&["siglip"], format!("{pair} grad.logit_bias")),
        (&["filip", "dim=4"], "grad.image.main.tokens grad.text.main.tokens grad.objective.image.weight".into()),
        (&["simclr", "hidden=[5]", "out=3"], "grad.image.a.pooled grad.image.b.pooled grad.objective.projector.norms.0.bias".into()),
        (&["byol", "hidden=5", "out=3"], "grad.image.a.pooled grad.objective.predictor.linears.1.weight metric.spread".into()),
        (&["simsiam", "hidden=5", "out=3", "bottleneck=4"], "grad.image.a grad.image.b".into()),
        (&["mlm"], "grad.text.mlm.tokens grad.objective.logits.weight ids.mlm".into()),
        (&["nearest", "queue=7"], "grad.image.main grad.logit_scale".into()),
        (&["classify", "classes=3"], "grad.image.main.pooled grad.objective.weight".into()),
        (&["classify", "classes=3", "mixup=0.8"], "grad.image.classify_mixed.pooled pictures.classify_mixed".into()),
        (&["distill", "teacher=big"], pair.to_owned()),
        (&["iqe"], pair.to_owned()),
        (&["align_uniform"], "grad.image.main grad.text.main".into()),
        (&["caption", "layers=1", "heads=2"], "grad.image.main.tokens grad.text_decoder.text_projection".into()),
    ] {
        let plugin = format!("objective/{}", args[0]);
        let ran = tried(folder.path(), &given, &[], &[&[plugin.as_str()], &args[1..]].concat());
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        let out: BTreeMap<_, _> = read_safetensors(&folder.path().join("out.safetensors")).expect("written").into_iter().collect();
        for name in expected.split(' ').chain(["loss"]) {
            let tensor = out.get(name).unwrap_or_else(|| panic!("{args:?}: {name} is not among {:?}", out.keys()));
            assert_eq!(tensor.isfinite().all().int64_value(&[]), 1, "{args:?}: {name}");
        }
        assert!(!out.keys().any(|name| name.contains("average.") || name.contains("teacher.")), "nothing flows back: {:?}", out.keys());
    }
}

#[test]
fn plugins_try_measures_an_objective_and_its_gradients_stay_those_of_one_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let given = everything();
    let gradient = |repeat: &str| {
        let ran = tried(folder.path(), &given, &[], &["objective/clip", "--repeat", repeat, "--json"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let out: BTreeMap<_, _> = read_safetensors(&folder.path().join("out.safetensors")).expect("written").into_iter().collect();
        (serde_json::from_str::<serde_json::Value>(&ran.out).expect("JSON")["speed"].clone(), out["grad.logit_scale"].double_value(&[]))
    };
    let ((none, once), (speed, again)) = (gradient("0"), gradient("3"));
    assert!(none.is_null());
    assert!(
        speed["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0) && speed["peak"].as_i64().is_some_and(|peak| peak > 0),
        "{speed}"
    );
    assert_eq!(once, again);
    let ran = tried(folder.path(), &given, &[], &["caption/choose", "--repeat", "3"]);
    assert!(ran.code == 2 && ran.err.contains("--repeat measures objectives"), "{}", ran.err);
}

#[test]
fn plugins_try_lays_the_file_over_what_prepare_derives() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut given = everything();
    let loss = |given: &BTreeMap<String, Tensor>, metadata: &[(&str, &str)]| {
        let ran = tried(folder.path(), given, metadata, &["objective/mlm", "random=0.0", "--seed", "3"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let out: BTreeMap<_, _> = read_safetensors(&folder.path().join("out.safetensors")).expect("written").into_iter().collect();
        (out["loss"].double_value(&[]), out)
    };
    let (first, out) = loss(&given, &[]);
    assert_eq!(out["grad.objective.logits.bias"].size(), [10], "the largest id is 9");
    assert_eq!(out["ids.mlm"].eq(2).sum(Kind::Int64).int64_value(&[]), 4, "a word of each text is masked");
    assert_eq!(loss(&given, &[]).0, first, "a seed is a draw");
    assert_eq!(loss(&given, &[("vocab", "12")]).1["grad.objective.logits.bias"].size(), [12], "the metadata says how many ids there are");

    given.insert("objective.logits.bias".into(), Tensor::from_slice(&[0f32, 0., 0., 90., 0., 0., 0., 0., 0., 0.]));
    given.insert("mlm_labels".into(), Tensor::full([4, 5], 3i64, (Kind::Int64, Device::Cpu)));
    let (certain, out) = loss(&given, &[]);
    assert!(certain.abs() < 1e-6, "the labels are the file's: {certain}");
    assert_eq!(out["metric.mlm_accuracy"].double_value(&[]), 1.0);
}

#[test]
fn plugins_try_names_what_is_missing_or_has_no_meaning() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = || Tensor::zeros([4, 8], (Kind::Float, Device::Cpu));
    for (change, args, part) in [
        (&["-image.main"][..], &["clip"][..], "has no tensor `image.main`"),
        (&["-text.main.tokens"], &["filip"], "has no tensor `text.main.tokens`"),
        (&["-average.image.b"], &["byol"], "has no tensor `average.image.b`"),
        (&["-image.a.pooled"], &["simclr"], "has no tensor `image.a.pooled` [N, 6]"),
        (&["-teacher.big.text.main"], &["distill", "teacher=big"], "the teacher `big` has no text tower"),
        (&[], &["distill", "teacher=small"], "it has: big"),
        (&["-labels"], &["classify", "classes=3"], "has no tensor `labels`"),
        (&["-ids.main"], &["mlm"], "has no tensor `ids.main`"),
        (&["-ids.main"], &["clip", "positives=texts"], "has no tensor `ids.main`"),
        (&["-pictures.main"], &["classify", "classes=3", "cutmix=1.0"], "has no tensor `pictures.main`"),
        (&["image.main.tokns"], &["clip"], "`image.main.tokns` in the input file has no meaning"),
        (&["average.images.main"], &["clip"], "`average.images.main` in the input file has no meaning"),
        (&["objective.bias"], &["classify", "classes=3"], "`objective.bias` has shape [4, 8] in the file and [3] in the plugin"),
        (&["image.main.mask"], &["filip"], "`image.main.mask` has shape [4, 8]; [4, 3] is wanted"),
        (&["image.b.tokens"], &["clip"], "pooled outputs and tokens of a tower have one width"),
        (&["ids.main"], &["mlm"], "`ids.main` is Float"),
        (&["pictures.main"], &["clip"], "`pictures.main` has shape [4, 8]; [N, 3, H, W] is wanted"),
    ] {
        let mut given = everything();
        for name in change {
            match name.strip_prefix('-') {
                Some(name) => {
                    given.retain(|known, _| known != name);
                }
                None => drop(given.insert((*name).to_owned(), image())),
            }
        }
        let plugin = format!("objective/{}", args[0]);
        let ran = tried(folder.path(), &given, &[], &[&[plugin.as_str()], &args[1..]].concat());
        assert!(ran.code != 0 && ran.err.contains(part), "{change:?} {args:?}: {part:?} is not in ({}) {}", ran.code, ran.err);
    }
    let ran = tried(folder.path(), &everything(), &[("vocab", "many")], &["objective/mlm"]);
    assert!(ran.code == 2 && ran.err.contains("metadata `vocab` is `many`"), "{}", ran.err);
    let mut short = everything();
    short.insert("labels".into(), Tensor::from_slice(&[0i64, 1]));
    let ran = tried(folder.path(), &short, &[], &["objective/clip"]);
    assert!(ran.code == 2 && ran.err.contains("`labels` has shape [2]"), "{}", ran.err);
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
    let out = read_safetensors(&folder.path().join("e.safetensors")).expect("it was written");
    for (name, rows) in [("image", 1), ("text", 2)] {
        let (_, tensor) = out.iter().find(|(known, _)| known == name).expect(name);
        assert_eq!(tensor.size(), [rows, 16]);
        let norm = tensor.norm_scalaropt_dim(2.0, [-1], false);
        assert!((norm - 1.0).abs().max().double_value(&[]) < 1e-5, "{name} has unit length");
    }
    // The classifier is the mean of what the prompts give one by one.
    std::fs::write(folder.path().join("classes.txt"), "circle\nsquare\n").expect("written");
    std::fs::write(folder.path().join("templates.txt"), "a red {}\na blue {c}\n").expect("written");
    std::fs::write(folder.path().join("prompts.txt"), "a red circle\na blue circle\na red square\na blue square\n").expect("written");
    let asked = ["--classes", "classes.txt", "--templates", "templates.txt", "--texts", "prompts.txt", "--out", "c.safetensors"];
    must(folder.path(), &[&["embed", "--model", "run.toml"][..], &asked].concat());
    let out = read_safetensors(&folder.path().join("c.safetensors")).expect("it was written");
    let named = |wanted: &str| &out.iter().find(|(name, _)| name == wanted).expect(wanted).1;
    let mean = named("text").view([2, 2, 16]).mean_dim([1].as_slice(), false, vlhub_sdk::tch::Kind::Float);
    let mean = &mean / mean.norm_scalaropt_dim(2.0, [-1], true);
    assert!((named("classifier") - mean).abs().max().double_value(&[]) < 1e-5);
    let typo = run(folder.path(), &["embed", "--model", "run.toml", "--classes", "imagnet", "--out", "c.safetensors"]);
    assert!(typo.code == 2 && typo.err.contains("did you mean `imagenet`"), "{}", typo.err);

    std::fs::write(folder.path().join("pictures/two.png"), b"<html>not a picture</html>").expect("written");
    let bad = run(folder.path(), &["embed", "--model", "run.toml", "--images", "pictures", "--out", "e.safetensors"]);
    assert_eq!(bad.code, 0, "the good one is embedded: {}", bad.err);
    assert!(bad.err.contains("two.png"), "and the bad one listed: {}", bad.err);
    std::fs::remove_file(folder.path().join("pictures/one.png")).expect("it was there");
    let none = run(folder.path(), &["embed", "--model", "run.toml", "--images", "pictures", "--out", "e.safetensors"]);
    assert_eq!(none.code, 3, "no picture can be used: {}", none.err);
}
