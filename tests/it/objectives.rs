//! Objectives, what of a model is trained, and the recipes of `examples`, through the command line.

use std::path::Path;

use serde_json::Value;

use crate::cargo::root;
use crate::program::{SMALL, command, must, ran, run};

const SHORT: [&str; 4] = ["train.batch=8", "train.steps=2", "train.torch_threads=1", "train.show_batch=false"];

fn metrics(folder: &Path, name: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(folder.join(format!("logs/{name}/metrics.jsonl"))).expect("it is there");
    log.lines().map(|line| serde_json::from_str(line).expect("a whole line")).collect()
}

/// Copies the recipes, and what they lie on, to where their paths to other runs and to data lead into `folder`. The recipes' names; those
/// that begin from the runs of others are last.
fn recipes(folder: &Path) -> Vec<String> {
    let to = folder.join("examples/recipes");
    std::fs::create_dir_all(&to).expect("made");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root().join("examples/recipes")).expect("they are there").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        names.push(entry.path().file_stem().expect("a name").to_string_lossy().into_owned());
    }
    names.retain(|name| !name.starts_with('_'));
    names.sort_by_key(|name| (["lit", "distill"].contains(&name.as_str()), name.clone()));
    names
}

/// The options of each command that a recipe's header gives for this recipe.
fn commands(folder: &Path, name: &str) -> Vec<Vec<String>> {
    let file = format!("examples/recipes/{name}.toml");
    let text = std::fs::read_to_string(folder.join(&file)).expect("it is there");
    assert!(text.starts_with("# ") && text.contains("\n# Expect: "), "{name}: its header");
    let given = text.lines().filter_map(|line| line.strip_prefix(&format!("#   vlhub train {file}")));
    given.map(|options| options.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn every_recipe_has_the_plain_steps_gradients_in_chunks_in_both_precisions() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = recipes(folder.path());
    assert_eq!(names.len(), 11, "{names:?}");
    for name in &names {
        let file = format!("examples/recipes/{name}.toml");
        assert!(commands(folder.path(), name).contains(&Vec::new()), "{name}: its header says how to run it");
        // What is measured takes longer than two steps; the suites run in the test on emoji.
        let checked = must(folder.path(), &["check", &file, "--json"]);
        let checked: Value = serde_json::from_str(&checked).expect("JSON");
        let suites = checked["resolved"]["eval"].as_object().expect("suites");
        let suites: Vec<String> = suites.keys().map(|key| format!("eval.{key}.every=never")).collect();
        let suites: Vec<&str> = suites.iter().map(String::as_str).collect();
        let common = [&["train", &file, "train.save_every=1", "data.train.samples=64"], &SHORT[..], &suites].concat();
        let train = |run: &str, options: &[&str]| {
            must(folder.path(), &[&common[..], &[&format!("name={run}")], options].concat());
            let losses = metrics(folder.path(), run);
            (losses.iter().map(|line| line["loss"].as_f64().expect("a number")).collect::<Vec<_>>(), first_gradient(folder.path(), run))
        };
        let chunks = ["train.grad_cache.rows=3", "train.grad_cache.keep=1"];
        let plain = train(name, &[]);
        let cached = train(&format!("{name}_cached"), &chunks);
        for (plain, cached) in plain.0.iter().zip(&cached.0) {
            assert!((plain - cached).abs() < 1e-3 * plain.abs().max(1.0), "{name}: {plain} and {cached}");
        }
        let off = apart(&plain.1, &cached.1);
        assert!(off < 1e-4, "{name}: gradients are {off} apart");

        // In bfloat16, whose last digit is 0.4 %.
        let mixed = train(&format!("{name}_bf16"), &["train.precision=amp_bf16"]);
        let both = train(&format!("{name}_bf16_cached"), &[&chunks[..], &["train.precision=amp_bf16"]].concat());
        let (off, from_float) = (apart(&mixed.1, &both.1), apart(&mixed.1, &plain.1));
        assert!(off < 0.02, "{name}: gradients in bf16 are {off} apart in chunks");
        assert!((1e-4..0.2).contains(&from_float), "{name}: gradients in bf16 and in fp32 are {from_float} apart");
        // Groups of texts share no cast of a weight then, so their gradients are added in float.
        let again = train(&format!("{name}_bf16_again"), &["train.precision=amp_bf16", "train.grad_checkpointing=true"]);
        let off = apart(&mixed.1, &again.1);
        assert!(off < 0.02, "{name}: gradients in bf16 are {off} apart with blocks that are computed again");
    }
}

/// The gradient of a run's first step, as the first moment holds it.
fn first_gradient(folder: &Path, run: &str) -> Vec<f32> {
    let file = folder.join(format!("logs/{run}/checkpoints/step-000000001/rank-0.safetensors"));
    let mut tensors = vlhub_host::formats::read_safetensors(&file).expect("it is kept");
    tensors.retain(|(name, _)| name.starts_with("optimizer.exp_avg."));
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    tensors.iter().flat_map(|(_, tensor)| Vec::<f32>::try_from(tensor.view(-1)).expect("floats")).collect()
}

/// Norm of the difference over the norm of the second.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b))) / norm(&mut b.iter().map(|b| f64::from(*b)))
}

