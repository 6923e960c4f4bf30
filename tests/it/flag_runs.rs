//! Training and measuring by flags of open_clip and VL Hub.

use std::path::Path;

use serde_json::Value;
use vlhub_host::config::document::{Document, leaves};
use vlhub_host::formats::{read_safetensors, write_safetensors};
use vlhub_sdk::image::{Rgb, RgbImage};

use crate::program::{HEAD, SMALL, must, run};

/// A model of milliseconds, in open_clip's format. Its name has `vit`, as open_clip's defaults of the optimiser ask.
const TINY: &str = r#"{"embed_dim": 16,
    "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}}"#;

/// Eight pairs as a table, whose columns a tab parts, and as two shards; and the tiny model.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    std::fs::create_dir(place.join("configs")).expect("made");
    std::fs::write(place.join("configs/ViT-tiny.json"), TINY).expect("written");
    let mut rows = String::from("filepath\ttitle\n");
    for shard in 0..2u8 {
        let mut builder = tar::Builder::new(std::fs::File::create(place.join(format!("{shard:05}.tar"))).expect("room"));
        for number in 4 * shard..4 * shard + 4 {
            let name = format!("{number}.png");
            let image = RgbImage::from_fn(20, 20, |x, y| Rgb([number.wrapping_mul(31), x as u8 * 9, y as u8 * 9]));
            image.save(place.join(&name)).expect("room");
            let caption = format!("picture number {number}");
            rows += &format!("{name}\t{caption}\n");
            let bytes = std::fs::read(place.join(&name)).expect("it is there");
            for (name, bytes) in [(name, &bytes[..]), (format!("{number}.txt"), caption.as_bytes())] {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                builder.append_data(&mut header, name, bytes).expect("room");
            }
        }
        builder.finish().expect("room");
    }
    std::fs::write(place.join("pairs.csv"), rows).expect("written");
    folder
}

/// Flags that every run here has.
const SMALL_RUN: [&str; 8] = ["--model-configs", "configs", "--model", "ViT-tiny", "--batch_size=4", "--epochs", "1", "--device=cpu"];

/// The options that a run kept.
fn kept(folder: &Path, name: &str) -> std::collections::BTreeMap<String, Value> {
    let path = folder.join("logs").join(name).join("config.toml");
    leaves(&Document::parse(&std::fs::read_to_string(path).expect("it is written"), "kept", folder.into()).expect("TOML").tree)
}

#[test]
fn flags_train_and_what_they_print_trains_the_same() {
    let folder = folder();
    let place = folder.path();
    for (name, data) in [("shards", "--train-data={00000..00001}.tar"), ("table", "--train-data=pairs.csv")] {
        let flags = [data, "--warm", "3", "--lr=1e-3", "--workers", "1", "--name", name];
        let extra = ["train.show_batch=false", "train.torch_threads=1"];
        let all = [&["train"], &SMALL_RUN[..], &flags, &extra].concat();
        must(place, &all);
        let first = kept(place, name);
        for (key, value) in
            [("train.batch", 4.0), ("train.epochs", 1.0), ("schedule.warmup", 3.0), ("optimizer.lr", 1e-3), ("optimizer.beta2", 0.98)]
        {
            assert_eq!(first[key].as_f64(), Some(value), "{key}");
        }
        assert_eq!((&first["train.precision"], first["objective.clip.weight"].as_f64()), (&Value::from("fp32"), Some(1.0)));
        let printed = must(place, &[&all[..], &["--print-config"]].concat());
        assert!(printed.contains("# precision `amp`, open_clip's default, is fp32 on a CPU"), "{printed}");
        std::fs::write(place.join("printed.toml"), printed).expect("written");
        must(place, &["train", "printed.toml", "name=again"]);
        let mut second = kept(place, "again");
        second.insert("name".into(), name.into());
        assert_eq!(second, first, "{name}");
        std::fs::remove_dir_all(place.join("logs/again")).expect("it is there");
    }
    let log = std::fs::read_to_string(place.join("logs/table/out.log")).expect("a log");
    assert!(log.contains("fp32 on a CPU"), "{log}");
    // The same command again goes on, and there is nothing left to do.
    let again = [&["train"], &SMALL_RUN[..], &["--train-data=pairs.csv", "--warm=3", "--lr=1e-3", "--workers=1", "--name=table"]].concat();
    let resumed = run(place, &[&again[..], &["--resume", "latest", "train.show_batch=false", "train.torch_threads=1"]].concat());
    assert_eq!(resumed.code, 0, "{}", resumed.err);
    // Without training data the run is measured, as by open_clip's one program.
    let measured = run(place, &["train", "--val-data", "pairs.csv", "--resume", "logs/table"]);
    assert!(measured.code == 0 && measured.out.contains("image_to_text_R@1"), "{}\n{}", measured.out, measured.err);
    let by_run = run(place, &["eval", "logs/table", "--val-data=pairs.csv", "--json"]);
    let report: Value = serde_json::from_str(&by_run.out).unwrap_or_else(|error| panic!("{error}: {}", by_run.err));
    assert_eq!(report["results"][0]["name"], "val");
    let other = run(place, &["eval", "logs/table", "--val-data=pairs.csv", "--model=RN50"]);
    assert!(other.code == 2 && other.err.contains("--model: the run describes its model"), "{}", other.err);
}

