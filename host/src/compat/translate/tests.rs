use std::ffi::OsString;

use serde_json::json;
use vlhub_core::Registry;

use super::*;
use crate::compat::{CompatFlag, all, split};

/// What a command line stands for.
fn translated(arguments: &[&str], purpose: Purpose, below: Option<Document>) -> Outcome<FlagTranslation> {
    asked(arguments, purpose, below, false)
}

fn asked(arguments: &[&str], purpose: Purpose, below: Option<Document>, of_run: bool) -> Outcome<FlagTranslation> {
    let registry = Registry::linked().expect("no duplicates");
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let given = split("train", &arguments, &[]).expect("flags").given;
    translate(Request { given: &given, purpose, below, of_run, resume: None, registry: &registry, model_configs: &[] })
}

/// Flags over a run file in the folder `runs`.
#[track_caller]
fn over(file: &str, arguments: &[&str]) -> FlagTranslation {
    let below = Document::parse(file, "runs/run.toml", PathBuf::from("runs")).expect("TOML");
    translated(arguments, Purpose::Train, Some(below)).unwrap_or_else(|failure| panic!("{arguments:?}: {failure}"))
}

#[track_caller]
fn trained(arguments: &[&str]) -> Value {
    let arguments = [&["--device", "cpu"], arguments].concat();
    Value::Object(translated(&arguments, Purpose::Train, None).unwrap_or_else(|failure| panic!("{failure}")).document.tree)
}

#[test]
fn open_clips_defaults_hold_where_nothing_else_is_said() {
    let tree = trained(&["--train-data", "a.csv"]);
    let wanted = json!({
        "device": "cpu",
        "model": "RN50",
        "data": {"train": {"use": "csv", "path": "a.csv", "separator": "\t"}},
        "objective": {"clip": {}},
        "optimizer": {"beta2": 0.999, "eps": 1e-8},
        "schedule": {"warmup": 10000},
        "train": {"epochs": 32, "workers": 4, "precision": "fp32", "keep_last": 32},
        "view": {"image": {"main": {"augment": [{"use": "random_resized_crop"}]}}},
    });
    assert_eq!(tree, wanted);
    let vit = trained(&["--train-data", "a/{00..12}.tar", "--model", "ViT-B-32", "--lr", "1e-3", "--warmup=0", "--batch-size", "8"]);
    assert_eq!(vit["optimizer"], json!({"lr": 1e-3}), "the moments of a ViT are the run file's defaults");
    assert_eq!(vit["schedule"]["warmup"], 0);
    assert_eq!(vit["data"]["train"], json!({"use": "webdataset", "shards": "a/{00..12}.tar"}));
}