/// Sixteen emoji in two hands, where `examples/emoji/prepare.sh` would put 1,906.
fn emoji(folder: &Path) {
    for (hand, blue) in [("google", 0), ("twitter", 90)] {
        let data = folder.join("examples/emoji/data");
        std::fs::create_dir_all(data.join("png").join(hand)).expect("made");
        let mut rows = "filepath\ttitle\tlabel\n".to_owned();
        for at in 0..16u8 {
            let picture = vlhub_sdk::image::RgbImage::from_pixel(64, 64, vlhub_sdk::image::Rgb([at * 15, 250 - at * 15, blue]));
            picture.save(data.join(format!("png/{hand}/{at}.png"))).expect("saved");
            rows += &format!("png/{hand}/{at}.png\tface number {at}\t{at}\n");
        }
        std::fs::write(data.join(format!("{hand}.tsv")), rows).expect("written");
        let classes: Vec<String> = (0..16).map(|at| format!("face number {at}")).collect();
        std::fs::write(data.join("classnames.txt"), classes.join("\n") + "\n").expect("written");
        let (table, out) = (format!("{hand}.tsv"), hand.to_owned());
        must(&data, &["data", "pack", &table, "--out", &out, "--label-key", "label", "--classes", "classnames.txt"]);
    }
}

#[test]
fn every_recipe_runs_on_emoji_as_its_header_says() {
    let folder = tempfile::tempdir().expect("a folder");
    emoji(folder.path());
    for name in recipes(folder.path()) {
        let options = commands(folder.path(), &name).into_iter().find(|options| !options.is_empty()).expect("its header says how");
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        must(folder.path(), &[&["train", &format!("examples/recipes/{name}.toml")], &options[..], &SHORT[..]].concat());
        let results =
            std::fs::read_to_string(folder.path().join(format!("logs/emoji_{name}/checkpoints/results.jsonl"))).expect("it is measured");
        let neighbours = results.lines().find(|line| line.contains("knn")).unwrap_or_else(|| panic!("{name}: no knn in {results}"));
        let line: Value = serde_json::from_str(neighbours).expect("a whole line");
        assert_eq!(line["samples"], 16, "{name}: {line}");
    }
    let page = must(folder.path(), &["compare", "logs/emoji_clip", "logs/emoji_simclr", "logs/emoji_supervised"]);
    for text in ["knn", "linear_probe", "zeroshot", "accuracy"] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
}

/// The small run with two more views, and whatever keeps a state of its own.
fn stateful() -> String {
    let views = "[view.image.a]\naugment = [\"flip\"]\n[view.image.b]\naugment = [{ use = \"random_resized_crop\" }]\n";
    let objectives = "[objective.clip]\n[objective.nearest]\nqueue = 40\n[objective.byol]\nhidden = 16\nout = 8\n[ema]\ndecay = 0.9\n";
    let file = SMALL.replace("[objective.clip]\n", &format!("{views}{objectives}"));
    let image = "patch_dropout = 0.25\n";
    file.replace(image, &format!("{image}lora = {{ rank = 2, match = [\"*mlp*weight\"], train = [\"proj\"] }}\nlsuv = true\n"))
        .replace("lr = 1e-3", "lr = 1e-3\nlayer_decay = 0.8\nclip_value = 0.5\ngsam = { rho_max = 0.05, alpha = 0.1 }\ngroups = { scale = { match = \"logit_scale\", lr = 0.5, wd = 0.0 } }")
}

