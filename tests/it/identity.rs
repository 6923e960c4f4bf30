//! What is measured is what was trained: whichever way a model and its weights are named, through the command line.

use std::path::Path;

use serde_json::Value;
use vlhub_host::checkpoint::Store;
use vlhub_host::formats::{read_safetensors, read_with_metadata, write_pt, write_safetensors};
use vlhub_sdk::tch::{Kind, Tensor};

use crate::program::{Ran, SMALL, must, run};

const SUITE: &str =
    "\n[eval.shapes]\nuse = \"zeroshot\"\nevery = \"end\"\ndata = { use = \"shapes\", split = \"held_out\", samples = 48, size = 16 }\n";

/// A folder with the small run, one step long unless `options` say more, a suite, texts and a picture.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let file = SMALL.replace("steps = 14", "steps = 2").replace("save_every = 3", "save_every = 2");
    std::fs::write(folder.path().join("run.toml"), file + SUITE).expect("written");
    std::fs::write(folder.path().join("texts.txt"), "a red circle\na dog\n").expect("written");
    let picture = vlhub_sdk::image::RgbImage::from_fn(40, 30, |x, y| vlhub_sdk::image::Rgb([x as u8 * 6, y as u8 * 8, 9]));
    picture.save(folder.path().join("one.png")).expect("saved");
    folder
}

fn train(folder: &Path, options: &[&str]) {
    must(folder, &[&["train", "run.toml"], options].concat());
}

/// What `embed` says and writes for a picture and two texts.
struct Embedded {
    said: Value,
    err: String,
    rows: Vec<Tensor>,
}

impl Embedded {
    fn equals(&self, other: &Self) -> bool {
        self.rows.len() == other.rows.len() && self.rows.iter().zip(&other.rows).all(|(a, b)| a.equal(b))
    }
}

fn try_embed(folder: &Path, args: &[&str]) -> Ran {
    run(folder, &[&["embed", "--images", "one.png", "--texts", "texts.txt", "--out", "e.safetensors", "--json"], args].concat())
}

#[track_caller]
fn embed(folder: &Path, args: &[&str]) -> Embedded {
    let ran = try_embed(folder, args);
    assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
    let rows = read_safetensors(&folder.join("e.safetensors")).expect("written").into_iter().map(|(_, rows)| rows).collect();
    Embedded { said: serde_json::from_str(&ran.out).expect("JSON"), err: ran.err, rows }
}

#[track_caller]
fn refused(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "{word:?} is not in\n{}", ran.err);
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The numbers that a run's suite found, by name.
fn measured(folder: &Path, name: &str) -> Value {
    let lines = std::fs::read_to_string(folder.join("logs").join(name).join("checkpoints/results.jsonl")).expect("it is there");
    json(lines.lines().last().expect("a line"))
}

fn same_numbers(line: &Value, evaluated: &Value) {
    let metrics = evaluated["results"][0]["report"]["metrics"].as_array().expect("metrics");
    assert!(!metrics.is_empty());
    for metric in metrics {
        assert_eq!(line["metrics"][metric["name"].as_str().expect("a name")], metric["value"], "{}", metric["name"]);
    }
}