#[test]
fn several_flags_become_one_option() {
    for (arguments, pointer, wanted) in [
        (&["--batch-size=64", "--accum-freq=4"][..], "/train/batch", json!(256)),
        (&["--batch-size=64", "--accum-freq=4"], "/train/grad_cache/rows", json!(64)),
        (&["--batch-size=2048", "--gc=True", "--gpumaxbatch=128"], "/train/grad_cache", json!({"rows": 128})),
        (&["--gc"], "/train/grad_cache", json!({"rows": 32})),
        (&["--gc=False"], "/train/grad_cache", json!(null)),
        (&["--lock-image", "--lock-image-unlocked-groups", "3"], "/backbone/image/unlocked", json!(3)),
        (&["--lock-text"], "/backbone/text/unlocked", json!(0)),
        (&["--siglip"], "/objective", json!({"siglip": {}})),
        (&["--filip=True", "--dcl=True"], "/objective", json!({"filip": {"dcl": true}})),
        (&["--mlm=True"], "/objective", json!({"clip": {"weight": 0.95}, "mlm": {"weight": 0.05}})),
        (&["--vssl=True", "--image_ssl_loss_weight", "0.2"], "/objective/clip/weight", json!(0.75)),
        (&["--img-weight", "0.3", "--text-weight=0.7"], "/objective/clip", json!({"image_weight": 0.3, "text_weight": 0.7})),
        (&["--elp", "True"], "/objective/clip", json!({"extra_projections": true})),
        (&["--model", "RN50-in1k", "--integer-labels"], "/objective", json!({"classify": {"classes": 1000}})),
        (&["--model", "RN50-insecta", "--integer-labels"], "/objective/classify/classes", json!(1000)),
        (&["--sim-clr=True", "--model", "RN50"], "/backbone/text", json!(null)),
        (&["--sim-clr=True"], "/view/image/b/augment", json!([{"use": "simclr"}])),
        (&["--model", "coca_ViT-B-32"], "/objective", json!({"clip": {"weight": 1.0}, "caption": {"weight": 2.0}})),
        (&["--model=coca_ViT-B-32", "--coca-contrastive-loss-weight=0"], "/objective", json!({"caption": {"weight": 2.0}})),
        (&["--distill-model=RN50", "--distill-pretrained=openai"], "/objective", json!({"clip": {}, "distill": {}})),
        (&["--gsam"], "/optimizer/gsam/rho_max", json!(0.1)),
        // No flag takes the default, which on a CPU is another than there.
        (&["--precision", "amp"], "/train/precision", json!("amp_fp16")),
        (&["--precision", "bf16"], "/train/precision", json!("pure_bf16")),
        (&["--precision", "pure_bf16"], "/train/precision", json!("pure_bf16")),
        (&["--precision", "amp_bfloat16"], "/train/precision", json!("amp_bf16")),
        (&["--precision", "fp32"], "/train/precision", json!("fp32")),
        (&["--text-layer-decay=0.5", "--image-layer-decay=0.5", "--opt=adamw"], "/optimizer/layer_decay", json!(0.5)),
        (&["--wd-exclude", "*.bias", "visual.*"], "/optimizer/groups/wd_exclude_1", json!({"match": "visual.*", "wd": 0.0})),
        (&["--skip-scheduler"], "/schedule", json!({"use": "constant", "warmup": 0})),
        (&["--ds-filter=imagenet_classnames"], "/view/text/main/transform/1", json!("clean")),
        (
            &["--ds-filter=in100", "--integer-labels", "--multiclass"],
            "/view/text/main/transform",
            json!([{"use": "match_labels", "classes": "in100", "mode": "multi"}]),
        ),
        (&["--ds-filter=in100", "--integer-labels", "--model=ViT-B-32"], "/objective/classify/classes", json!(100)),
        (&["--csv-cleaned=True", "--token-trunc=4"], "/view/text/main/transform", json!(["clean", {"use": "truncate", "tokens": 4}])),
        (&["--aug-cfg", "scale=(0.4, 1.0)", "re_prob=0.2"], "/view/image/main/augment/1/p", json!(0.2)),
        (&["--grayscale=True"], "/view/image/main/augment/1", json!({"use": "greyscale", "p": 1.0})),
        (&["--max-image-pixels=0"], "/max_pixels", json!(i64::MAX)),
        (&["--report-to", "wandb,tensorboard"], "/report_to", json!(["wandb", "tensorboard"])),
        (&["--delete-previous-checkpoint"], "/train/keep_last", json!(2)),
        (&["--imagenet-val=/in"], "/eval/imagenet", json!({"path": "/in", "every": "2 epochs"})),
        (&["--imagenet-val=/in", "--zeroshot-frequency=1", "--caption-subset=True"], "/eval/imagenet/subset", json!("in100")),
        (&["--food", "/f", "--zs-upper=True", "--no-ensembling"], "/eval/food101/class_transform", json!(["upper"])),
        (&["--air", "/f", "--no_eval=True"], "/eval/fgvc_aircraft/every", json!("never")),
        (&["--air=/f"], "/eval/fgvc_aircraft", json!({"path": "/f", "split": "val", "level": "family", "every": "2 epochs"})),
        (
            &["--air=/f", "--linear-probe"],
            "/eval/fgvc_aircraft/data",
            json!({"use": "fgvc_aircraft", "path": "/f", "split": "val", "level": "family"}),
        ),
        (&["--objectnet=/o"], "/eval/objectnet", json!({"path": "/o", "every": "2 epochs"})),
        (
            &["--objectnet=/o", "--integer-labels"],
            "/eval/objectnet",
            json!({"use": "accuracy", "data": {"use": "objectnet", "path": "/o", "labels": "imagenet"}, "every": "2 epochs"}),
        ),
        (
            &["--objectnet=/o", "--caption-subset=True"],
            "/eval/objectnet",
            json!({"data": {"use": "objectnet", "labels": "imagenet"}, "path": "/o", "subset": "in100", "every": "2 epochs"}),
        ),
        (&["--food=/f", "--imagenet-val=/in", "--caption-subset=True"], "/eval/food101", json!({"path": "/f", "every": "2 epochs"})),
        (&["--food=/f", "--imagenet-val=/in", "--caption-subset=True"], "/eval/imagenet/subset", json!("in100")),
        (&["--food=/f", "--caption-subset=dishes.txt"], "/eval/food101/subset", json!("dishes.txt")),
        (
            &["--arbor-val=/a", "--arbor-rare=/r", "--taxon=genus"],
            "/eval/arbor_rare",
            json!({"use": "arboretum", "path": "/r", "taxon": "genus", "every": "2 epochs"}),
        ),
        (
            &["--imagenet-val=/in", "--model=RN50-in1k", "--integer-labels", "--caption-subset=in100"],
            "/eval/imagenet",
            json!({"use": "accuracy", "data": {"use": "imagenet", "path": "/in"}, "subset": "in100", "every": "2 epochs"}),
        ),
        (&["--force-quick-gelu"], "/backbone", json!({"text": {"quick_gelu": true}})),
        (&["--force-quick-gelu", "--model=ViT-B-32"], "/backbone/image/quick_gelu", json!(true)),
        (&["--fungi"], "/eval/fungi", json!({"every": "2 epochs"})),
        (&["--val-data", "v.tsv"], "/eval/val", json!({"use": "retrieval", "data": {"use": "csv", "path": "v.tsv"}, "every": "1 epoch"})),
        (&["--csv-caption-key=idx", "--integer-labels"], "/data/train/label_key", json!("idx")),
        (&["--csv-caption-key=taxon!species"], "/data/train/caption_key", json!("")),
        (&["--csv-separator", "\\t"], "/data/train/separator", json!("\t")),
        (&["--pretrained-head=x.pt"], "/backbone/image/init", json!("x.pt")),
    ] {
        let all = [&["--train-data", "a.csv"], arguments].concat();
        assert_eq!(trained(&all).pointer(pointer).unwrap_or(&Value::Null), &wanted, "{arguments:?} {pointer}");
    }
    let synthetic = trained(&["--dataset-type=synthetic", "--train-num-samples=100"]);
    assert_eq!(synthetic["data"]["train"], json!({"use": "shapes", "samples": 100}));
    let mixed = trained(&["--schema", "schema.txt", "--train-num-samples", "9"]);
    assert_eq!((&mixed["data"]["train"]["schema"], &mixed["train"]["samples"]), (&json!("schema.txt"), &json!(9)));
    let drawn = ["--train-data=a.tar::b.tar", "--train-data-upsampling-factors=1::0.5", "--dataset-resampled"];
    assert_eq!(trained(&drawn)["data"]["train"]["upsampling"], json!([1.0, 0.5]));
    let folder = ["--train-data=/x", "--dataset-type=imagefolder", "--size-controlled=1000, 30"];
    assert_eq!(
        trained(&folder)["data"]["train"],
        json!({"use": "imagefolder", "path": "/x", "max_classes": 30, "max_samples_per_class": 34})
    );
}

