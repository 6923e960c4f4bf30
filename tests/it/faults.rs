//! The fault corpus through the command line: every intact sample is read, every lost one is listed with shard, place and reason, in `data check`
//! and in a run's `skipped.jsonl`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::fault_shards::{Fault, Lost, Shard, corpus};
use crate::program::{SMALL, SMALL_DATA, must, run};

/// Writes each fault as a shard of its own, in the order of the corpus.
fn write(folder: &Path, faults: &[Fault]) -> Vec<String> {
    faults
        .iter()
        .enumerate()
        .map(|(number, fault)| {
            let name = format!("{number:02}-{}.tar", fault.name);
            std::fs::write(folder.join(&name), &fault.bytes).expect("room");
            name
        })
        .collect()
}

fn run_file(folder: &Path) {
    let text = SMALL.replace(SMALL_DATA, "[data.train]\nuse = \"webdataset\"\nshards = \"*.tar\"\n");
    std::fs::write(folder.join("run.toml"), text).expect("room");
}

/// What is said of each shard: key without the shard, offset, reason.
fn by_shard<'a>(problems: impl IntoIterator<Item = &'a Value>) -> BTreeMap<String, Vec<(String, usize, String)>> {
    let mut all: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for bad in problems {
        let text = |key: &str| bad[key].as_str().expect("a text").to_owned();
        let shard = text("key").split(':').next().expect("a shard").to_owned();
        let key = text("key").strip_prefix(&shard).expect("it begins so").trim_start_matches(':').to_owned();
        let offset = text("place").rsplit(':').next().and_then(|offset| offset.parse().ok()).unwrap_or(0);
        all.entry(shard).or_default().push((key, offset, text("reason")));
    }
    all
}

fn agrees((lost, reason): &(Lost, &str), (key, offset, said): &(String, usize, String)) -> bool {
    let place = match lost {
        Lost::At(at) => at == offset,
        Lost::Key(wanted) => wanted == key,
    };
    place && said.contains(reason)
}

#[test]
fn every_intact_sample_is_read_and_every_loss_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = corpus();
    let names = write(folder.path(), &faults);
    run_file(folder.path());

    // `data index --list`: the samples themselves, to the byte.
    let listed = must(folder.path(), &["data", "index", "*.tar", "--list"]);
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in listed.lines() {
        let entry: Value = serde_json::from_str(line).expect("JSON");
        if let Some(key) = entry["key"].as_str() {
            keys.entry(entry["shard"].as_str().expect("a text").to_owned()).or_default().push(key.to_owned());
        }
    }
    // `data check`: how many can be used, and why the others cannot.
    let checked = run(folder.path(), &["data", "check", "run.toml", "--json"]);
    assert_eq!(checked.code, 3, "{}", checked.err);
    let summary: Value = serde_json::from_str(&checked.out).expect("JSON");
    let said = by_shard(summary["problems"].as_array().expect("a list"));
    let intact: usize = faults.iter().map(|fault| fault.intact.len()).sum();
    assert_eq!(summary["good"].as_u64(), Some(intact as u64), "{}", checked.out);
    for (fault, name) in faults.iter().zip(&names) {
        let listed = keys.get(name).map(Vec::as_slice).unwrap_or_default();
        let mut rest = listed.to_vec();
        for key in &fault.intact {
            let at = rest.iter().position(|listed| listed == key).unwrap_or_else(|| panic!("{name}: {key} is missing in {listed:?}"));
            rest.remove(at);
        }
        let said = said.get(name).map(Vec::as_slice).unwrap_or_default();
        assert!(
            said.len() == fault.lost.len() && fault.lost.iter().all(|lost| said.iter().any(|said| agrees(lost, said))),
            "{name}: {said:?} instead of {:?}",
            fault.lost
        );
        // Whatever is listed and not intact has its reason.
        for key in &rest {
            assert!(said.iter().any(|(said, ..)| said == key), "{name}: nothing is said of {key}");
        }
    }

    // A run writes the same down, and goes on.
    must(folder.path(), &["train", "run.toml", "name=a", "train.steps=30", "train.max_bad_fraction=1.0"]);
    let log = std::fs::read_to_string(folder.path().join("logs/a/skipped.jsonl")).expect("it is there");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut written = by_shard(&lines);
    for (name, said) in &said {
        let (mut said, mut lines) = (said.clone(), written.remove(name).unwrap_or_default());
        for list in [&mut said, &mut lines] {
            list.sort();
            list.dedup();
        }
        // A picture is judged where it is decoded, which knows no offset.
        let reasons =
            |list: &[(String, usize, String)]| list.iter().map(|(key, _, reason)| (key.clone(), reason.clone())).collect::<Vec<_>>();
        assert_eq!(reasons(&lines), reasons(&said), "{name}");
    }
    assert!(written.is_empty(), "{written:?}");

    // The budget is kept, and `strict` refuses at once.
    let over = run(folder.path(), &["train", "run.toml", "name=b", "train.steps=1"]);
    assert!(over.code == 3 && over.err.contains("max_bad_fraction"), "{}: {}", over.code, over.err);
    let strict = run(folder.path(), &["train", "run.toml", "name=c", "train.steps=1", "data.train.strict=true"]);
    assert!(strict.code == 2 && strict.err.contains("`strict` refuses"), "{}: {}", strict.code, strict.err);
    let beside: Vec<_> = std::fs::read_dir(folder.path()).expect("it is there").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(beside.len(), names.len() + 2, "the shards, run.toml and logs, and no member of a shard: {beside:?}");
}