#[test]
fn a_runs_own_model_is_built_whatever_the_file_says_now() {
    let folder = folder();
    let path = folder.path();
    // Neither shows in a shape.
    train(path, &["backbone.image.heads=4", "backbone.image.mean=[0.1, 0.1, 0.1]"]);
    let line = measured(path, "small");
    assert_eq!(line["weights"], "raw");
    for args in [&["eval", "logs/small", "--json"][..], &["eval", "run.toml", "--checkpoint", "logs/small", "--json"]] {
        same_numbers(&line, &json(&must(path, args)));
    }
    let alone = embed(path, &["--checkpoint", "logs/small"]);
    assert_eq!((&alone.said["weights"], alone.said["differences"].as_array().map(Vec::len)), (&"raw".into(), Some(0)));
    let named = embed(path, &["--model", "run.toml", "--checkpoint", "logs/small"]);
    assert!(named.equals(&alone));
    for line in
        ["backbone.image.heads: 4 in the run, 2 in run.toml; that of the run is used", "backbone.image.mean: [0.1,0.1,0.1] in the run"]
    {
        assert!(named.err.contains(line), "{line:?} is not in\n{}", named.err);
    }
    let keys: Vec<&str> = named.said["differences"].as_array().expect("a list").iter().filter_map(|one| one["key"].as_str()).collect();
    assert_eq!(keys, ["backbone.image.heads", "backbone.image.mean"]);
    let other = embed(path, &["--model", "run.toml", "--checkpoint", "logs/small", "--model-as-named"]);
    assert!(!other.equals(&alone) && other.err.contains("backbone.image.heads"), "{}", other.err);

    for args in [&["eval", "logs/small"][..], &["eval", "run.toml", "--checkpoint", "logs/small"]] {
        refused(
            &run(path, &[args, &["backbone.image.heads=1"]].concat()),
            2,
            &["backbone.image.heads: 4 in the run, 1", "--model-as-named"],
        );
        // What the run has anyway, and options of the suites, are no contradiction.
        must(path, &[args, &["backbone.image.heads=4", "eval.shapes.data.samples=24"]].concat());
    }
    refused(&try_embed(path, &["--checkpoint", "logs/small", "backbone.text.layers=3"]), 2, &["backbone.text.layers"]);
}

#[test]
fn a_checkpoint_folder_is_complete_by_itself() {
    let folder = folder();
    let path = folder.path();
    train(path, &["backbone.image.heads=4"]);
    let before = embed(path, &["--checkpoint", "logs/small"]);
    let line = measured(path, "small");
    std::fs::rename(path.join("logs/small/checkpoints/step-000000002"), path.join("kept")).expect("moved");
    std::fs::remove_dir_all(path.join("logs")).expect("removed");
    std::fs::remove_file(path.join("run.toml")).expect("removed");
    for checkpoint in ["kept", "kept/rank-0.safetensors"] {
        assert!(embed(path, &["--checkpoint", checkpoint]).equals(&before), "{checkpoint}");
    }
    same_numbers(&line, &json(&must(path, &["eval", "kept", "--json"])));
    must(path, &["models", "convert", "kept", "w.safetensors"]);
    assert!(embed(path, &["--checkpoint", "w.safetensors"]).equals(&before), "a converted file describes its model too");
    refused(&run(path, &["eval", "kept", "--suite", "shape"]), 2, &["did you mean `shapes`?"]);
    std::fs::create_dir(path.join("empty")).expect("made");
    assert_ne!(run(path, &["eval", "empty"]).code, 0);
}

#[test]
fn runs_of_older_versions_are_read_and_resumed() {
    let folder = folder();
    let path = folder.path();
    train(path, &["backbone.image.heads=4"]);
    let before = embed(path, &["--checkpoint", "logs/small"]);
    // Until this release, a checkpoint held what decides a resume, and no options said where paths start.
    let text = std::fs::read_to_string(path.join("logs/small/config.toml")).expect("it is there");
    let without = |keys: &[&str]| {
        let kept = text.lines().filter(|line| !keys.iter().any(|key| line.starts_with(&format!("{key} = "))));
        kept.collect::<Vec<_>>().join("\n")
    };
    let mut state = Store::load(&path.join("logs/small/checkpoints/step-000000002")).expect("it is sound");
    assert!(state.config.contains("folder = ") && state.extra.remove("teachers").is_some());
    state.config = without(&["folder", "name", "logs", "libraries", "model", "pretrained"]);
    std::fs::create_dir_all(path.join("logs/old")).expect("made");
    Store::open(path.join("logs/old/checkpoints")).expect("made").save(&state).expect("saved");
    std::fs::write(path.join("logs/old/config.toml"), without(&["folder"])).expect("written");
    std::fs::copy(path.join("logs/small/metrics.jsonl"), path.join("logs/old/metrics.jsonl")).expect("copied");

    assert!(embed(path, &["--checkpoint", "logs/old"]).equals(&before));
    same_numbers(&measured(path, "small"), &json(&must(path, &["eval", "logs/old", "--json"])));
    let data = "data.train={ use = \"csv\", path = \"here.csv\" }";
    refused(&run(path, &["check", "logs/old/config.toml", data]), 2, &["here.csv", "`folder=PATH`"]);
    std::fs::remove_file(path.join("logs/old/config.toml")).expect("removed");
    let alone = embed(path, &["--checkpoint", "logs/old"]);
    assert!(alone.equals(&before) && alone.err.contains("older version"), "{}", alone.err);
    train(path, &["name=old", "backbone.image.heads=4", "--resume"]);
    refused(&run(path, &["train", "run.toml", "name=old", "train.steps=4", "--resume"]), 4, &["backbone.image.heads = 4 before, 2 now"]);
}