#[test]
fn flags_go_over_a_run_file_and_options_over_flags() {
    let folder = folder();
    let place = folder.path();
    std::fs::create_dir(place.join("runs")).expect("made");
    std::fs::write(place.join("runs/run.toml"), SMALL.replace("steps = 14", "steps = 1").replace("batch = 16", "batch = 2"))
        .expect("written");
    let flags = ["train", "runs/run.toml", "--train-data", "pairs.csv", "--batch-size=8", "--wd", "0.3", "optimizer.lr=2e-3", "--siglip"];
    must(place, &flags);
    let kept = kept(place, "small");
    assert_eq!(
        (kept["train.batch"].as_i64(), kept["optimizer.wd"].as_f64(), kept["optimizer.lr"].as_f64()),
        (Some(8), Some(0.3), Some(2e-3))
    );
    assert!(kept.contains_key("objective.siglip.weight") && !kept.keys().any(|key| key.starts_with("objective.clip.")), "{kept:?}");
    assert_eq!(kept["schedule.warmup"].as_i64(), Some(2), "open_clip's defaults do not go over a file");
    let dry = must(place, &["train", "runs/run.toml", "--dry-run=True", "--batch-size", "4"]);
    assert!(dry.contains("nothing was written"), "{dry}");
}

/// A network that timm trained on classes: the trunk's names as they are, and its classifier under `head`.
#[test]
fn a_supervised_net_of_timm_brings_its_head() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    for class in 0..4u8 {
        std::fs::create_dir_all(place.join(format!("train/{class}"))).expect("made");
        for number in 0..6u8 {
            let image = RgbImage::from_pixel(16, 16, Rgb([class * 60, 255 - class * 60, number * 4]));
            image.save(place.join(format!("train/{class}/{number}.png"))).expect("room");
        }
    }
    let tower = "use = \"timm_vit\"\nimage_size = 16\npatch_size = 8\nwidth = 16\nlayers = 1\nheads = 2";
    let run_file = HEAD.replace("use = \"vit\"\nimage_size = 16\npatch_size = 8\nwidth = 16\nlayers = 1\nheads = 2", tower);
    let suite = "[eval.accuracy]\ndata = { use = \"imagefolder\", path = \"train\" }\n";
    std::fs::write(place.join("run.toml"), format!("{run_file}{suite}")).expect("written");
    must(place, &["train", "run.toml", "train.steps=60"]);
    let checkpoints = std::fs::read_dir(place.join("logs/head/checkpoints")).expect("it is there").flatten().map(|entry| entry.path());
    let newest = checkpoints.filter(|path| path.join("manifest.json").is_file()).max().expect("a checkpoint");
    let whole = read_safetensors(&newest.join("rank-0.safetensors")).expect("it was written");
    let timm = |name: &str| match name.strip_prefix("objective.classify.") {
        Some(rest) => Some(format!("head.{rest}")),
        None => name.strip_prefix("visual.trunk.").map(str::to_owned),
    };
    let theirs: Vec<_> = whole.iter().filter_map(|(name, tensor)| Some((timm(name)?, tensor.shallow_clone()))).collect();
    assert!(theirs.iter().any(|(name, _)| name == "head.weight") && !whole.iter().all(|(name, _)| timm(name).is_some()));
    write_safetensors(&place.join("timm.safetensors"), &theirs, &std::collections::BTreeMap::new()).expect("written");
    let measured = |args: &[&str]| {
        let report: Value = serde_json::from_str(&must(place, &[&["eval"], args, &["--json"]].concat())).expect("JSON");
        report["results"][0]["report"].clone()
    };
    let theirs = measured(&["run.toml", "--checkpoint", "timm.safetensors"]);
    assert!(theirs["metrics"].as_array().is_some_and(|metrics| !metrics.is_empty()), "{theirs}");
    assert_eq!(theirs["metrics"], measured(&["logs/head"])["metrics"]);
}