#[test]
fn a_name_of_timm_is_a_tower() {
    let tree = trained(&["--train-data=a.csv", "--model=vit_base_patch32_224", "--mlm=True"]);
    assert_eq!(tree["backbone"]["image"], json!({"use": "vit_base_patch32_224"}));
    assert_eq!((&tree["backbone"]["text"]["use"], &tree["embed"]), (&json!("text_transformer"), &json!(512)));
    let alone = trained(&["--train-data=a.csv", "--model=vit_base_patch32_224", "--byol"]);
    assert_eq!(alone["backbone"].get("text"), None);
    assert_eq!(trained(&["--train-data=a.csv", "--model=ViT-B-33"])["model"], "ViT-B-33", "the check tells what is near");
}

#[test]
fn flags_go_over_a_run_file_and_defaults_do_not() {
    let file = "seed = 1\nmodel = \"RN50\"\n[objective.mine]\nuse = \"clip\"\n[train]\nbatch = 4\nepochs = 2\n[data.train]\nuse = \"csv\"\npath = \"x.csv\"\nimg_key = \"file\"\n";
    let below = || Document::parse(file, "runs/run.toml", PathBuf::from("runs")).expect("TOML");
    let over =
        |arguments: &[&str]| translated(arguments, Purpose::Train, Some(below())).unwrap_or_else(|failure| panic!("{failure}")).document;
    let document = over(&["--batch-size=9", "--img-weight=0.2"]);
    let tree = Value::Object(document.tree.clone());
    assert_eq!(tree["train"], json!({"batch": 9, "epochs": 2}));
    assert_eq!(tree["objective"], json!({"mine": {"use": "clip", "image_weight": 0.2}}));
    assert_eq!((document.place("train.batch"), document.place("train.epochs")), ("--batch-size".into(), "runs/run.toml:7".into()));
    assert_eq!((document.name.as_str(), document.folder.as_path()), ("runs/run.toml", Path::new("runs")));
    let chosen = Value::Object(over(&["--siglip", "--model=ViT-B-32", "--train-data=y.csv"]).tree);
    assert_eq!((&chosen["objective"], &chosen["model"]), (&json!({"siglip": {}}), &json!("ViT-B-32")));
    let path = std::path::absolute("y.csv").expect("a path").display().to_string();
    assert_eq!(chosen["data"]["train"], json!({"use": "csv", "path": path, "separator": "\t", "img_key": "file"}));
}