#[test]
fn the_average_is_taken_where_the_run_measured_with_it() {
    let folder = folder();
    let path = folder.path();
    train(path, &["ema.decay=0.9", "ema.warmup=false", "optimizer.lr=0.05", "schedule.warmup=0"]);
    let line = measured(path, "small");
    assert_eq!(line["weights"], "average");
    let log = std::fs::read_to_string(path.join("logs/small/out.log")).expect("a log");
    assert!(log.contains("shapes after step 2 (moving average): "), "{log}");
    let report = std::fs::read_to_string(path.join("logs/small/report.html")).expect("a report");
    assert!(report.contains(">average</td>"), "the report says which weights were measured");
    let evaluated = json(&must(path, &["eval", "logs/small", "--json"]));
    assert_eq!(evaluated["weights"], "average");
    same_numbers(&line, &evaluated);
    assert_eq!(json(&must(path, &["eval", "run.toml", "--checkpoint", "logs/small", "--weights", "raw", "--json"]))["weights"], "raw");

    let average = embed(path, &["--checkpoint", "logs/small"]);
    assert_eq!(average.said["weights"], "average");
    assert!(average.err.contains("the moving average of the weights"), "{}", average.err);
    let raw = embed(path, &["--checkpoint", "logs/small", "--weights", "raw"]);
    assert!(raw.said["weights"] == "raw" && !raw.equals(&average));
    for (choice, expected, name) in [(&[][..], &average, "average"), (&["--weights", "raw"], &raw, "raw")] {
        let said = must(path, &[&["models", "convert", "logs/small", "w.safetensors", "--json"], choice].concat());
        assert_eq!(json(&said)["weights"], name);
        let (_, metadata) = read_with_metadata(&path.join("w.safetensors")).expect("written");
        assert_eq!(metadata["vlhub.weights"], name);
        assert!(embed(path, &["--model", "run.toml", "--checkpoint", "w.safetensors"]).equals(expected), "{name}");
    }
    refused(&try_embed(path, &["--checkpoint", "w.safetensors", "--weights", "average"]), 4, &["w.safetensors", "no moving average"]);
    must(path, &["train", "run.toml", "name=plain", "ema.decay=0.9", "ema.eval=false"]);
    assert_eq!(
        (&measured(path, "plain")["weights"], &embed(path, &["--checkpoint", "logs/plain"]).said["weights"]),
        (&"raw".into(), &"raw".into())
    );
    let compared = must(path, &["compare", "logs/small", "logs/plain"]);
    assert!(compared.lines().any(|line| line.split_whitespace().eq(["measured", "weights", "average", "raw"])), "{compared}");

    // A run that begins with another's weights takes what that one measured with, too.
    for (name, choice, expected) in [("next", "", &average), ("nextraw", "pretrained_weights=raw", &raw)] {
        let mut options = vec!["pretrained=logs/small", "optimizer.lr=0.0", "optimizer.wd=0.0"];
        let name = format!("name={name}");
        options.extend([name.as_str()].into_iter().chain(Some(choice).filter(|choice| !choice.is_empty())));
        train(path, &options);
        assert!(embed(path, &["--checkpoint", &format!("logs/{}", &name[5..])]).equals(expected), "{name}");
    }
}

