//! Plugin libraries at run time: one that behaves, one that panics, and everything that must be refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;
use vlhub_core::abi::{Identity, MAGIC};
use vlhub_core::{Batch, Encoded, Error, Features, Modality, Objective, ObjectiveCx, Provenance, Registry, Result};
use vlhub_host::failure::Failure;
use vlhub_host::libraries;
use vlhub_sdk::tch::{Device, Kind, Tensor, nn};
use vlhub_sdk::tracing::{self, Event, Metadata, Subscriber, field, span};

use crate::cargo;

/// The toy library, built with a feature. Each build has a file of its own: a library that is loaded must not be written over.
fn toy(feature: &str) -> PathBuf {
    // The builds write one file in turn.
    static BUILDS: Mutex<()> = Mutex::new(());
    let turn = BUILDS.lock().unwrap_or_else(|broken| broken.into_inner());
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("libtoy_{feature}.{}.so", std::process::id()));
    if !kept.exists() {
        // The host and the tests beside it give the crates below the features with which they were built before.
        let features = format!("vlhub-toy/{feature}");
        cargo::build(cargo::root(), &["-p", "vlhub-toy", "-p", "vlhub", "-p", "vlhub-tests", "--features", &features]);
        fs::copy(cargo::profile_folder().join("libvlhub_toy.so"), &kept).expect("it was built");
    }
    drop(turn);
    kept
}

fn load(path: &Path) -> Result<Registry, Failure> {
    let mut registry = Registry::default();
    libraries::load(path, &mut registry).map(|()| registry)
}

fn objective(registry: &Registry, store: &nn::VarStore, name: &str, options: serde_json::Value) -> Result<Box<dyn Objective>> {
    let path = store.root() / "objective" / name;
    let cx = ObjectiveCx { path, shared: store.root(), embed: 2, image: None, text: None, teachers: Vec::new() };
    registry.get::<dyn Objective>(name)?.parse(&options)?.build(&cx)
}

/// One view of two rows, with the gradients of their features wanted.
fn features(image: &Tensor, text: &Tensor) -> Features {
    let mut features = Features::new(0..2, 2);
    for (modality, value) in [(Modality::Image, image), (Modality::Text, text)] {
        features.insert(modality, "main", Encoded { embed: value.shallow_clone(), pooled: value.shallow_clone(), tokens: None });
    }
    features
}

#[test]
fn a_loaded_objective_has_gradients_on_both_sides_of_the_border() {
    let path = toy("dylib");
    let registry = load(&path).expect("it was built as this host was");
    assert_eq!(registry.names::<dyn Objective>(), ["toy_good"]);
    let listed = registry.get::<dyn Objective>("toy_good").expect("it is there");
    assert_eq!(listed.provenance, Provenance::Library(path));
    assert_eq!(listed.defaults(), json!({ "offset": 0.0 }));

    let store = nn::VarStore::new(Device::Cpu);
    let toy = objective(&registry, &store, "toy_good", json!({ "offset": 1.0 })).expect("good options");
    let leaf = |values: &[f32]| Tensor::from_slice(values).view([2, 2]).set_requires_grad(true);
    let (image, text) = (leaf(&[1.0, 2.0, 3.0, 4.0]), leaf(&[0.5, -1.0, 2.0, 0.0]));
    let loss = toy.loss(&features(&image, &text), &Batch::new(2)).expect("it has one");
    // 2 · mean(0.5 + 1, -2 + 1, 6 + 1, 0 + 1), and 2 · the other factor / 4.
    assert!((loss.value() - 4.25).abs() < 1e-6, "{}", loss.value());
    assert_eq!(loss.metrics, [("toy_weight", 2.0)]);
    loss.total.backward();
    let close = |found: Tensor, wanted: &[f32]| assert!(found.view([-1]).allclose(&Tensor::from_slice(wanted), 1e-6, 1e-6, false));
    close(image.grad(), &[0.25, -0.5, 1.0, 0.0]);
    close(text.grad(), &[0.5, 1.0, 1.5, 2.0]);
    let own = &store.variables()["objective.toy_good.weight"];
    close(own.grad(), &[2.125]);
    assert_eq!(own.kind(), Kind::Float);
}

#[test]
fn an_option_that_a_loaded_plugin_does_not_know_is_an_ordinary_error() {
    let registry = load(&toy("dylib")).expect("it is good");
    let store = nn::VarStore::new(Device::Cpu);
    for (options, wanted) in [(json!({ "ofset": 1.0 }), "ofset"), (json!({ "offset": -1.0 }), "at least 0")] {
        let error = objective(&registry, &store, "toy_good", options).map(drop).expect_err(wanted);
        assert!(matches!(error, Error::Options(_)) && error.to_string().contains(wanted), "{error}");
    }
}

