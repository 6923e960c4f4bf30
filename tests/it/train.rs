//! Runs that are trained, stopped, killed and resumed through the command line.

use std::path::Path;
use std::time::Duration;

use crate::program::{SMALL, command, must, ran, run};

/// A folder with a run file.
fn folder(file: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), file).expect("written");
    folder
}

/// Step and hash of a run's newest valid checkpoint: weights, buffers and optimiser state.
fn hash(folder: &Path, name: &str) -> String {
    must(folder, &["internal-hash", &format!("logs/{name}")])
}

#[test]
fn a_run_killed_mid_epoch_and_resumed_ends_with_the_same_bits() {
    let folder = folder(SMALL);
    // Threads of the loader, chunks of gradient caching and logging in between: none may change a bit between straight and resumed.
    for (variant, extra) in [
        ("plain", &["train.workers=1"][..]),
        ("threads", &["train.workers=2"]),
        ("cached", &["train.workers=2", "train.grad_cache.rows=5"]),
        ("budget", &["train.workers=2", "train.memory=\"40 KiB\""]),
    ] {
        let straight = format!("{variant}_straight");
        let args = |name: &str, more: &[&str]| {
            let mut args = vec!["train".to_owned(), "run.toml".into(), format!("name={name}")];
            args.extend(extra.iter().chain(more).map(|text| (*text).to_owned()));
            args
        };
        let done = ran(command(folder.path()).args(args(&straight, &[])).output().expect("it starts"));
        assert_eq!(done.code, 0, "{}", done.err);
        let expected = hash(folder.path(), &straight);
        assert!(expected.starts_with("14 "), "{expected}");
        assert_eq!(done.err.contains("so chunks of"), variant == "budget", "{}", done.err);
        for (at, why) in
            [(1, "before the first checkpoint"), (5, "in the middle of an epoch"), (6, "right after a checkpoint"), (13, "near the end")]
        {
            let name = format!("{variant}_{at}");
            let killed = ran(command(folder.path())
                .args(args(&name, &[]))
                .env("VLHUB_FAILPOINT", format!("step-{at}=abort"))
                .output()
                .expect("it starts"));
            assert_ne!(killed.code, 0, "the failpoint was not met: {}", killed.out);
            let resumed = ran(command(folder.path()).args(args(&name, &["--resume", "auto"])).output().expect("it starts"));
            assert_eq!(resumed.code, 0, "{why}: {}", resumed.err);
            assert_eq!(hash(folder.path(), &name), expected, "{variant}, killed at step {at}: {why}");
        }
    }
}

