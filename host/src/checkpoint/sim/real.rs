//! Kills, bit rot and rubbish, on the real file system.

use std::path::{Path, PathBuf};

use tch::Tensor;

use crate::checkpoint::{Progress, State, Store, failpoint};

fn state(step: u64) -> State {
    State {
        tensors: vec![("visual.proj".into(), Tensor::arange(64, (tch::Kind::Float, tch::Device::Cpu)) * step as f64)],
        progress: Progress { step, epoch: 1, samples_seen: step * 4, seed: 9 },
        config_hash: "c0ffee".into(),
        config: "name = \"x\"\n".into(),
        dataset: "emoji 3786".into(),
        extra: [("best".to_owned(), "0.25".to_owned())].into(),
    }
}

fn saved(dir: &Path, steps: &[u64]) -> Store {
    let store = Store::open(dir).expect("it can be made").keeping(3, None);
    for &step in steps {
        store.save(&state(step)).expect("there is room");
    }
    store
}

#[test]
fn everything_comes_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = saved(dir.path(), &[1, 2, 3, 4]);
    let found = store.latest().expect("it can be listed").expect("it is there");
    assert_eq!(found.path, dir.path().join("step-000000004"));
    assert!(found.rejected.is_empty());
    let (back, wanted) = (Store::load(&found.path).expect("it is valid"), state(4));
    assert!(back.tensors[0].0 == "visual.proj" && back.tensors[0].1.equal(&wanted.tensors[0].1));
    assert_eq!(
        (back.progress, back.config_hash, back.config, back.dataset, back.extra),
        (wanted.progress, wanted.config_hash, wanted.config, wanted.dataset, wanted.extra)
    );
    assert_eq!(std::fs::read_to_string(dir.path().join("latest")).expect("it is there"), "step-000000004\n");
    assert!(!dir.path().join("step-000000001").exists(), "only three stay");
    let bare = Store::load(&found.path.join("rank-0.safetensors")).expect("a bare file is read too");
    assert_eq!((bare.tensors.len(), bare.config), (1, String::new()));
}

#[test]
fn an_empty_folder_has_no_checkpoint_and_foreign_names_are_ignored() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path().join("a/b")).expect("it can be made");
    assert!(store.latest().expect("it can be listed").is_none());
    for name in ["step-x", "epoch_1", "step-000000009.tmp-1", "stepladder"] {
        std::fs::create_dir(store.dir().join(name)).expect("it can be made");
    }
    assert!(store.latest().expect("it can be listed").is_none());
    assert!(Store::load(store.dir()).expect_err("it is no checkpoint").to_string().contains("not a checkpoint"));
}

#[test]
fn a_damaged_checkpoint_is_rejected_with_a_reason_and_the_one_before_is_used() {
    type Damage = fn(&Path);
    fn flip(path: PathBuf, at: impl Fn(usize) -> usize) {
        let mut bytes = std::fs::read(&path).expect("it is there");
        let at = at(bytes.len());
        bytes[at] ^= 1;
        std::fs::write(path, bytes).expect("it is ours");
    }
    let damages: [(&str, Damage, &str); 11] = [
        ("the first byte", |dir| flip(dir.join("rank-0.safetensors"), |_| 0), "rank-0.safetensors does not match"),
        ("the header", |dir| flip(dir.join("rank-0.safetensors"), |_| 40), "rank-0.safetensors does not match"),
        ("a weight", |dir| flip(dir.join("rank-0.safetensors"), |length| length - 70), "rank-0.safetensors does not match"),
        ("the last byte", |dir| flip(dir.join("rank-0.safetensors"), |length| length - 1), "rank-0.safetensors does not match"),
        ("the configuration", |dir| flip(dir.join("config.toml"), |_| 2), "config.toml does not match"),
        ("the manifest's first byte", |dir| flip(dir.join("manifest.json"), |_| 0), "manifest.json does not parse"),
        (
            "a digit of the manifest",
            |dir| {
                let path = dir.join("manifest.json");
                let text = std::fs::read_to_string(&path).expect("it is there").replace("\"samples_seen\": 12", "\"samples_seen\": 13");
                std::fs::write(path, text).expect("it is ours");
            },
            "checksum",
        ),
        (
            "a cut file",
            |dir| {
                let path = dir.join("rank-0.safetensors");
                let bytes = std::fs::read(&path).expect("it is there");
                std::fs::write(path, &bytes[..bytes.len() / 2]).expect("it is ours");
            },
            "the manifest says",
        ),
        ("a missing file", |dir| std::fs::remove_file(dir.join("rank-0.safetensors")).expect("it is ours"), "rank-0.safetensors: "),
        ("a missing manifest", |dir| std::fs::remove_file(dir.join("manifest.json")).expect("it is ours"), "manifest.json: "),
        (
            "the weights of another step",
            |dir| {
                let other = dir.with_file_name("step-000000002").join("rank-0.safetensors");
                std::fs::copy(other, dir.join("rank-0.safetensors")).expect("it is ours");
            },
            "rank-0.safetensors does not match",
        ),
    ];
    for (what, damage, reason) in damages {
        let dir = tempfile::tempdir().expect("a directory");
        let store = saved(dir.path(), &[1, 2, 3]);
        damage(&dir.path().join("step-000000003"));
        let found = store.latest().expect(what).expect(what);
        assert_eq!(found.manifest.progress.step, 2, "{what}");
        assert!(found.rejected.len() == 1 && found.rejected[0].1.contains(reason), "{what}: {:?}", found.rejected);
        let error = Store::load(&dir.path().join("step-000000003")).err();
        assert!(error.is_some_and(|error| error.to_string().contains("step-000000003")), "{what}");
    }
}