#[test]
fn a_panic_in_a_library_is_an_error_and_the_host_lives() {
    let registry = load(&toy("panics")).expect("it is honest");
    let store = nn::VarStore::new(Device::Cpu);
    for (at, wanted) in
        [("loss", "the toy has no loss"), ("torch", "mat1 and mat2 shapes cannot be multiplied"), ("loss", "the toy has no loss")]
    {
        let toy = objective(&registry, &store, "toy_panics", json!({ "at": at })).expect("it builds");
        let error = toy.loss(&Features::new(0..1, 1), &Batch::new(1)).map(drop).expect_err(at);
        let Error::Panic { plugin, message } = &error else { panic!("{at}: {error:?}") };
        assert_eq!(plugin, "toy_panics");
        assert!(message.contains(wanted), "{at}: {message}");
        assert_eq!(error.to_string().lines().count(), 1, "{at}: {error}");
        assert_eq!(Failure::from(error).code, Failure::PLUGIN, "{at}");
    }
    let error = objective(&registry, &store, "toy_panics", json!({ "at": "build" })).map(drop).expect_err("it panics");
    assert!(matches!(&error, Error::Panic { message, .. } if message.contains("cannot be built")), "{error}");
    assert!(objective(&registry, &store, "toy_good", json!({})).is_ok(), "its neighbour in the library still works");
}

#[test]
fn a_library_that_is_not_ours_is_refused_before_it_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let good = fs::read(toy("dylib")).expect("it was built");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("it can be written");
        path
    };
    let mut twice = good.clone();
    twice.extend(Identity::pretend("sdk", "9.9.9").bytes());
    for (path, wanted, why) in [
        (toy("lies"), "laid out otherwise", "the layout number is another's"),
        (toy("stale"), "differs in: rustc", "another compiler"),
        (file("text.so", b"#!/bin/sh\necho hello\n"), "it is not a library", "a script"),
        (file("empty.so", b""), "it is empty", "a full disk"),
        (file("half.so", &good[..good.len() / 2]), "it is cut off", "half a copy"),
        (file("almost.so", &good[..good.len() - 1]), "it is cut off", "a copy that lacks one byte"),
        (file("two.so", &twice), "2 different identities", "two plugins glued together"),
        (vlhub_sdk_libtorch(), "it holds no identity", "a library, but no plugin"),
        (std::env::current_exe().expect("this one"), "", "a program"),
        (folder.path().to_owned(), "it is a folder", "a folder"),
        (folder.path().join("nothing.so"), "there is no such file; libraries there: almost.so empty.so", "a typo"),
    ] {
        let failure = load(&path).map(drop).expect_err(why);
        assert_eq!(failure.code, Failure::PLUGIN, "{why}");
        assert!(failure.message.starts_with(&format!("cannot load {}: ", path.display())), "{why}: {failure}");
        assert!(failure.message.contains(wanted), "{why}: {failure}");
    }
}

/// A library that is certainly no plugin.
fn vlhub_sdk_libtorch() -> PathBuf {
    Path::new(env!("VLHUB_LIBTORCH")).join("libc10.so")
}

#[test]
fn a_refusal_for_another_compiler_shows_both_sides_and_the_command() {
    let message = load(&toy("stale")).map(drop).expect_err("it is stale").message;
    for wanted in ["this host     rustc ", "the library   rustc 0.00.0", "help: rebuild it with the compiler of this host: cargo +"] {
        assert!(message.contains(wanted), "{wanted}: {message}");
    }
}

#[test]
fn a_library_that_is_loaded_twice_is_a_duplicate_and_the_registry_keeps_the_first() {
    let path = toy("dylib");
    let mut registry = load(&path).expect("it is good");
    let failure = libraries::load(&path, &mut registry).expect_err("its names are taken");
    assert!(failure.message.contains("two plugins of kind objective are called `toy_good`"), "{failure}");
    assert_eq!(failure.code, Failure::PLUGIN);
    assert_eq!(registry.names::<dyn Objective>(), ["toy_good"]);
}