#[test]
fn queues_averages_adapters_and_rates_are_resumed_to_the_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), stateful()).expect("written");
    let mixed = ["train.precision=amp_bf16", "train.grad_cache={ rows = 3, keep = \"auto\", budget = \"1 MiB\" }"];
    let hash = |name: &str| must(folder.path(), &["internal-hash", &format!("logs/{name}")]);
    for (whole, options) in [("small", &[][..]), ("mixed", &mixed)] {
        let train = |name: &str, more: &[&str], failpoint: &str| {
            let mut command = command(folder.path());
            command.args(["train", "run.toml", &format!("name={name}")]).args(options).args(more);
            ran(command.env("VLHUB_FAILPOINT", failpoint).output().expect("it starts"))
        };
        let killed = format!("{whole}_killed");
        let first = train(whole, &[], "");
        assert_eq!(first.code, 0, "{}", first.err);
        assert_ne!(train(&killed, &[], "step-8=abort").code, 0);
        let resumed = train(&killed, &["--resume"], "");
        assert_eq!(resumed.code, 0, "{}", resumed.err);
        assert_eq!(hash(&killed), hash(whole), "{whole}");
    }
    assert_ne!(hash("small"), hash("mixed"), "other digits");

    let table = std::fs::read_to_string(folder.path().join("logs/small/parameters.tsv")).expect("the run saves what is trained");
    let row = |name: &str| {
        let found = table.lines().find(|line| line.split('\t').next() == Some(name)).unwrap_or_else(|| panic!("no {name} in\n{table}"));
        found.split('\t').map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("visual.conv1.weight")[3], "no", "adapters freeze the rest of the tower");
    assert_eq!(row("visual.proj")[3..], ["yes", "1", "0.2"]);
    assert_eq!(row("logit_scale")[3..], ["yes", "0.5", "0"]);
    assert_eq!(row("lora.visual.transformer.resblocks.0.mlp.c_fc.weight.a")[3], "yes");
    let one_deeper: f64 = row("transformer.resblocks.0.mlp.c_fc.weight")[4].parse().expect("a number");
    assert!((one_deeper - 0.8).abs() < 1e-9, "a layer below the projection: {one_deeper}");

    // What other programs read is the merged weight.
    std::fs::write(folder.path().join("texts.txt"), "a red circle\n").expect("written");
    must(folder.path(), &["embed", "--model", "run.toml", "--checkpoint", "logs/small", "--texts", "texts.txt", "--out", "e.safetensors"]);
    must(folder.path(), &["models", "convert", "logs/small", "w.safetensors"]);
    let names: Vec<String> = vlhub_host::formats::read_safetensors(&folder.path().join("w.safetensors"))
        .expect("written")
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert!(names.iter().all(|name| !name.contains("lora") && !name.starts_with("ema.") && !name.starts_with("average.")), "{names:?}");
}