#[test]
fn a_file_with_two_sets_of_weights_gives_the_one_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/weights/ema.bin");
    let golden = golden.to_str().expect("UTF-8");
    let sum = |args: &[&str]| {
        let said = must(folder.path(), &[&["models", "convert", golden, "w.safetensors", "--json"], args].concat());
        let tensors = read_safetensors(&folder.path().join("w.safetensors")).expect("written");
        (json(&said)["weights"].as_str().expect("a name").to_owned(), tensors[0].1.sum(Kind::Float).double_value(&[]))
    };
    let (name, raw) = sum(&[]);
    assert!(name == "raw" && raw != 0.0, "as open_clip does, unless it is asked otherwise");
    assert_eq!(sum(&["--weights", "average"]), ("average".to_owned(), 0.0));
    assert_eq!(sum(&["--weights", "raw"]), ("raw".to_owned(), raw));
}

#[test]
fn a_name_that_stands_for_weights_loads_them_and_random_ones_are_asked_for() {
    let folder = folder();
    let path = folder.path();
    train(path, &[]);
    must(path, &["models", "convert", "logs/small", "conv/"]);
    let trained = embed(path, &["--checkpoint", "logs/small"]);
    for args in [&["--model", "local-dir:conv"][..], &["--checkpoint", "conv"], &["--model", "local-dir:conv", "--checkpoint", "conv"]] {
        let found = embed(path, args);
        assert!(found.equals(&trained) && found.said["weights"] == "raw", "{args:?}");
    }
    // A step of rate 0 keeps what the run began with.
    std::fs::write(
        path.join("named.toml"),
        std::fs::read_to_string(path.join("run.toml")).expect("it is there").replace("steps = 2", "steps = 1"),
    )
    .expect("written");
    let begin = ["train", "named.toml", "optimizer.lr=0.0", "optimizer.wd=0.0", "model=local-dir:conv"];
    must(path, &[&begin[..], &["name=begun"]].concat());
    assert!(embed(path, &["--checkpoint", "logs/begun"]).equals(&trained), "a run file's `model` stands for weights too");
    must(path, &[&begin[..], &["name=afresh", "pretrained=none"]].concat());
    assert!(!embed(path, &["--checkpoint", "logs/afresh"]).equals(&trained), "`none` asks for random ones");

    let config = r#"{"embed_dim": 16, "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}}"#;
    std::fs::write(path.join("tiny.json"), config).expect("written");
    refused(&try_embed(path, &["--model", "tiny.json"]), 2, &["random weights", "`--checkpoint`", "`--random-weights`"]);
    assert_eq!(embed(path, &["--model", "tiny.json", "--random-weights"]).said["weights"], "random");
    let file = embed(path, &["--model", "run.toml"]);
    assert!(file.said["weights"] == "random" && file.err.contains("WARN") && file.err.contains("random weights"), "{}", file.err);
    refused(&run(path, &["eval", "run.toml"]), 2, &["random weights", "--checkpoint logs/small"]);
    assert_eq!(json(&must(path, &["eval", "run.toml", "--random-weights", "--json"]))["weights"], "random");
    same_numbers(&measured(path, "small"), &json(&must(path, &["eval", "run.toml", "pretrained=conv", "--json"])));
}