#[test]
fn what_a_flag_needs_and_no_flag_says_is_taken_from_the_run_file() {
    let head = "[backbone.image]\nuse = \"vit\"\n[objective.head]\nuse = \"classify\"\nclasses = 7\n";
    for (file, arguments, pointer, wanted) in [
        ("[train]\nbatch = 512\n", &["--accum-freq=4"][..], "/train", json!({"batch": 2048, "grad_cache": {"rows": 512}})),
        ("[train]\nbatch = 512\n", &["--accum-freq=4", "--batch-size=8"], "/train", json!({"batch": 32, "grad_cache": {"rows": 8}})),
        (
            "[train]\nbatch = 512\ngrad_cache = { rows = 64 }\n",
            &["--accum-freq=4"],
            "/train",
            json!({"batch": 2048, "grad_cache": {"rows": 64}}),
        ),
        ("[train]\nbatch = 512\nmemory = \"8 GiB\"\n", &["--accum-freq=4"], "/train", json!({"batch": 2048, "memory": "8 GiB"})),
        ("seed = 1\n", &["--accum-freq=4"], "/train", json!({"batch": 256, "grad_cache": {"rows": 64}})),
        ("[train]\ngrad_cache = { rows = 128 }\n", &["--gc"], "/train/grad_cache/rows", json!(128)),
        ("[train]\ngrad_cache = { rows = 128 }\n", &["--gpumaxbatch=16"], "/train/grad_cache/rows", json!(16)),
        ("[train]\nsteps = 100\n", &["--epochs=3"], "/train", json!({"steps": 0, "epochs": 3})),
        ("[train]\nsteps = 100\n", &["--save-frequency=1"], "/train/keep_every", json!(1)),
        ("[train]\nepochs = 100\n", &["--save-frequency=1"], "/train", json!({"epochs": 100, "keep_last": 100})),
        ("device = \"cpu\"\n", &["--precision=amp"], "/train/precision", json!("amp_fp16")),
        ("[data.train]\nuse = \"shapes\"\nsamples = 96\n", &["--train-num-samples=9"], "/data/train/samples", json!(9)),
        ("[data.train]\nuse = \"webdataset\"\nshards = \"a.tar\"\n", &["--train-num-samples=9"], "/train/samples", json!(9)),
        ("[data.train]\nuse = \"csv\"\npath = \"a.csv\"\n", &["--train-num-samples=9"], "/train", Value::Null),
        (
            "[view.image.main]\naugment = [\"flip\"]\n",
            &["--grayscale"],
            "/view/image/main/augment",
            json!(["flip", {"use": "greyscale", "p": 1.0}]),
        ),
        (
            "model = \"ViT-B-32\"\n",
            &["--force-quick-gelu"],
            "/backbone",
            json!({"image": {"quick_gelu": true}, "text": {"quick_gelu": true}}),
        ),
        ("[backbone.image]\nuse = \"modified_resnet\"\n", &["--force-quick-gelu"], "/backbone/image/quick_gelu", Value::Null),
        (head, &["--force-quick-gelu"], "/backbone", json!({"image": {"use": "vit", "quick_gelu": true}})),
        (head, &["--integer-labels"], "/objective", json!({"classify": {"classes": 7}})),
        (head, &["--multiclass"], "/objective", json!({"head": {"use": "classify", "classes": 7, "several": "sum"}})),
        (
            head,
            &["--objectnet=/o"],
            "/eval/objectnet",
            json!({"use": "accuracy", "data": {"use": "objectnet", "path": "/o", "labels": "imagenet"}, "every": "2 epochs"}),
        ),
        (
            "model = \"coca_ViT-B-32\"\n[objective.main]\nuse = \"clip\"\n",
            &["--coca-contrastive-loss-weight=0.5", "--coca-caption-loss-weight=1"],
            "/objective",
            json!({"main": {"use": "clip", "weight": 0.5}, "caption": {"weight": 1.0}}),
        ),
    ] {
        let tree = Value::Object(over(file, arguments).document.tree);
        assert_eq!(tree.pointer(pointer).unwrap_or(&Value::Null), &wanted, "{arguments:?} over {file}");
    }
    let told = over("[data.train]\nuse = \"csv\"\npath = \"a.csv\"\n", &["--train-num-samples=9"]).notes;
    assert!(told.iter().any(|note| note.contains("`--train-num-samples` has no effect")), "{told:?}");
}

