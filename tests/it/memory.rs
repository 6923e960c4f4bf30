//! Gradient checkpointing and `train.memory`, through the command line.

use std::collections::BTreeMap;
use std::path::Path;

use crate::program::{command, must, ran, run};

/// Two transformers of eight blocks, whose graphs are most of a step's memory.
const DEEP: &str = r#"
seed = 3
embed = 16
[backbone.image]
use = "vit"
image_size = 32
patch_size = 8
width = 32
layers = 8
heads = 2
patch_dropout = 0.25
[backbone.text]
use = "text_transformer"
context = 32
width = 32
layers = 8
heads = 2
freeze = ["token_embedding"]
[data.train]
use = "shapes"
samples = 96
size = 32
[objective.clip]
[train]
batch = 32
steps = 3
workers = 1
log_every = 1
torch_threads = 1
show_batch = false
[optimizer]
lr = 1e-3
[schedule]
warmup = 0
"#;

const AGAIN: &str = "train.grad_checkpointing=true";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), DEEP).expect("written");
    folder
}

/// The losses of a run, step by step, and its log.
fn trained(folder: &Path, name: &str, options: &[&str]) -> (Vec<f64>, String) {
    let named = format!("name={name}");
    must(folder, &[&["train", "run.toml", &named][..], options].concat());
    let read = |file: &str| std::fs::read_to_string(folder.join("logs").join(name).join(file)).expect("it is there");
    let metrics = read("metrics.jsonl");
    let values = metrics.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a whole line"));
    (values.filter_map(|value| value["loss"].as_f64()).collect(), read("out.log"))
}

/// The number before ` MiB` behind `text`.
#[track_caller]
fn mib(said: &str, text: &str) -> f64 {
    let behind = said.split_once(text).unwrap_or_else(|| panic!("`{text}` is not in {said}")).1;
    let number = behind.split_once(" MiB").expect("an amount").0;
    number.trim().parse().unwrap_or_else(|error| panic!("{number}: {error}"))
}

#[test]
fn blocks_that_are_computed_again_give_the_same_losses_with_less_memory() {
    let folder = folder();
    let (plain, said) = trained(folder.path(), "plain", &[]);
    assert!(plain.len() == 3 && !said.contains("checkpointing"), "{plain:?} {said}");
    for (name, options) in [("again", &[AGAIN][..]), ("chunks", &[AGAIN, "train.grad_cache={ rows = 10, keep = 1 }"])] {
        let (losses, said) = trained(folder.path(), name, options);
        assert!(said.contains("gradient checkpointing"), "{said}");
        assert_eq!(losses.len(), plain.len(), "{name}");
        for (step, (ours, wanted)) in losses.iter().zip(&plain).enumerate() {
            let apart = (ours - wanted).abs() / wanted;
            // Sums over chunks round otherwise, and AdamW turns a gradient that is nearly zero, either way, into a whole step.
            assert!(apart <= if name == "again" { 1e-6 } else { 1e-3 }, "{name}, step {step}: {losses:?} and {plain:?}");
        }
    }
    let peak = |options: &[&str]| {
        let args = ["bench", "train", "run.toml", "--steps", "1", "--json"];
        let speed: serde_json::Value = serde_json::from_str(&must(folder.path(), &[&args[..], options].concat())).expect("JSON");
        speed["peak"].as_f64().expect("bytes")
    };
    let (plain, again) = (peak(&[]), peak(&[AGAIN]));
    assert!(again < 0.7 * plain, "{again} of {plain} bytes");
    // What the plan measures at the first step is not what the step takes, and takes nothing from it.
    let planned = peak(&["train.memory=1 MiB"]);
    assert!((0.05 * plain..0.5 * plain).contains(&planned), "{planned} of {plain} bytes");
}

/// Bytes of a step of so many rows each, as `bench memory` takes it.
fn steps(folder: &Path, batches: &str, options: &[&str]) -> BTreeMap<u64, f64> {
    let args = ["bench", "memory", "run.toml", "--json", "--batches", batches];
    let used: serde_json::Value = serde_json::from_str(&must(folder, &[&args[..], options].concat())).expect("JSON");
    let of = |batch: &serde_json::Value| (batch["rows"].as_u64().expect("rows"), batch["step"].as_f64().expect("bytes"));
    used["batches"].as_array().expect("a list").iter().map(of).collect()
}

#[test]
fn what_is_chosen_for_one_size_of_a_batch_says_nothing_of_the_next() {
    let folder = folder();
    let (_, said) = trained(folder.path(), "tiny", &["train.memory=1 KiB"]);
    // Four rows fit as they are; of 32, blocks are computed again.
    let memory = format!("train.memory=\"{:.0} KiB\"", mib(&said, "the graph of a row takes ") * 1024.0 * 4.5);
    let steps = |batches: &str| steps(folder.path(), batches, &[&memory]);
    assert_eq!(steps("4,32"), steps("32,4"));
}