#[test]
fn what_weights_say_of_themselves_is_held_against_the_model() {
    let folder = folder();
    let path = folder.path();
    train(path, &[]);
    must(path, &["models", "convert", "logs/small", "w.safetensors"]);
    must(path, &["models", "convert", "logs/small", "conv/"]);
    let own = embed(path, &["--checkpoint", "logs/small"]);
    let model = ["--model", "run.toml", "--checkpoint"];
    for weights in ["w.safetensors", "conv"] {
        let heads = [&model[..], &[weights, "backbone.image.heads=4"]].concat();
        refused(
            &try_embed(path, &heads),
            4,
            &["backbone.image.heads: 4 in the model, 2 in", "backbone.image.heads=2", "pretrained_partial"],
        );
        let taken = embed(path, &[&heads[..], &["pretrained_partial=true"]].concat());
        assert!(taken.err.contains("backbone.image.heads: 4 in the model, 2 in") && !taken.equals(&own), "{}", taken.err);
        let pixels = embed(path, &[&model[..], &[weights, "preprocess.mean=[0.2, 0.2, 0.2]"]].concat());
        assert!(pixels.err.contains("preprocess.mean: [0.2,0.2,0.2] in the model"), "{}", pixels.err);
        assert_eq!(pixels.said["differences"][0]["key"], "preprocess.mean");
        let same = embed(path, &[&model[..], &[weights]].concat());
        assert!(same.said["differences"].as_array().is_some_and(Vec::is_empty) && same.equals(&own), "{weights}: {}", same.said);
    }
    refused(
        &run(path, &["train", "run.toml", "name=next", "pretrained=w.safetensors", "backbone.text.quick_gelu=true"]),
        4,
        &["backbone.text.quick_gelu"],
    );
    // Files without a description say so.
    must(path, &["models", "convert", "logs/small", "w.pt"]);
    let bare = embed(path, &[&model[..], &["w.pt"]].concat());
    assert!(bare.err.contains("do not tell how their pictures were prepared") && bare.err.contains("Bicubic"), "{}", bare.err);
    refused(&try_embed(path, &["--checkpoint", "w.pt"]), 2, &["w.pt", "--model"]);
    // transformers' configs beside the weights.
    std::fs::create_dir(path.join("hf")).expect("made");
    let (tensors, _) = read_with_metadata(&path.join("w.safetensors")).expect("written");
    write_safetensors(&path.join("hf/model.safetensors"), &tensors, &Default::default()).expect("written");
    let clip = r#"{"model_type": "clip", "vision_config": {"num_attention_heads": 2, "image_size": 16}, "text_config": {"num_attention_heads": 2}}"#;
    std::fs::write(path.join("hf/config.json"), clip).expect("written");
    refused(
        &try_embed(path, &[&model[..], &["hf"]].concat()),
        4,
        &["hf/config.json", "backbone.image.quick_gelu: false in the model, true in"],
    );
}

#[test]
fn a_runs_config_reproduces_it_from_any_folder() {
    let folder = folder();
    let path = folder.path();
    for class in ["cat", "dog"] {
        std::fs::create_dir_all(path.join("pictures").join(class)).expect("made");
        for index in 0..8u8 {
            let picture = vlhub_sdk::image::RgbImage::from_pixel(20, 20, vlhub_sdk::image::Rgb([index * 30, 80, class.as_bytes()[0]]));
            picture.save(path.join("pictures").join(class).join(format!("{index}.png"))).expect("saved");
        }
    }
    let pictures = r#"{ use = "imagefolder", path = "pictures" }"#;
    let data = format!("data.train={pictures}");
    train(path, &[&data, "train.batch=8", "eval.shapes.data={ use = \"imagefolder\", path = \"pictures\" }"]);
    let hash = |name: &str| must(path, &["internal-hash", &format!("logs/{name}")]);
    let elsewhere = tempfile::tempdir().expect("a folder");
    let config = path.join("logs/small/config.toml");
    let config = config.to_str().expect("UTF-8");
    must(elsewhere.path(), &["check", config]);
    must(elsewhere.path(), &["train", config, "name=again"]);
    assert_eq!(hash("again"), hash("small"), "beside the run, bit for bit");
    must(elsewhere.path(), &["train", config, "train.steps=4", "--resume", "--allow-changed"]);
    for args in
        [&["eval", config, "--json"][..], &["eval", config, "--checkpoint", path.join("logs/again").to_str().expect("UTF-8"), "--json"]]
    {
        assert_eq!(json(&must(elsewhere.path(), args))["differences"], Value::Array(Vec::new()), "{args:?}");
    }
    let gone = std::fs::read_to_string(config).expect("it is there").replace(&format!("folder = \"{}", path.display()), "folder = \"/gone");
    std::fs::write(elsewhere.path().join("moved.toml"), gone).expect("written");
    refused(&run(elsewhere.path(), &["check", "moved.toml"]), 2, &["moved.toml", "/gone", "`folder=PATH`"]);
    must(elsewhere.path(), &["check", "moved.toml", &format!("folder={}", path.display())]);
}