#[test]
fn paths_of_flags_start_where_the_program_was_started() {
    // A file that is there, in the folder in which tests run.
    let there = "Cargo.toml";
    let absolute = |name: &str| std::path::absolute(name).expect("a path").display().to_string();
    let local = format!("local-dir:{}", absolute("w"));
    for (arguments, pointer, wanted) in [
        (
            &["--distill-model=ViT-B-32", "--distill-pretrained=Cargo.toml"][..],
            "/teacher/teacher",
            json!({"model": "ViT-B-32", "pretrained": absolute(there)}),
        ),
        (
            &["--distill-model=teacher.json", "--distill-pretrained=openai"],
            "/teacher/teacher",
            json!({"model": absolute("teacher.json"), "pretrained": "openai"}),
        ),
        (&["--pretrained=Cargo.toml"], "/pretrained", json!(absolute(there))),
        (&["--pretrained=openai"], "/pretrained", json!("openai")),
        (&["--pretrained=local-dir:w"], "/pretrained", json!(local)),
        (&["--model=local-dir:w"], "/model", json!(local)),
        (&["--pretrained-head=w.pt"], "/backbone/image/init", json!(absolute("w.pt"))),
        (&["--caption-subset=Cargo.toml", "--food=f"], "/eval/food101/subset", json!(absolute(there))),
    ] {
        let tree = Value::Object(over("[objective.clip]\n", arguments).document.tree);
        assert_eq!(tree.pointer(pointer).unwrap_or(&Value::Null), &wanted, "{arguments:?} {pointer}");
    }
}