#[test]
fn lists_of_shards_that_cannot_be_right_end_with_the_pattern_and_status_2() {
    let folder = tempfile::tempdir().expect("a folder");
    run_file(folder.path());
    std::fs::write(folder.path().join("empty.tar"), b"").expect("room");
    for (shards, wanted) in [
        ("\"\"", "names no shard"),
        ("\"{00000..00009.tar\"", "{00000..00009.tar"),
        ("\"none/{0..3}.tar\"", "4 of 4 shards are missing"),
        ("\"none/*.tar\"", "no file matches"),
        ("\"empty.tar\"", "has no bytes"),
    ] {
        let ran = run(folder.path(), &["train", "run.toml", "--dry-run", &format!("data.train.shards={shards}")]);
        assert!(ran.code == 2 && ran.err.contains(wanted), "{shards}: {} {}", ran.code, ran.err);
    }
}

#[test]
fn index_files_are_written_used_and_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    run_file(folder.path());
    for name in ["0.tar", "1.tar"] {
        std::fs::write(folder.path().join(name), Shard::six().sample("00006").sample("00007").finish()).expect("room");
    }
    let train = |more: &[&str]| run(folder.path(), &[&["train", "run.toml", "--dry-run"], more].concat());
    let told = must(folder.path(), &["data", "index", "run.toml"]);
    assert!(told.contains("2 shards indexed: 16 samples, 32 members, 0 lost") && folder.path().join("1.tar.vidx").is_file(), "{told}");
    let ran = train(&[]);
    assert!(ran.code == 0 && ran.out.contains("16 samples") && !ran.err.contains("vidx"), "{} {}", ran.out, ran.err);
    std::fs::write(folder.path().join("1.tar"), Shard::six().finish()).expect("room");
    let ran = train(&["train.batch=8"]);
    assert!(ran.code == 0 && ran.out.contains("14 samples") && ran.err.contains("1.tar.vidx is not used"), "{} {}", ran.out, ran.err);
    let shards: Value = serde_json::from_str(&must(folder.path(), &["data", "index", "{0..1}.tar", "--json"])).expect("JSON");
    assert_eq!((shards[0]["samples"].as_u64(), shards[1]["samples"].as_u64()), (Some(8), Some(6)), "{shards}");
    assert!(!train(&["train.batch=8"]).err.contains("vidx"));
    let ran = run(folder.path(), &["data", "index", "shapes"]);
    assert!(ran.code == 2 && ran.err.contains("only tar shards"), "{}", ran.err);

    // Where nothing can be written beside a shard, the cache folder is taken: a folder of that name stands in the way.
    for name in ["0.tar.vidx", "1.tar.vidx"] {
        std::fs::remove_file(folder.path().join(name)).expect("it is there");
        std::fs::create_dir(folder.path().join(name)).expect("room");
    }
    let cache = folder.path().join("cache");
    let mut command = crate::program::command(folder.path());
    let ran = crate::program::ran(command.env("XDG_CACHE_HOME", &cache).args(["data", "index", "*.tar"]).output().expect("it starts"));
    assert!(ran.code == 0 && ran.out.contains("cache/vlhub/index/"), "{} {}", ran.out, ran.err);
    assert_eq!(std::fs::read_dir(cache.join("vlhub/index")).expect("it is there").count(), 2);
}

#[test]
fn parts_of_a_list_are_drawn_at_their_factors() {
    let folder = tempfile::tempdir().expect("a folder");
    run_file(folder.path());
    for name in ["0.tar", "1.tar"] {
        std::fs::write(folder.path().join(name), Shard::six().sample("00006").sample("00007").finish()).expect("room");
    }
    let train =
        |more: &[&str]| run(folder.path(), &[&["train", "run.toml", "--dry-run", "data.train.shards=\"0.tar::1.tar\""], more].concat());
    let ran = train(&["data.train.upsampling=[2.0, 1.0]"]);
    assert!(ran.code == 2 && ran.err.contains("train.resampled = true"), "{}: {}", ran.code, ran.err);
    let ran = train(&["data.train.upsampling=[2.0, 1.0]", "train.resampled=true"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ran = train(&["data.train.upsampling=[2.0]", "train.resampled=true"]);
    assert!(ran.code == 2 && ran.err.contains("1 factors and `shards` 2 parts"), "{}: {}", ran.code, ran.err);
}