#[test]
fn names_of_wrappers_are_taken_off_and_errors_show_the_files_names() {
    let folder = folder();
    let path = folder.path();
    train(path, &[]);
    must(path, &["models", "convert", "logs/small", "w.safetensors"]);
    let tensors = read_safetensors(&path.join("w.safetensors")).expect("written");
    let own = embed(path, &["--checkpoint", "logs/small"]);
    let write = |wrap: &dyn Fn(&str) -> String| {
        let named: Vec<(String, Tensor)> = tensors.iter().map(|(name, tensor)| (wrap(name), tensor.shallow_clone())).collect();
        write_pt(&path.join("w.pt"), &named, &[("epoch".to_owned(), 1.into())].into()).expect("written");
    };
    for prefix in ["module._orig_mod.", "_orig_mod.module.", "model.", "model.module.", "_fsdp_wrapped_module.", "lit.net."] {
        write(&|name| format!("{prefix}{name}"));
        assert!(embed(path, &["--model", "run.toml", "--checkpoint", "w.pt"]).equals(&own), "{prefix}");
    }
    write(&|name| name.replace("resblocks.", "resblocks._checkpoint_wrapped_module."));
    assert!(embed(path, &["--model", "run.toml", "--checkpoint", "w.pt"]).equals(&own), "inside a name");
    write(&|name| format!("model.{}", name.replace("ln_final", "last")));
    let wrong = try_embed(path, &["--model", "run.toml", "--checkpoint", "w.pt"]);
    refused(&wrong, 4, &["`model.last.weight`", "missing in the file (names of the model): `ln_final.bias`"]);
}

#[test]
fn weights_without_a_bias_leave_the_sigmoid_losss_own() {
    let folder = folder();
    let path = folder.path();
    train(path, &[]);
    must(path, &["models", "convert", "logs/small", "w.safetensors"]);
    let file = std::fs::read_to_string(path.join("run.toml")).expect("it is there").replace("[objective.clip]", "[objective.siglip]");
    std::fs::write(path.join("sigmoid.toml"), file).expect("written");
    must(path, &["train", "sigmoid.toml", "name=sigmoid", "pretrained=w.safetensors", "optimizer.lr=1e-6"]);
    let log = std::fs::read_to_string(path.join("logs/sigmoid/out.log")).unwrap_or_default();
    let lines = std::fs::read_to_string(path.join("logs/sigmoid/metrics.jsonl")).expect("it is there");
    let bias = json(lines.lines().next().expect("a line"))["metrics"]["logit_bias"].as_f64().expect("a number");
    assert!((bias + 10.0).abs() < 0.01, "open_clip would begin at 0: {bias}\n{log}");
    let dry = run(path, &["train", "sigmoid.toml", "name=dry", "pretrained=w.safetensors", "--dry-run"]);
    assert!(dry.code == 0 && dry.err.contains("lack `logit_bias`; it starts at -10"), "{}", dry.err);
}