#[test]
fn an_identity_is_in_the_file_exactly_once_even_when_it_is_stripped() {
    let path = toy("dylib");
    let stripped = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("libtoy_stripped.{}.so", std::process::id()));
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(&path).status();
    assert!(strip.expect("strip comes with the linker").success());
    for file in [&path, &stripped] {
        let bytes = fs::read(file).expect("it was built");
        let magic = format!("{MAGIC}\nrustc=");
        let count = bytes.windows(magic.len()).filter(|window| *window == magic.as_bytes()).count();
        assert_eq!(count, 1, "{}", file.display());
        assert_eq!(Identity::scan(&bytes).expect("it is there"), Identity::ours(), "{}", file.display());
    }
    assert_eq!(load(&stripped).expect("it still loads").names::<dyn Objective>(), ["toy_good"]);
}

/// Keeps the messages of events.
#[derive(Clone, Default)]
struct Messages(Arc<Mutex<Vec<String>>>);

impl Subscriber for Messages {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut |_: &field::Field, value: &dyn std::fmt::Debug| {
            self.0.lock().expect("nobody panics here").push(format!("{value:?}"));
        });
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_library_logs_through_the_host() {
    // A copy is another library to the system, which meets its first host here.
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("libtoy_logs.{}.so", std::process::id()));
    fs::copy(toy("dylib"), &path).expect("it was built");
    let messages = Messages::default();
    let registry = tracing::subscriber::with_default(messages.clone(), || load(&path)).expect("it is good");
    objective(&registry, &nn::VarStore::new(Device::Cpu), "toy_good", json!({})).expect("it builds");
    assert_eq!(*messages.0.lock().expect("nobody panicked"), ["the toy is built"]);
}

#[test]
fn the_program_loads_libraries_and_ends_with_status_7_when_it_refuses_one() {
    let host = cargo::profile_folder().join("vlhub");
    let list = |library: &Path| Command::new(&host).arg("--library").arg(library).args(["plugins", "list"]).output().expect("it was built");
    let good = list(&toy("dylib"));
    assert!(good.status.success() && String::from_utf8_lossy(&good.stdout).contains("toy_good"), "{good:?}");
    for (path, wanted) in [(toy("stale"), "differs in: rustc"), (PathBuf::from("/nowhere/libtoy.so"), "there is no such file")] {
        let refused = list(&path);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(7), "{said}");
        assert!(said.contains("cannot load ") && said.contains(wanted), "{said}");
    }
}

#[test]
fn a_step_without_memory_says_what_takes_less() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("run.toml"), crate::program::SMALL).expect("written");
    let library = toy("panics").display().to_string();
    let cut = "`train.memory = \"8 GiB\"` or `train.grad_cache.rows`";
    for (more, wanted) in [
        (&["train.batch=16"][..], cut),
        (&["--dry-run"], cut),
        (&["train.grad_cache.rows=4"], "batches of 16 rows in chunks of 4"),
        (&["train.memory=\"40 KiB\""], "a `train.memory` below 40 KiB"),
    ] {
        let args = ["--library", library.as_str(), "train", "run.toml", "name=full", "objective.toy_panics.at=memory"];
        let ran = crate::program::run(folder.path(), &[&args[..], more].concat());
        assert_eq!(ran.code, 1, "no plugin's fault: {}", ran.err);
        for part in ["out of memory on Cpu, with batches of 16 rows", "DefaultCPUAllocator", "a `train.batch` below 16", wanted] {
            assert!(ran.err.contains(part), "{more:?}: {part} in {}", ran.err);
        }
        fs::remove_dir_all(folder.path().join("logs")).ok();
    }
}

#[test]
fn a_run_reads_a_source_that_came_with_a_library() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = crate::program::SMALL
        .replace(crate::program::SMALL_DATA, "[data.train]\nuse = \"toy_colours\"\n")
        .replace("steps = 14", "steps = 2");
    fs::write(folder.path().join("run.toml"), file).expect("written");
    let library = toy("dylib").display().to_string();
    let run = |more: &[&str]| crate::program::run(folder.path(), &[&["--library", &library], more].concat());
    let trained = run(&["train", "run.toml"]);
    assert_eq!(trained.code, 0, "{}", trained.err);
    let checked = run(&["data", "check", "run.toml", "panics_at=3"]);
    assert!(checked.code == 3 && checked.out.contains("32 samples, 31 can be used"), "{}\n{}", checked.out, checked.err);
    assert!(checked.out.contains("the toy has no colour 3"), "a panic costs its sample: {}", checked.out);
    let labels = run(&["check", "run.toml", "objective.classify.classes=2"]);
    assert_eq!(labels.code, 0, "labels are read where they are there: {}", labels.err);
    let listed = run(&["plugins", "list", "source"]);
    assert!(listed.out.contains("toy_colours"), "{}", listed.out);
}
