//! A small CoCa that is trained and writes captions, through the command line.

use std::path::Path;

use serde_json::Value;

use crate::program::{SMALL, must, run};

/// The small run as a CoCa: a class token in the text tower, the captioning objective with its decoder, another name.
fn coca() -> String {
    let text = "use = \"text_transformer\"\n";
    let file = SMALL.replace(text, &format!("{text}embed_cls = true\n")).replace("patch_dropout = 0.25\n", "");
    let file = file.replace("name = \"small\"", "name = \"coca\"").replace("steps = 14", "steps = 60").replace("lr = 1e-3", "lr = 1e-2");
    file.replace("[objective.clip]\n", "[objective.clip]\n[objective.caption]\nweight = 2.0\nlayers = 1\nheads = 2\n")
        .replace("embed = 16", "embed = 16\ncustom_text = true")
}

/// Pictures of different colours in the folder `pictures`.
fn draw(folder: &Path) {
    let pictures = folder.join("pictures");
    std::fs::create_dir(&pictures).expect("a folder");
    for (name, colour) in [("blue", [10, 20, 230]), ("green", [20, 200, 30]), ("red", [220, 20, 20])] {
        let inside = |x: u32, y: u32| (8..24).contains(&x) && (8..24).contains(&y);
        let shade = |x, y| if inside(x, y) { colour } else { [240, 240, 240] };
        let picture = vlhub_sdk::image::RgbImage::from_fn(32, 32, |x, y| vlhub_sdk::image::Rgb(shade(x, y)));
        picture.save(pictures.join(format!("{name}.png"))).expect("saved");
    }
}

fn captions(folder: &Path, more: &[&str]) -> Vec<String> {
    let args = [&["caption", "pictures", "--model", "run.toml", "--checkpoint", "logs/coca", "--json"], more].concat();
    let said: Value = serde_json::from_str(&must(folder, &args)).expect("JSON");
    let list = said["captions"].as_array().expect("a list");
    let files: Vec<&str> = list.iter().map(|one| one["image"].as_str().expect("a path")).collect();
    assert_eq!(files, ["pictures/blue.png", "pictures/green.png", "pictures/red.png"]);
    list.iter().map(|one| one["caption"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn a_small_coca_learns_and_writes_the_same_captions_again() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), coca()).expect("written");
    draw(folder.path());
    must(folder.path(), &["train", "run.toml"]);
    let log = std::fs::read_to_string(folder.path().join("logs/coca/metrics.jsonl")).expect("it is there");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("a whole line")).collect();
    let shown = |at: usize, name: &str| lines[at]["metrics"][name].as_f64().expect("a number");
    let last = lines.len() - 1;
    assert!(shown(last, "caption_loss") < 0.6 * shown(0, "caption_loss"), "it learns: {} to {}", lines[0], lines[last]);
    assert!(shown(last, "caption_accuracy") > 0.1, "{}", lines[last]);

    let greedy = captions(folder.path(), &[]);
    let sampled = ["--method", "sample", "--top-k", "50", "--top-p", "0.95", "--temperature", "1.5"];
    for how in [&[][..], &sampled, &["--method", "beam", "--beams", "4", "--beam-groups", "2"]] {
        let first = captions(folder.path(), how);
        assert!(first.iter().all(|caption| !caption.is_empty()), "{how:?}: {first:?}");
        for more in [&["--batch", "1"][..], &["--batch", "2"]] {
            assert_eq!(captions(folder.path(), &[how, more].concat()), first, "{how:?} {more:?}");
        }
    }
    let drawn = |seed: &str| captions(folder.path(), &[&sampled[..], &["--seed", seed]].concat());
    let seeds = ["1", "2", "3"].map(drawn);
    assert!(seeds.iter().any(|captions| *captions != seeds[0]), "other seeds draw others: {seeds:?}");

    let plain = must(folder.path(), &["caption", "pictures/red.png", "--model", "run.toml", "--checkpoint", "logs/coca"]);
    assert_eq!(plain, format!("pictures/red.png\t{}\n", greedy[2]));
}

#[test]
fn what_cannot_write_captions_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let with = coca().replace("steps = 60", "steps = 2");
    let without = with.split("[objective.caption]").next().expect("the part before").to_owned();
    let rest = &with[with.find("[train]").expect("it has one")..];
    std::fs::write(folder.path().join("run.toml"), &with).expect("written");
    std::fs::write(folder.path().join("clip.toml"), without + rest).expect("written");
    draw(folder.path());
    must(folder.path(), &["train", "clip.toml"]);
    must(folder.path(), &["models", "convert", "logs/coca", "w.pt"]);
    for (args, code, words) in [
        (&["--model", "clip.toml", "--checkpoint", "logs/coca"][..], 2, &["clip.toml", "`objective.caption`"][..]),
        // The run has none, whatever the file says now.
        (&["--model", "run.toml", "--checkpoint", "logs/coca"], 2, &["logs/coca", "`objective.caption`"]),
        (&["--model", "run.toml", "--checkpoint", "w.pt"], 4, &["text_decoder.", "lack"]),
        (&["--model", "run.toml"], 2, &["--checkpoint"]),
        (&["--model", "run.toml", "--checkpoint", "logs/coca", "--method", "best"], 2, &["best", "greedy", "sample", "beam"]),
    ] {
        let refused = run(folder.path(), &[&["caption", "pictures"], args].concat());
        assert_eq!(refused.code, code, "{args:?}: {}", refused.err);
        assert!(words.iter().all(|word| refused.err.contains(word)), "{args:?}: {}", refused.err);
    }
}