#[test]
fn shards_are_read_whole_and_position_tables_follow_the_picture() {
    let folder = folder();
    let path = folder.path();
    train(path, &["backbone.image.image_size=48"]);
    must(path, &["models", "convert", "logs/small", "conv/"]);
    let own = embed(path, &["--checkpoint", "logs/small"]);
    let (tensors, metadata) = read_with_metadata(&path.join("conv/open_clip_model.safetensors")).expect("written");
    let shared = |tensors: &[(String, Tensor)]| -> Vec<(String, Tensor)> {
        tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    };
    std::fs::remove_file(path.join("conv/open_clip_model.safetensors")).expect("removed");
    let half = tensors.len() / 2;
    let mut map = serde_json::Map::new();
    for (number, part) in [&tensors[..half], &tensors[half..]].into_iter().enumerate() {
        let name = format!("model-0000{}-of-00002.safetensors", number + 1);
        write_safetensors(&path.join("conv").join(&name), part, &Default::default()).expect("written");
        map.extend(part.iter().map(|(tensor, _)| (tensor.clone(), name.clone().into())));
    }
    let index = serde_json::json!({"metadata": {}, "weight_map": map});
    std::fs::write(path.join("conv/model.safetensors.index.json"), index.to_string()).expect("written");
    assert!(embed(path, &["--model", "local-dir:conv"]).equals(&own), "both shards");

    // Half precision, where only fp32 can be resized; and as many patches in another shape.
    for kind in [Kind::Half, Kind::BFloat16] {
        let small: Vec<(String, Tensor)> = shared(&tensors).into_iter().map(|(name, tensor)| (name, tensor.to_kind(kind))).collect();
        write_safetensors(&path.join("half.safetensors"), &small, &metadata).expect("written");
        let larger =
            ["--model", "run.toml", "--checkpoint", "half.safetensors", "backbone.image.image_size=64", "backbone.text.context=40"];
        let resized = embed(path, &larger);
        for how in ["a grid of 6 x 6 positions to 8 x 8", "32 positions of texts to 40"] {
            assert!(resized.err.contains(how), "{kind:?}: {how:?} is not in\n{}", resized.err);
        }
    }
    write_safetensors(&path.join("bare.safetensors"), &shared(&tensors), &Default::default()).expect("written");
    let wide = ["--model", "run.toml", "backbone.image.image_size=[32, 72]", "--checkpoint"];
    let resampled = embed(path, &[&wide[..], &["bare.safetensors"]].concat());
    assert!(resampled.err.contains("a grid of 6 x 6 positions to 4 x 9"), "{}", resampled.err);
    // What was trained on wide pictures is left as it is.
    train(path, &["name=wide", "backbone.image.image_size=[32, 72]"]);
    let own = embed(path, &["--checkpoint", "logs/wide"]);
    assert!(!own.err.contains("resized"), "{}", own.err);
    must(path, &["models", "convert", "logs/wide", "wide.safetensors"]);
    assert!(embed(path, &[&wide[..], &["wide.safetensors"]].concat()).equals(&own), "the file tells its picture's shape");
}

#[test]
fn a_student_is_built_without_its_teacher() {
    let folder = folder();
    let path = folder.path();
    train(path, &["name=big"]);
    let teacher = "\n[objective.distill]\nteacher = \"big\"\n[teacher.big]\nmodel = \"logs/big\"\n";
    let file = std::fs::read_to_string(path.join("run.toml")).expect("it is there");
    std::fs::write(path.join("student.toml"), file + teacher).expect("written");
    must(path, &["train", "student.toml", "name=student"]);
    let before = embed(path, &["--checkpoint", "logs/student"]);
    std::fs::remove_dir_all(path.join("logs/big")).expect("removed");
    assert!(embed(path, &["--checkpoint", "logs/student"]).equals(&before));
    same_numbers(&measured(path, "student"), &json(&must(path, &["eval", "logs/student", "--json"])));
    must(path, &["models", "convert", "logs/student", "student.safetensors"]);
}