#[test]
fn loader_threads_do_not_change_the_weights() {
    let folder = folder(SMALL);
    let mut hashes = Vec::new();
    for workers in ["1", "2", "4"] {
        must(folder.path(), &["train", "run.toml", &format!("name=w{workers}"), &format!("train.workers={workers}")]);
        hashes.push(hash(folder.path(), &format!("w{workers}")));
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

#[test]
fn fifty_kills_at_random_moments_lose_nothing() {
    let kills = 50;
    let folder = folder(SMALL);
    // Long enough that the kills fall into it, with a checkpoint at every other step, so that many fall into a commit.
    let args = |name: &str| ["train", "run.toml", name, "train.steps=150", "train.save_every=2", "train.workers=2"].map(str::to_owned);
    let begin = std::time::Instant::now();
    let straight = ran(command(folder.path()).args(args("name=straight")).output().expect("it starts"));
    assert_eq!(straight.code, 0, "{}", straight.err);
    let whole = begin.elapsed();
    let expected = hash(folder.path(), "straight");
    let mut killed = 0;
    let mut random = 0x1234_5678_u64;
    while killed < kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Anywhere in the part of the run that one life may reach: start-up included.
        let share = (random >> 33) as f64 / f64::from(1u32 << 31);
        let mut child = command(folder.path())
            .args(args("name=killed"))
            .args(["--resume", "auto"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * 0.5 * share));
        if child.try_wait().expect("it can be asked").is_some() {
            // The run is over; the next round starts a fresh one.
            assert_eq!(hash(folder.path(), "killed"), expected, "after {killed} kills");
            std::fs::remove_dir_all(folder.path().join("logs/killed")).expect("removed");
            continue;
        }
        child.kill().expect("SIGKILL");
        child.wait().expect("it ends");
        killed += 1;
    }
    let last = ran(command(folder.path()).args(args("name=killed")).args(["--resume", "auto"]).output().expect("it starts"));
    assert_eq!(last.code, 0, "{}", last.err);
    assert_eq!(hash(folder.path(), "killed"), expected, "after {kills} kills");
    let lines = std::fs::read_to_string(folder.path().join("logs/killed/metrics.jsonl")).expect("it is there");
    let steps: Vec<u64> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a whole line")["step"].as_u64().expect("a step"))
        .collect();
    assert_eq!(steps, (1..=150).collect::<Vec<_>>(), "each step is logged once, whatever was killed");
}

#[test]
fn a_signal_saves_and_exits_with_75() {
    let folder = folder(SMALL);
    for signal in ["TERM", "INT", "USR1"] {
        let name = format!("name=stop_{signal}");
        let args = ["train", "run.toml", &name, "train.steps=100000", "train.save_every=0"];
        let child = command(folder.path())
            .args(args)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("it starts");
        let log = folder.path().join(format!("logs/stop_{signal}/metrics.jsonl"));
        for _ in 0..600 {
            std::thread::sleep(Duration::from_millis(50));
            if std::fs::read_to_string(&log).is_ok_and(|text| text.lines().count() > 2) {
                break;
            }
        }
        let sent = std::process::Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
        let ended = ran(child.wait_with_output().expect("it ends"));
        assert_eq!(ended.code, 75, "SIG{signal}: {}\n{}", ended.out, ended.err);
        assert!(ended.err.contains("everything saved"), "{}", ended.err);
        let step: u64 =
            hash(folder.path(), &format!("stop_{signal}")).split(' ').next().and_then(|step| step.parse().ok()).expect("a step");
        assert!(step > 2, "the checkpoint is of step {step}");
    }
}

#[test]
fn what_does_not_fit_is_not_resumed() {
    let folder = folder(SMALL);
    let none = run(folder.path(), &["train", "run.toml", "--resume"]);
    assert_eq!(none.code, 4, "nothing to resume: {}", none.err);
    must(folder.path(), &["train", "run.toml", "train.steps=6"]);
    let again = run(folder.path(), &["train", "run.toml"]);
    assert_eq!(again.code, 2, "an existing run is not overwritten: {}", again.err);
    assert!(again.err.contains("--resume"), "{}", again.err);
    for (change, part) in [
        ("optimizer.lr=0.5", "optimizer.lr = 0.001 before, 0.5 now"),
        ("data.train.samples=48", "data"),
        ("objective.clip.max_scale=50.0", "max_scale = 100.0 before, 50.0 now"),
    ] {
        let changed = run(folder.path(), &["train", "run.toml", "train.steps=6", change, "--resume"]);
        assert_eq!(changed.code, 4, "{change}: {}", changed.err);
        assert!(changed.err.contains(part), "{change}: {}", changed.err);
    }
    let allowed = run(folder.path(), &["train", "run.toml", "train.steps=8", "--resume", "--allow-changed"]);
    assert_eq!(allowed.code, 0, "{}", allowed.err);
}

#[test]
fn a_run_goes_on_from_an_older_checkpoint_and_never_back_to_what_it_left() {
    let folder = folder(SMALL);
    must(folder.path(), &["train", "run.toml", "train.keep_last=9"]);
    let expected = hash(folder.path(), "small");
    let older = "logs/small/checkpoints/step-000000003";
    let killed = ran(command(folder.path())
        .args(["train", "run.toml", "--resume", older])
        .env("VLHUB_FAILPOINT", "step-7=abort")
        .output()
        .expect("it starts"));
    assert_ne!(killed.code, 0);
    assert!(hash(folder.path(), "small").starts_with("6 "), "the newest is of this life, not step 14 of the other");
    must(folder.path(), &["train", "run.toml", "--resume", "train.log_every=2"]);
    assert_eq!(hash(folder.path(), "small"), expected);
}

#[test]
fn a_measurement_that_a_killed_run_owed_is_made_when_it_goes_on() {
    let suite = "\n[eval.shapes]\nuse = \"zeroshot\"\nevery = \"end\"\ndata = { use = \"shapes\", split = \"held_out\", samples = 48, size = 16 }\n";
    let folder = folder(&format!("{SMALL}{suite}"));
    let killed =
        ran(command(folder.path()).args(["train", "run.toml"]).env("VLHUB_FAILPOINT", "after-prune=abort@5").output().expect("it starts"));
    assert_ne!(killed.code, 0, "it dies after the last commit, before the suite: {}", killed.err);
    assert!(hash(folder.path(), "small").starts_with("14 "));
    must(folder.path(), &["train", "run.toml", "--resume"]);
    must(folder.path(), &["train", "run.toml", "--resume"]);
    let results = std::fs::read_to_string(folder.path().join("logs/small/checkpoints/results.jsonl")).expect("it is there");
    assert_eq!(results.lines().count(), 1, "it is measured once:\n{results}");
}

#[test]
fn a_start_that_fails_does_not_use_up_the_name() {
    let folder = folder(SMALL);
    let bad = "objective.clip.pairs=[[\"main\", \"alt\"]]";
    let dry = run(folder.path(), &["train", "run.toml", bad, "--dry-run"]);
    assert!(dry.code != 0 && dry.err.contains("alt"), "a dry run computes gradients: {}", dry.err);
    let failed = run(folder.path(), &["train", "run.toml", "train.batch=1000"]);
    assert_eq!(failed.code, 2, "{}", failed.err);
    must(folder.path(), &["train", "run.toml"]);
}

#[test]
fn a_run_that_diverges_stops_with_5_and_keeps_its_checkpoints() {
    let folder = folder(SMALL);
    let ended = run(folder.path(), &["train", "run.toml", "optimizer.lr=1e30", "schedule.warmup=0", "train.save_every=1"]);
    assert_eq!(ended.code, 5, "{}", ended.err);
    assert!(ended.err.contains("not finite") && ended.err.contains("shapes"), "{}", ended.err);
    hash(folder.path(), "small");
}

#[test]
fn a_run_folder_holds_what_open_clip_users_look_for() {
    let folder = folder(&format!(
        "{SMALL}\n[eval.shapes]\nuse = \"zeroshot\"\nevery = \"1 epoch\"\ndata = {{ use = \"shapes\", split = \"held_out\", samples = 48, size = 16 }}\n"
    ));
    must(folder.path(), &["train", "run.toml", "train.show_batch=true"]);
    let run = folder.path().join("logs/small");
    for name in [
        "out.log",
        "params.txt",
        "config.toml",
        "metrics.jsonl",
        "skipped.jsonl",
        "report.html",
        "train_batch0.png",
        "checkpoints/results.jsonl",
        "checkpoints/latest",
        "checkpoints/step-000000014/rank-0.safetensors",
    ] {
        assert!(run.join(name).exists(), "{name} is missing");
    }
    let events = std::fs::read_dir(run.join("tensorboard")).expect("it is there").flatten();
    let events = events.filter(|entry| entry.file_name().to_string_lossy().starts_with("events.out.tfevents.")).count();
    assert_eq!(events, 1, "one event file");
    let results = std::fs::read_to_string(run.join("checkpoints/results.jsonl")).expect("it is there");
    assert_eq!(results.lines().count(), 3, "after steps 6, 12 and 14:\n{results}");
    let log = std::fs::read_to_string(run.join("out.log")).expect("it is there");
    assert!(log.contains("Train Epoch: ") && log.contains("LR: "), "{log}");
    let again = must(folder.path(), &["eval", "run.toml", "--checkpoint", "logs/small", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&again).expect("it is JSON");
    let last: serde_json::Value = serde_json::from_str(results.lines().last().expect("a line")).expect("it is JSON");
    let top1 = value["results"][0]["report"]["metrics"]
        .as_array()
        .and_then(|metrics| metrics.iter().find(|metric| metric["name"] == "top1"))
        .expect("top1")["value"]
        .clone();
    assert_eq!(last["metrics"]["top1"], top1, "`vlhub eval` measures what `vlhub train` measured");
    must(folder.path(), &["train", "run.toml", "name=other", "optimizer.lr=5e-4"]);
    let page = must(folder.path(), &["compare", "logs/small", "logs/other", "--out", "page.html"]);
    assert!(page.contains("optimizer.lr"), "{page}");
    assert!(folder.path().join("page.html").exists());
}

#[test]
fn bad_samples_are_listed_and_stop_the_run_at_the_budget() {
    let folder = folder(SMALL);
    let pictures = folder.path().join("pictures");
    for class in ["cat", "dog"] {
        std::fs::create_dir_all(pictures.join(class)).expect("made");
        for index in 0..20 {
            let picture = vlhub_sdk::image::RgbImage::from_pixel(20, 20, vlhub_sdk::image::Rgb([index * 10, 80, 7]));
            picture.save(pictures.join(class).join(format!("{index}.png"))).expect("saved");
        }
    }
    std::fs::write(pictures.join("cat/3.png"), b"not a picture").expect("written");
    let data = ["data.train={ use = \"imagefolder\", path = \"pictures\" }", "train.batch=8"];
    let strict = run(folder.path(), &["train", "run.toml", data[0], data[1], "name=strict", "train.max_bad_fraction=0.0"]);
    assert_eq!(strict.code, 3, "{}", strict.err);
    assert!(strict.err.contains("3.png"), "the budget's message names samples: {}", strict.err);
    must(folder.path(), &["train", "run.toml", data[0], data[1], "name=lenient"]);
    let skipped = std::fs::read_to_string(folder.path().join("logs/lenient/skipped.jsonl")).expect("it is there");
    assert!(skipped.contains("cat/3.png"), "{skipped}");
    let check = run(folder.path(), &["data", "check", "pictures"]);
    assert_eq!(check.code, 3, "{}", check.err);
}

#[test]
fn a_full_disk_costs_a_checkpoint_and_not_the_run() {
    let folder = folder(SMALL);
    must(folder.path(), &["train", "run.toml", "name=straight"]);
    let full = ran(command(folder.path())
        .args(["train", "run.toml", "name=full"])
        .env("VLHUB_FAILPOINT", "after-tensors=err@2")
        .output()
        .expect("it starts"));
    assert_eq!(full.code, 0, "{}", full.err);
    assert!(full.err.contains("the checkpoint of step 6 was not written") && full.err.contains("of step 3"), "{}", full.err);
    assert_eq!(hash(folder.path(), "full"), hash(folder.path(), "straight"));
    let end = ran(command(folder.path())
        .args(["train", "run.toml", "name=end"])
        .env("VLHUB_FAILPOINT", "after-tensors=err")
        .output()
        .expect("it starts"));
    assert_eq!(end.code, 1, "a run whose last checkpoint cannot be written has failed: {}", end.err);
}

#[test]
fn a_kill_while_a_checkpoint_is_written_beside_training_loses_nothing() {
    let folder = folder(SMALL);
    // 90 MiB of weights and moments: what is large enough to be written by a thread of its own.
    let args = |name: &'static str, more: &[&'static str]| {
        [&["train", "run.toml", name, "backbone.text.width=160", "train.steps=8", "train.save_every=2"], more].concat()
    };
    let straight = run(folder.path(), &args("name=straight", &["train.async_save=false"]));
    assert_eq!(straight.code, 0, "{}", straight.err);
    assert!(!straight.err.contains("training waited"), "{}", straight.err);
    let expected = hash(folder.path(), "straight");
    for place in ["save-begin", "after-tensors", "after-manifest", "before-commit", "after-rename", "after-commit", "after-latest"] {
        let killed = ran(command(folder.path())
            .args(args("name=killed", &[]))
            .env("VLHUB_FAILPOINT", format!("{place}=abort@2"))
            .output()
            .expect("it starts"));
        assert_ne!(killed.code, 0, "the failpoint was not met: {}", killed.err);
        assert!(killed.err.contains("checkpoint of step 2: training waited"), "{place}: {}", killed.err);
        let resumed = run(folder.path(), &args("name=killed", &["--resume", "auto"]));
        assert_eq!(resumed.code, 0, "{place}: {}", resumed.err);
        assert_eq!(hash(folder.path(), "killed"), expected, "killed at {place}");
        std::fs::remove_dir_all(folder.path().join("logs/killed")).expect("removed");
    }
}

#[test]
fn a_run_goes_on_with_the_library_of_products_that_it_began_with() {
    let folder = folder(SMALL);
    let with = |products: &str, more: &[&str]| {
        ran(command(folder.path())
            .args(["train", "run.toml", "train.steps=6"])
            .args(more)
            .env("VLHUB_PRODUCTS", products)
            .output()
            .expect("it starts"))
    };
    let unknown = with("blas", &[]);
    assert!(unknown.code == 2 && unknown.err.contains("VLHUB_PRODUCTS=blas is unknown; known: mkl onednn"), "{}", unknown.err);
    let begun = with("mkl", &[]);
    assert!(begun.code == 0 && begun.err.contains("threads, mkl"), "{}", begun.err);
    let other = with("onednn", &["--resume"]);
    assert!(other.code == 4 && other.err.contains("VLHUB_PRODUCTS=mkl"), "{}: {}", other.code, other.err);
    assert_eq!(with("mkl", &["--resume"]).code, 0);
}

#[test]
fn the_speed_of_steps_is_told_part_by_part_and_nothing_is_written_but_the_trace() {
    let folder = folder(SMALL);
    let text = must(folder.path(), &["bench", "train", "run.toml", "--steps", "3", "--trace", "trace.json", "--json"]);
    let speed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for part in ["seconds", "samples_per_second", "peak", "profiled", "products", "gflop", "limit"] {
        assert!(speed[part].as_f64().is_some_and(|number| number > 0.0), "{part}: {text}");
    }
    let parts: Vec<&str> = speed["parts"].as_array().expect("parts").iter().filter_map(|part| part["name"].as_str()).collect();
    assert_eq!(parts, ["forward image", "forward text", "objectives", "backward", "optimizer"]);
    let trace = std::fs::read_to_string(folder.path().join("trace.json")).expect("the trace");
    let trace: serde_json::Value = serde_json::from_str(&trace).expect("JSON");
    let named = |name: &str| trace["traceEvents"].as_array().is_some_and(|events| events.iter().any(|event| event["name"] == name));
    assert!(named("step/forward image") && named("aten::addmm"));
    assert!(!folder.path().join("logs").exists());
    let text = must(folder.path(), &["bench", "train", "run.toml", "--steps", "1"]);
    assert!(text.contains("batch 16, median of 1 steps") && text.contains("GFLOP/s"), "{text}");
    for (wrong, part) in [(["--steps", "0"], "nothing to measure"), (["--trace", "none/trace.json"], "--trace none/trace.json")] {
        let ran = run(folder.path(), &[&["bench", "train", "run.toml"][..], &wrong].concat());
        assert!(ran.code == 2 && ran.err.contains(part), "{}: {}", ran.code, ran.err);
    }
}

#[test]
fn two_processes_cannot_share_a_run() {
    let folder = folder(SMALL);
    let args = ["train", "run.toml", "name=shared", "train.steps=100000"];
    let mut first = command(folder.path())
        .args(args)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let log = folder.path().join("logs/shared/metrics.jsonl");
    for _ in 0..600 {
        std::thread::sleep(Duration::from_millis(50));
        if log.exists() {
            break;
        }
    }
    let second = run(folder.path(), &["train", "run.toml", "name=shared", "train.steps=100000", "--resume", "auto"]);
    first.kill().expect("SIGKILL");
    let pid = first.id().to_string();
    first.wait().expect("it ends");
    assert_eq!(second.code, 2, "{}", second.err);
    assert!(second.err.contains(&pid), "the holder is named: {}", second.err);
}