#[test]
fn what_sharpness_and_rounded_weights_take_is_told() {
    let folder = folder();
    // Words are trained, so weights are much of a step's memory.
    let words = "backbone.text.freeze=[]";
    let gsam = "optimizer.gsam={ rho_max = 0.05 }";
    let dry = |options: &[&str]| run(folder.path(), &[&["train", "run.toml", "--dry-run", words][..], options].concat());
    let (plain, sharp) = (dry(&[]), dry(&[gsam]));
    assert!(sharp.out.contains("weights and gradients from before the perturbation"), "{}", sharp.out);
    for told in [&plain, &sharp] {
        assert!(!told.err.contains("CPUAllocator"), "libtorch warns: {}", told.err);
    }
    let more = (mib(&sharp.out, "  at most ") - mib(&plain.out, "  at most ")) * f64::from(1 << 20);
    let taken = steps(folder.path(), "32", &[words, gsam])[&32] - steps(folder.path(), "32", &[words])[&32];
    assert!((0.8..1.25).contains(&(more / taken)), "{more} bytes told, {taken} taken");

    if run(folder.path(), &["internal-probe-bf16"]).code != 0 {
        return;
    }
    // A dry run plans what the run will plan: with the weights that its passes have.
    let options = [words, "train.precision=pure_bf16", "train.memory=1 MiB"];
    let told = dry(&options[1..]);
    assert!(told.out.contains("weights in bfloat16"), "{}", told.out);
    let (_, said) = trained(folder.path(), "rounded", &[&options[..], &["train.steps=1"]].concat());
    let plan = |said: &str| said.lines().find_map(|line| Some(line.split_once("train.memory: ")?.1.to_owned()));
    assert!(plan(&told.err).is_some() && plan(&told.err) == plan(&said), "{} and {said}", told.err);
}

#[test]
fn a_budget_leaves_no_batch_norm_with_a_single_row() {
    let folder = folder();
    let resnet = ["backbone.image={ use = \"resnet10t\", image_size = 32 }", "train.memory=1 KiB", "train.batch=7"];
    let said = run(folder.path(), &[&["train", "run.toml", "--dry-run"][..], &resnet].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("so chunks of 4 rows"), "{}", said.err);
}

#[test]
fn the_memory_of_a_step_is_told_by_group_of_layers_before_it_is_taken() {
    let folder = folder();
    for options in [&[][..], &[AGAIN], &["train.grad_cache={ rows = 8, keep = 2 }"]] {
        let said = must(folder.path(), &[&["train", "run.toml", "--dry-run"][..], options].concat());
        for part in [
            "weights",
            "state of the optimiser",
            "gradients",
            "objectives over the whole batch",
            "graphs, image: conv1",
            "graphs, image: transformer.resblocks.0 to transformer.resblocks.7 (8 blocks)",
            "graphs, text: token_embedding",
            "graphs, text: transformer.resblocks.0 to transformer.resblocks.7 (8 blocks)",
        ] {
            assert!(said.contains(part), "{options:?}: {part} in {said}");
        }
        assert_eq!(said.contains("a block that is computed again"), options == [AGAIN], "{options:?}: {said}");
        let (told, taken) = (mib(&said, "  at most "), mib(&said, "with at most "));
        assert!((0.6..1.6).contains(&(told / taken)), "{options:?}: told {told}, taken {taken}: {said}");
    }
    assert!(!folder.path().join("logs").exists());
}

#[test]
fn a_budget_chooses_what_is_computed_again_and_a_resumed_run_goes_on_with_it() {
    let folder = folder();
    let (_, said) = trained(folder.path(), "tiny", &["train.memory=1 KiB"]);
    let row = mib(&said, "the graph of a row takes ");
    // Room for four rows: chunks of them would run twice, so blocks do.
    let memory = format!("train.memory=\"{:.0} KiB\"", row * 1024.0 * 4.0);
    let options = [memory.as_str(), "train.save_every=1"];
    let (_, said) = trained(folder.path(), "straight", &options);
    let planned = said.lines().find(|line| line.contains("train.memory: ")).unwrap_or_default();
    assert!(planned.contains("computed again (train.grad_checkpointing)"), "{said}");
    let hash = |name: &str| must(folder.path(), &["internal-hash", &format!("logs/{name}")]);
    let args = [&["train", "run.toml", "name=killed"][..], &options].concat();
    let killed = ran(command(folder.path()).args(&args).env("VLHUB_FAILPOINT", "step-2=abort").output().expect("it starts"));
    assert_ne!(killed.code, 0, "the failpoint was not met: {}", killed.out);
    let resumed = run(folder.path(), &[&args[..], &["--resume"]].concat());
    assert_eq!(resumed.code, 0, "{}", resumed.err);
    assert!(!resumed.err.contains("the graph of a row"), "it is planned once: {}", resumed.err);
    assert_eq!(hash("killed"), hash("straight"));
    // Whoever changes the budget gets another plan.
    let less = ["name=killed", "train.steps=4", "train.memory=1 KiB", "--resume", "--allow-changed"];
    let changed = run(folder.path(), &[&["train", "run.toml"][..], &less].concat());
    assert_eq!(changed.code, 0, "{}", changed.err);
    assert!(changed.err.contains("the graph of a row takes "), "it is planned anew: {}", changed.err);
}

#[test]
fn towers_that_take_no_part_are_told_before_a_run_starts() {
    let folder = folder();
    let resnet = ["backbone.image={ use = \"resnet10t\", image_size = 32 }", AGAIN];
    for command in [&["check", "run.toml"][..], &["train", "run.toml", "--dry-run"]] {
        let said = must(folder.path(), &[command, &resnet[..]].concat());
        let told = said.lines().find(|line| line.contains("train.grad_checkpointing has no effect")).unwrap_or_default();
        assert!(told.contains("backbone.image") && told.contains("batch norms"), "{command:?}: {said}");
        assert!(!said.contains("backbone.text: train.grad_checkpointing"), "{command:?}: {said}");
        assert!(!must(folder.path(), &[command, &[AGAIN][..]].concat()).contains("has no effect"), "{command:?}");
    }
}

#[test]
fn open_clips_flag_asks_for_it() {
    let folder = folder();
    let printed = must(folder.path(), &["train", "run.toml", "--grad-checkpointing", "--print-config"]);
    assert!(printed.contains("grad_checkpointing = true"), "{printed}");
}