#[test]
fn a_checkpoint_under_the_name_of_another_step_is_rejected() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = saved(dir.path(), &[1]);
    std::fs::rename(dir.path().join("step-000000001"), dir.path().join("step-000000008")).expect("it is ours");
    let error = store.latest().expect_err("none is valid").to_string();
    assert!(error.contains("step-000000008") && error.contains("is of step 1"), "{error}");
}

/// Starts this test again in a process in which `plan` is in force; it saves steps 1 to 4.
fn child(dir: &Path, plan: &str) -> std::process::Child {
    std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "checkpoint::sim::real::saver", "--ignored"])
        .env("VLHUB_TEST_SAVE", dir)
        .env("VLHUB_FAILPOINT", plan)
        .env("OMP_NUM_THREADS", "1")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts")
}

#[test]
#[ignore = "it is the other process of the tests below"]
fn saver() {
    let Some(dir) = std::env::var_os("VLHUB_TEST_SAVE") else { return };
    let dir = Path::new(&dir);
    let store = Store::open(dir.join("checkpoints")).expect("it can be made");
    let mut acknowledged = String::new();
    for step in 1..=4 {
        if store.save(&state(step)).is_ok() {
            acknowledged += &format!("{step} ");
            std::fs::write(dir.join("acknowledged"), &acknowledged).expect("it can be written");
        }
    }
    std::fs::write(dir.join("end"), "").expect("it can be written");
}

fn acknowledged(dir: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(dir.join("acknowledged")).unwrap_or_default();
    text.split_whitespace().map(|step| step.parse().expect("a number")).collect()
}

#[test]
fn a_process_that_dies_at_any_point_of_a_save_loses_nothing_acknowledged() {
    let children: Vec<_> = failpoint::NAMES
        .iter()
        .map(|name| {
            let dir = tempfile::tempdir().expect("a directory");
            let child = child(dir.path(), &format!("{name}=abort@2"));
            (name, dir, child)
        })
        .collect();
    for (name, dir, mut child) in children {
        assert!(!child.wait().expect("it is ours").success() && !dir.path().join("end").exists(), "{name}: it was to die");
        let last = acknowledged(dir.path()).pop().expect("the first save came through");
        let store = Store::open(dir.path().join("checkpoints")).expect("it is there");
        let found = store.latest().expect(name).expect(name);
        assert!(found.manifest.progress.step >= last && found.rejected.is_empty(), "{name}: {last} was acknowledged, {found:?}");
        store.save(&state(9)).expect("the next run goes on");
        let names = std::fs::read_dir(store.dir()).expect("it is there").map(|entry| entry.expect("it is there").file_name());
        assert!(names.into_iter().all(|entry| !entry.to_string_lossy().contains(".tmp-")), "{name}: rubbish stays");
    }
}

#[test]
fn a_save_that_fails_once_costs_that_save_only() {
    for (name, expected) in [("after-tensors", [1, 3, 4].as_slice()), ("after-rename", &[1, 3, 4]), ("in-prune", &[1, 2, 3, 4])] {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(child(dir.path(), &format!("{name}=err@2")).wait().expect("it is ours").success(), "{name}");
        assert_eq!(acknowledged(dir.path()), expected, "{name}");
        let found = Store::open(dir.path().join("checkpoints")).expect("it is there").latest().expect(name).expect(name);
        assert_eq!((found.manifest.progress.step, found.rejected.len()), (4, 0), "{name}");
    }
}