#[test]
fn towers_are_locked_by_groups_and_load_the_first_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), SMALL.replace("steps = 14", "steps = 2")).expect("written");
    must(folder.path(), &["train", "run.toml", "name=first"]);
    let trained = |name: &str, overrides: &[&str]| {
        let name = format!("name={name}");
        must(folder.path(), &[&["train", "run.toml", &name], overrides].concat());
        let table = std::fs::read_to_string(folder.path().join(format!("logs/{}/parameters.tsv", &name[5..]))).expect("it is there");
        let yes = table.lines().filter(|line| line.contains("\tyes\t")).map(|line| line.split('\t').next().unwrap_or_default().to_owned());
        yes.collect::<Vec<_>>()
    };
    let all = trained("locked", &["backbone.image.unlocked=0", "pretrained=logs/first"]);
    assert!(all.iter().all(|name| !name.starts_with("visual.")) && !all.is_empty(), "{all:?}");
    let last = trained("last", &["backbone.image.unlocked=1", "backbone.text.unlocked=1", "pretrained=logs/first"]);
    assert_eq!(last, ["logit_scale", "text_projection", "visual.proj"]);
    let tensors = |name: &str| {
        must(folder.path(), &["models", "convert", &format!("logs/{name}"), "w.safetensors"]);
        vlhub_host::formats::read_safetensors(&folder.path().join("w.safetensors"))
            .expect("written")
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    must(
        folder.path(),
        &[
            "train",
            "run.toml",
            "name=part",
            "pretrained=logs/first",
            "backbone.image.load_groups=1",
            "optimizer.lr=0.0",
            "optimizer.wd=0.0",
        ],
    );
    let (first, part) = (tensors("first"), tensors("part"));
    assert!(first["visual.conv1.weight"].equal(&part["visual.conv1.weight"]), "the first group is loaded");
    assert!(
        !first["visual.transformer.resblocks.0.mlp.c_fc.weight"].equal(&part["visual.transformer.resblocks.0.mlp.c_fc.weight"]),
        "the next begins afresh"
    );
}

#[test]
fn mistakes_about_training_are_told_with_their_key() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), SMALL).expect("written");
    for (option, part) in [
        ("backbone.image.unlocked=9", "unlocked: 9 is more than the tower's"),
        ("backbone.image.lora={rank=99, match=[\"*mlp*\"]}", "backbone.image.lora.rank"),
        ("backbone.image.lora={rank=2, match=[\"*nothing*\"]}", "backbone.image.lora.match"),
        ("backbone.image.lora={rnak=2}", "rnak"),
        ("train.grad_cache.keep=\"all\"", "`auto`"),
        ("train.grad_cache.budget=\"lots\"", "4 GiB"),
        ("optimizer.groups={x={match=\"visal.*\"}}", "optimizer.groups.x.match"),
        ("optimizer.layer_decay=1.5", "optimizer.layer_decay"),
        ("ema.decay=1.0", "ema.decay"),
        ("objective.distill={}", "[teacher.teacher]"),
        ("teacher.big={model=\"ViT-B-33\", pretrained=\"x\"}", "teacher.big.model"),
        ("teacher.big={model=\"ViT-B-32\"}", "needs `pretrained`"),
        ("objective.classify={}", "classes"),
        ("objective.byol={}", "`a`"),
    ] {
        let refused = run(folder.path(), &["train", "run.toml", option]);
        assert_eq!(refused.code, 2, "{option}: {}\n{}", refused.code, refused.err);
        assert!(refused.err.contains(part), "{option}: {part:?} is not in\n{}", refused.err);
        assert!(!folder.path().join("logs").exists(), "{option}: nothing was written");
    }
}

#[test]
fn every_family_of_towers_runs_in_bf16() {
    let folder = tempfile::tempdir().expect("a folder");
    let families = "vit modified_resnet timm_vit timm_vit_relpos timm_beit eva resnet resnetv2 regnet nf_regnet convnext efficientnet swin swinv2 \
                    maxvit gcvit coat resmlp vitamin fastvit";
    for family in families.split(' ') {
        let file = format!(
            "embed = 32\n[backbone.image]\nuse = \"{family}\"\n[backbone.text]\nuse = \"text_transformer\"\nwidth = 32\nlayers = 1\nheads = 2\n\
             [data.train]\nuse = \"shapes\"\nsamples = 8\n[objective.clip]\n[train]\nbatch = 4\n"
        );
        std::fs::write(folder.path().join("run.toml"), file).expect("written");
        for precision in ["amp_bf16", "pure_bf16"] {
            let asked = format!("train.precision={precision}");
            let out = must(folder.path(), &["train", "run.toml", "--dry-run", "train.torch_threads=1", &asked]);
            assert!(out.contains(precision), "{family}: {out}");
        }
    }
}