#[test]
fn a_subset_of_imagenet_that_other_data_have_not_is_told() {
    let arguments = ["--train-data=a.csv", "--imagenet-val=/in", "--food=/f", "--caption-subset=True"];
    let told = translated(&arguments, Purpose::Train, None).expect("it is one of ImageNet's").notes;
    let of_subset: Vec<&String> = told.iter().filter(|note| note.contains("--caption-subset")).collect();
    assert_eq!(of_subset, ["`--caption-subset in100` has no effect on `eval.food101`: its classes are not ImageNet's"]);
}

#[test]
fn a_run_that_is_measured_keeps_its_head() {
    let tree = asked(&["--linear-probe", "--objectnet=/o"], Purpose::Eval, None, true).expect("a suite").document.tree;
    let data = json!({"use": "objectnet", "path": "/o", "labels": "imagenet"});
    assert_eq!(Value::Object(tree), json!({"eval": {"objectnet": {"use": "accuracy", "data": data}}}));
}

#[test]
fn what_is_refused_comes_in_one_report() {
    let failure = translated(
        &[
            "--train-data=a.csv",
            "--fsdp",
            "--opt=lion",
            "--precision=fp16",
            "--imagenet-tune-freq=2",
            "--use-naflex",
            "--distill-model=x",
            "--dist-url=env://",
        ],
        Purpose::Train,
        None,
    );
    let message = failure.expect_err("refused").message;
    assert!(message.starts_with("7 problems in the command line"), "{message}");
    for flag in ["--fsdp ", "--opt ", "--precision ", "--imagenet-tune-freq ", "--use-naflex ", "--distill-model ", "--dist-url "] {
        assert!(message.lines().any(|line| line.trim_start().starts_with(flag)), "{flag}: {message}");
    }
    for (arguments, part) in [
        (&["--train-data=a"][..], "say `--dataset-type"),
        (&["--train-data=a.csv", "--filip", "--img-weight=0.3"], "is an option of CLIP's loss, and `--filip` asks for another"),
        (&["--train-data=a.csv", "--strict"], "how the classes of `--ds-filter`"),
        (&["--train-data=a.csv", "--ds-filter=birds"], "VL Hub's list `birds` is not here"),
        (&["--train-data=a.csv", "--schema=b"], "leave one of them out"),
        (&["--train-data=a.csv", "--logs=none"], "a run has a folder"),
        (&["--train-data=a.csv", "--text-layer-decay=0.5"], "for both towers"),
        (&["--train-data=a.csv", "--precision=pure_fp16"], "`pure_fp16` keeps weights in float16 and scales no loss; take `amp`"),
    ] {
        let message = translated(arguments, Purpose::Train, None).expect_err(part).message;
        assert!(message.contains(part), "{arguments:?}: {message}");
    }
}

#[test]
fn checkpoints_of_other_programs_are_not_resumed_from() {
    let message = refuse_foreign_checkpoint("logs/x/checkpoints/epoch_3.pt").expect_err("a file").message;
    assert!(message.contains("--pretrained logs/x/checkpoints/epoch_3.pt"), "{message}");
    assert!(refuse_foreign_checkpoint("latest").is_ok() && refuse_foreign_checkpoint("logs/x/checkpoints/step-3").is_ok());
}