#[test]
fn data_sets_are_measured_by_the_classes_that_vl_hub_gives_them() {
    let folder = folder();
    let place = folder.path();
    let write = |path: &str, text: &str| {
        let path = place.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    let picture = |path: &str, shade: u8| {
        let path = place.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        RgbImage::from_pixel(20, 18, Rgb([shade, 255 - shade, 40])).save(path).expect("room");
    };
    // Of these two, the subset in100 has the banana.
    picture("objectnet-1.0/images/banana/a.png", 10);
    picture("objectnet-1.0/images/backpack/a.png", 200);
    picture("food-101/images/apple_pie/1.jpg", 90);
    picture("food-101/images/waffles/2.jpg", 150);
    write("food-101/meta/test.txt", "apple_pie/1\nwaffles/2\n");
    picture("fgvc-aircraft-2013b/data/images/1.jpg", 30);
    write("fgvc-aircraft-2013b/data/families.txt", "A300\nBoeing 707\n");
    write("fgvc-aircraft-2013b/data/images_family_val.txt", "1 A300\n");
    let measured = |flags: &[&str]| {
        let model = ["eval", "--model-configs", "configs", "--model", "ViT-tiny", "--random-weights", "--device=cpu", "--json"];
        let all: Value = serde_json::from_str(&must(place, &[&model[..], flags].concat())).expect("JSON");
        let results = all["results"].as_array().expect("results").iter();
        let samples = |result: &Value| (result["name"].as_str().expect("a name").to_owned(), result["report"]["samples"].as_u64());
        results.map(samples).collect::<std::collections::BTreeMap<_, _>>()
    };
    let supervised = measured(&["--objectnet=objectnet-1.0", "--linear-probe"]);
    assert_eq!(supervised["objectnet"], Some(2), "a head of ImageNet's 1000 classes");
    let of_subset = measured(&["--objectnet=objectnet-1.0", "--food=food-101", "--caption-subset=True"]);
    assert_eq!((of_subset["objectnet"], of_subset["food101"]), (Some(1), Some(2)));
    assert_eq!(measured(&["--air=."])["fgvc_aircraft"], Some(1));
}

#[test]
fn flags_over_a_run_file_take_its_batch_and_find_weights_beside_the_program() {
    let folder = folder();
    let place = folder.path();
    std::fs::create_dir(place.join("runs")).expect("made");
    std::fs::write(place.join("runs/run.toml"), SMALL.replace("batch = 16", "batch = 8")).expect("written");
    std::fs::write(place.join("w.pt"), "weights").expect("written");
    let flags = ["--accum-freq=4", "--epochs=2", "--distill-model=ViT-B-32", "--distill-pretrained=w.pt"];
    let printed = must(place, &[&["train", "runs/run.toml"][..], &flags, &["--print-config"]].concat());
    let options = leaves(&Document::parse(&printed, "printed", place.into()).expect("TOML").tree);
    let number = |path: &str| options[path].as_i64();
    assert_eq!((number("train.batch"), number("train.grad_cache.rows")), (Some(32), Some(8)));
    assert_eq!((number("train.epochs"), number("train.steps")), (Some(2), Some(0)));
    let weights = Path::new(options["teacher.teacher.pretrained"].as_str().expect("a path"));
    assert!(weights.is_absolute() && weights.is_file(), "{}", weights.display());
}

#[test]
fn what_is_wrong_names_the_flag() {
    let folder = folder();
    let place = folder.path();
    for (flags, parts) in [
        (&["--train-data=pairs.csv", "--batch-size=0"][..], &["--batch-size", "train.batch", "must be at least 1"][..]),
        (&["--train-data=nowhere.csv"], &["--train-data", "data.train", "nowhere.csv"]),
        (&["--train-data=pairs.csv", "--bacth-size=4"], &["`--bacth-size` is no flag", "did you mean `--batch-size`?", "host/FLAGS.md"]),
        (&["--train-data=pairs.csv", "--resmue"], &["did you mean `--resume`?"]),
        (&["--train-data=pairs.csv", "--lock-im"], &["could be --lock-image"]),
        (&["--train-data=pairs.csv", "--horovod", "--fsdp"], &["2 problems", "--horovod", "--fsdp", "one process"]),
        (&["--train-data=pairs.csv", "--model=ViT-tyni"], &["--model", "did you mean `ViT-tiny`?"]),
        (&["--train-data=pairs.csv", "--torchcompile", "--epochs=0"], &["--epochs", "train.epochs"]),
    ] {
        let ran = run(place, &[&["train", "--model-configs", "configs", "--model=ViT-tiny"], flags].concat());
        assert_eq!(ran.code, 2, "{flags:?}: {}", ran.err);
        for part in parts {
            assert!(ran.err.contains(part), "{flags:?}: {part:?} is not in\n{}", ran.err);
        }
    }
    assert!(!place.join("logs").exists(), "nothing was written");
    let told = run(
        place,
        &[
            "train",
            "--train-data=pairs.csv",
            "--torchcompile",
            "--local-loss",
            "--dry-run",
            "--batch-size=4",
            "--model-configs=configs",
            "--model=ViT-tiny",
        ],
    );
    assert!(told.code == 0 && told.err.contains("`--torchcompile` has no effect") && !told.err.contains("local-loss"), "{}", told.err);
    let help = must(place, &["train", "--help"]);
    assert!(help.contains("host/FLAGS.md") && !help.contains("--fsdp"), "{help}");
    let nothing = run(place, &["train", "optimizer.lr=1"]);
    assert!(nothing.code == 2 && nothing.err.contains("name a run file, or what to train"), "{}", nothing.err);
}
