//! Models by name, and weights in and out, through the command line.

use std::path::Path;

use serde_json::Value;
use vlhub_host::formats::read_safetensors;

use crate::program::{SMALL, must, run};

/// A model of a user's own, in open_clip's format.
const TINY: &str = r#"{"embed_dim": 16,
    "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}}"#;

fn list(folder: &Path, args: &[&str]) -> Vec<Value> {
    let said = must(folder, &[&["models", "list", "--json"], args].concat());
    serde_json::from_str::<Value>(&said).expect("JSON").as_array().expect("a list").clone()
}

fn names(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["name"].as_str().expect("a name")).collect()
}

/// A folder with the model configs `configs/tiny.json` and `configs/strange.json`, which has a part that this program lacks.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let configs = folder.path().join("configs");
    std::fs::create_dir(&configs).expect("made");
    std::fs::write(configs.join("tiny.json"), TINY).expect("written");
    std::fs::write(
        configs.join("strange.json"),
        TINY.replace("\"layers\": 1, \"head_width\"", "\"layers\": 1, \"warp\": 9, \"head_width\""),
    )
    .expect("written");
    std::fs::write(folder.path().join("texts.txt"), "a red circle\na dog\n").expect("written");
    let picture = vlhub_sdk::image::RgbImage::from_fn(40, 30, |x, y| vlhub_sdk::image::Rgb([x as u8, y as u8, 9]));
    picture.save(folder.path().join("one.png")).expect("saved");
    folder
}

#[test]
fn models_are_listed_in_natural_order_with_their_sizes() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = list(folder.path(), &["ViT-B-*quickgelu"]);
    assert_eq!(names(&rows), ["ViT-B-16-quickgelu", "ViT-B-32-quickgelu"], "16 before 32");
    let rows = list(folder.path(), &["ViT-B-32"]);
    let plain = rows.iter().find(|row| row["name"] == "ViT-B-32").expect("it is there");
    assert!((plain["parameters"].as_f64().expect("a number") / 1e6 - 151.28).abs() < 0.01, "{plain}");
    assert!((plain["gflops"].as_f64().expect("a number") / 14.78 - 1.0).abs() < 0.01, "{plain}");
    assert!(plain["pretrained"].as_array().expect("a list").iter().any(|tag| tag == "openai"), "{plain}");
    let table = must(folder.path(), &["models", "list", "RN50"]);
    assert!(table.lines().next().is_some_and(|head| head.contains("params") && head.contains("GFLOPs")), "{table}");
    let nothing = run(folder.path(), &["models", "list", "ViT-B-33"]);
    assert!(nothing.code == 2 && nothing.err.contains("no model fits `ViT-B-33`") && nothing.err.contains("ViT-B-32"), "{}", nothing.err);
}

#[test]
fn a_users_folder_is_searched_and_what_a_model_lacks_is_told() {
    let folder = folder();
    let rows = list(folder.path(), &["*tiny", "--model-configs", "configs"]);
    assert!(names(&rows).contains(&"tiny"), "{:?}", names(&rows));
    let strange = &list(folder.path(), &["strange", "--model-configs", "configs"])[0];
    assert!(strange["ready"] == false && strange["lacks"].as_str().is_some_and(|lacks| lacks.contains("vision_cfg.warp")), "{strange}");
    let shown = run(folder.path(), &["models", "show", "strange", "--model-configs", "configs"]);
    assert!(shown.code == 2 && shown.err.contains("vision_cfg.warp"), "{}", shown.err);
    let shown = must(folder.path(), &["models", "show", "configs/tiny.json"]);
    for part in ["image tower", "text tower", "tokenizer: clip", "patch_size = 8", "use = \"vit\""] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    // What it shows is a run file's beginning.
    std::fs::write(folder.path().join("shown.toml"), shown).expect("written");
    must(folder.path(), &["check", "shown.toml"]);
}

/// Unit embeddings of the picture and the texts.
fn embedded(folder: &Path, model: &str, checkpoint: &str) -> Vec<(String, vlhub_sdk::tch::Tensor)> {
    let all =
        ["embed", "--model", model, "--checkpoint", checkpoint, "--images", "one.png", "--texts", "texts.txt", "--out", "e.safetensors"];
    must(folder, &all);
    read_safetensors(&folder.join("e.safetensors")).expect("it was written")
}