/// A value that a flag takes, and the flags without which it has none to act on.
fn sample(flag: &CompatFlag) -> Vec<String> {
    let value = match flag.takes {
        FlagValue::Switch => None,
        FlagValue::Place => Some("/p"),
        FlagValue::Whole | FlagValue::Wholes => Some("3"),
        FlagValue::Number | FlagValue::Numbers => Some("0.25"),
        FlagValue::OneOf(words) => words.get(1).copied(),
        FlagValue::Text | FlagValue::Texts => Some("x"),
    };
    let value = match flag.name {
        "train-data" => Some("b.tsv"),
        "val-data" => Some("v.csv"),
        "train-data-upsampling-factors" => Some("1::2"),
        "size-controlled" => Some("100, 10"),
        "dataset-type" => Some("webdataset"),
        "aug-cfg" => Some("scale=(0.5,1.0)"),
        "precision" => Some("amp_bf16"),
        "opt" => Some("adamw"),
        "lr-scheduler" => Some("const"),
        _ => value,
    };
    let with: &[&str] = match flag.name {
        "lock-image-unlocked-groups" | "lock-image-freeze-bn-stats" => &["--lock-image"],
        "lock-text-unlocked-layers" => &["--lock-text"],
        "multiclass" | "timm-classifier-head-size" => &["--integer-labels"],
        "strict" => &["--ds-filter=in100"],
        "gpumaxbatch" => &["--gc"],
        "taxon" | "caption-subset" | "no-ensembling" | "zs-upper" | "zs-lower" | "zeroshot-scramble" | "zeroshot-frequency" | "no-eval" => {
            &["--bioclip-rare=/b"]
        }
        "val-frequency" => &["--val-data=v.csv"],
        "text-ssl-loss-weight" => &["--mlm"],
        "image-ssl-loss-weight" => &["--vssl"],
        "coca-contrastive-loss-weight" | "coca-caption-loss-weight" => &["--model=coca_ViT-B-32"],
        "distill-pretrained" => &["--distill-model=RN50"],
        "distill-model" => &["--distill-pretrained=openai"],
        "text-layer-decay" => &["--image-layer-decay=0.25"],
        "image-layer-decay" | "visual-layer-decay" => &["--text-layer-decay=0.25"],
        "image-key" | "text-key" | "json-text-key" | "train-num-samples" => &["--dataset-type=webdataset"],
        "size-controlled" => &["--dataset-type=imagefolder"],
        _ => &[],
    };
    let flag = value.map_or_else(|| format!("--{}", flag.name), |value| format!("--{}={value}", flag.name));
    with.iter().map(|text| (*text).to_owned()).chain([flag]).collect()
}

/// Every path of a tree, tables too, and the items of lists.
fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
    let inside: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in inside {
        let path = if path.is_empty() { key } else { format!("{path}.{key}") };
        paths(value, &path, found);
        found.push(path);
    }
}

/// What is wrong with a flag's line of the table, if anything.
fn wrong(flag: &CompatFlag) -> Option<String> {
    let mut arguments = sample(flag);
    if !["train-data", "schema"].contains(&flag.name) {
        arguments.push("--train-data=a.csv".into());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = translated(&arguments, Purpose::Train, None);
    let place = format!("--{}", flag.name);
    if let FlagEffect::Refused(why) = flag.effect {
        let message = outcome.map_or_else(|failure| failure.message, |_| "accepted".into());
        return (!message.contains(why)).then_some(message);
    }
    let translation = match outcome {
        Ok(translation) => translation,
        Err(failure) => return Some(failure.message),
    };
    let mut found = Vec::new();
    paths(&Value::Object(translation.document.tree.clone()), "", &mut found);
    let come_from_it = |path: &&String| translation.document.place(path) == place;
    match flag.effect {
        FlagEffect::Told(why) => {
            let told = translation.notes.iter().any(|note| note.contains(&place) && note.contains(why));
            (!told).then(|| format!("{:?}", translation.notes))
        }
        FlagEffect::Option(path) => (!found.iter().filter(come_from_it).any(|found| found == path)).then(|| format!("{path}: {found:?}")),
        FlagEffect::Translated(_) | FlagEffect::Suite(_) => (!found.iter().any(|path| come_from_it(&path))).then(|| format!("{found:?}")),
        FlagEffect::Own | FlagEffect::Ignored(_) | FlagEffect::Refused(_) => None,
    }
}

/// Options say which flag they come from, so each flag of the table is seen to do something; refusals and notes are those of the table.
#[test]
fn every_flag_of_the_table_does_what_the_table_says() {
    // `--opt adamw` is what is done anyway, `--fine-tune` needs `--resume`, and of the two decays one number is taken: they have tests of their own.
    let tried = all().filter(|flag| !["opt", "fine-tune", "text-layer-decay"].contains(&flag.name));
    let problems: Vec<String> = tried.filter_map(|flag| Some(format!("--{}: {}", flag.name, wrong(flag)?))).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