#[test]
fn a_run_is_converted_and_every_form_of_it_gives_the_same_embeddings() {
    let folder = folder();
    let run_file = SMALL.replace("steps = 14", "steps = 2").replace("save_every = 3", "save_every = 2");
    std::fs::write(folder.path().join("run.toml"), run_file).expect("written");
    must(folder.path(), &["train", "run.toml"]);
    let before = embedded(folder.path(), "run.toml", "logs/small");
    for out in ["w.safetensors", "w.pt", "published"] {
        must(folder.path(), &["models", "convert", "logs/small", out]);
        let model = if out == "published" { "local-dir:published" } else { "run.toml" };
        let source = if out == "published" { "local-dir:published" } else { out };
        for ((name, before), (_, after)) in before.iter().zip(embedded(folder.path(), model, source)) {
            assert!(before.equal(&after), "{out}: {name}");
        }
    }
    let card = std::fs::read_to_string(folder.path().join("published/README.md")).expect("a model card");
    assert!(card.contains("open_clip.create_model_from_pretrained") && card.contains("`clip`"), "{card}");
    let config = std::fs::read_to_string(folder.path().join("published/open_clip_config.json")).expect("a config");
    let config: Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!((&config["model_cfg"]["vision_cfg"]["width"], &config["preprocess_cfg"]["resize_mode"]), (&16.into(), &"shortest".into()));
    let odd = run(folder.path(), &["models", "convert", "logs/small", "w.onnx"]);
    assert!(odd.code == 2 && odd.err.contains(".safetensors"), "{}", odd.err);
    let nowhere = run(folder.path(), &["models", "convert", "logs/smal", "w.pt"]);
    assert!(nowhere.code != 0 && nowhere.err.contains("logs/smal"), "{}", nowhere.err);
}

#[test]
fn a_half_loaded_model_is_an_error_unless_it_is_allowed() {
    let folder = folder();
    let run_file = SMALL.replace("steps = 14", "steps = 1").replace("save_every = 3", "save_every = 1");
    std::fs::write(folder.path().join("run.toml"), run_file).expect("written");
    must(folder.path(), &["train", "run.toml"]);
    must(folder.path(), &["models", "convert", "logs/small", "w.safetensors"]);
    let deeper = ["embed", "--model", "run.toml", "backbone.text.layers=2", "--checkpoint", "w.safetensors", "--texts", "texts.txt"];
    let refused = run(folder.path(), &[&deeper[..], &["--out", "e.safetensors"]].concat());
    assert_eq!(refused.code, 4, "{}", refused.err);
    for part in ["missing in the file", "transformer.resblocks.1.", "pretrained_partial = true"] {
        assert!(refused.err.contains(part), "{part:?} is not in\n{}", refused.err);
    }
    let allowed = run(folder.path(), &[&deeper[..], &["pretrained_partial=true", "--out", "e.safetensors"]].concat());
    assert!(allowed.code == 0 && allowed.err.contains("transformer.resblocks.1."), "what is missing is listed: {}", allowed.err);
}

#[test]
fn files_of_strangers_are_refused_and_nothing_of_them_is_run() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let proof = path("proof");
    // PROTO 2, GLOBAL os.system, MARK, BINUNICODE command, TUPLE, REDUCE, STOP.
    let command = format!("touch {}", proof.display());
    let pickle = [&b"\x80\x02cos\nsystem\n(X"[..], &(command.len() as u32).to_le_bytes(), command.as_bytes(), b"tR."].concat();
    std::fs::write(path("code.pt"), pickle).expect("written");
    // Two tensors on the same bytes.
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    let overlapping = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 12]].concat();
    std::fs::write(path("overlapping.safetensors"), overlapping).expect("written");
    // A header that claims more than there is.
    std::fs::write(path("huge.safetensors"), [&u64::MAX.to_le_bytes()[..], b"{}"].concat()).expect("written");
    std::fs::write(path("cut.pt"), b"PK\x03\x04 and no more").expect("written");
    std::fs::write(path("page.pt"), b"<html>not found</html>").expect("written");
    for (file, words) in [
        ("code.pt", &["os.system", "nothing of the file was run"][..]),
        ("overlapping.safetensors", &["overlapping.safetensors", "safetensors"]),
        ("huge.safetensors", &["huge.safetensors"]),
        ("cut.pt", &["cut.pt"]),
        ("page.pt", &["page.pt"]),
    ] {
        let all = ["embed", "--model", "configs/tiny.json", "--checkpoint", file, "--texts", "texts.txt", "--out", "e.safetensors"];
        let refused = run(folder.path(), &all);
        assert_eq!(refused.code, 4, "{file}: {}", refused.err);
        assert!(words.iter().all(|word| refused.err.contains(word)), "{file}: {}", refused.err);
        assert!(!refused.err.contains("panicked"), "{file}: {}", refused.err);
    }
    assert!(!proof.exists(), "the pickle's command was not run");
}
