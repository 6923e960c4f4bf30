//! Finds or fetches libtorch, and makes the link through which Cargo finds it in a project.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fetch::{self, TORCH, Variant};
use crate::paths::{self, Project};
use crate::{Outcome, Stop, probe};

/// Options of `cargo vlhub setup`.
#[derive(clap::Args, Debug, Default)]
pub struct Args {
    /// A torch with its CUDA libraries, which also runs on a CPU.
    #[arg(long)]
    cuda: bool,
    /// Fetch again, whatever is there.
    #[arg(long)]
    force: bool,
}

/// A libtorch and where it came from.
#[derive(Debug)]
pub struct Found {
    /// The folder with `lib` and `include`.
    pub root: PathBuf,
    /// In words.
    pub origin: &'static str,
}

/// `cargo vlhub setup`.
pub fn run(args: &Args) -> Outcome {
    let project = Project::here()?;
    let found = obtain(args, project.as_ref(), || {})?;
    println!("libtorch {TORCH}: {} ({})", found.root.display(), found.origin);
    match &project {
        Some(project) => {
            link(&project.link(), &found.root)?;
            configure(&project.root)
        }
        None => {
            println!("no Cargo project is here; for a build elsewhere: export LIBTORCH={}", found.root.display());
            Ok(())
        }
    }
}

/// What every command does that is going to build.
pub fn ensure(project: &Project) -> Outcome {
    ensure_and(project, || {})
}

/// [`ensure`]; where libtorch has to be fetched, `before_fetch` is called first.
pub fn ensure_and(project: &Project, before_fetch: impl FnOnce()) -> Outcome {
    let found = obtain(&Args::default(), Some(project), before_fetch)?;
    link(&project.link(), &found.root)
}

fn obtain(args: &Args, project: Option<&Project>, before_fetch: impl FnOnce()) -> Outcome<Found> {
    if let Some(found) = search(args, project)? {
        probe::verify(&found.root.join("lib"))?;
        return Ok(found);
    }
    before_fetch();
    let variant = if args.cuda { Variant::Cuda } else { Variant::Slim };
    Ok(Found { root: fetch::fetch(variant, &paths::cache()?, args.force)?, origin: "fetched" })
}

/// The libtorch that is there already.
///
/// # Errors
/// When the one that the user names is not the right one: building with it would fail later and less clearly.
pub fn search(args: &Args, project: Option<&Project>) -> Outcome<Option<Found>> {
    if paths::is_set("LIBTORCH_USE_PYTORCH") {
        return Ok(Some(Found { root: of_python()?, origin: "of Python, as `LIBTORCH_USE_PYTORCH` says" }));
    }
    if let Some(root) = paths::user_libtorch() {
        let root = fs::canonicalize(&root).map_err(|error| format!("`LIBTORCH` is {}: {error}", root.display()))?;
        check(&root).map_err(|reason| format!("`LIBTORCH` is {}, but {reason}", root.display()))?;
        return Ok(Some(Found { root, origin: "as `LIBTORCH` says" }));
    }
    if args.force {
        return Ok(None);
    }
    let cache = paths::cache()?;
    let kept = |variant| fetch::kept(variant, &cache).map(|root| Found { root, origin: "in the cache folder" });
    if args.cuda {
        return Ok(kept(Variant::Cuda));
    }
    // Whoever set up with CUDA, or linked a libtorch by hand, keeps it.
    let linked = project.and_then(|project| fs::canonicalize(project.link()).ok());
    if let Some(root) = linked.filter(|root| check(root).is_ok() && !root.starts_with(&cache)) {
        return Ok(Some(Found { root, origin: "linked before" }));
    }
    let cuda_before = project.and_then(|project| fs::read_link(project.link()).ok()).and_then(|link| {
        let found = kept(Variant::Cuda)?;
        (found.root == link).then_some(found)
    });
    Ok(cuda_before.or_else(|| kept(Variant::Slim)))
}

/// Whether a folder is a libtorch of our version.
fn check(root: &Path) -> Result<(), String> {
    for (file, what) in [
        ("lib/libtorch_cpu.so", "the library"),
        ("lib/libc10.so", "the library"),
        ("include/torch/csrc/api/include/torch/torch.h", "the headers"),
    ] {
        if !root.join(file).exists() {
            return Err(format!("it has no {file} ({what} of libtorch {TORCH} is wanted there)"));
        }
    }
    match version(root) {
        Some(version) if version == TORCH => Ok(()),
        Some(version) => {
            Err(format!("it is libtorch {version}; VL Hub is built for {TORCH} (unset it, and `cargo vlhub setup` fetches the right one)"))
        }
        None => Err(format!("its version is unknown: neither `build-version` nor a header `version.h` says it; {TORCH} is wanted")),
    }
}

/// The version of a libtorch, without `+cpu` or the like.
fn version(root: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(root.join("build-version")) {
        return Some(text.trim().split('+').next().unwrap_or_default().to_owned());
    }
    let header = ["include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/version.h"];
    let text = header
        .iter()
        .find_map(|header| fs::read_to_string(root.join(header)).ok().filter(|text| text.contains("define TORCH_VERSION_MAJOR")))?;
    let number = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("#define TORCH_VERSION_{name} ")))?;
        line.split_whitespace().nth(2)?.parse::<u32>().ok()
    };
    Some(format!("{}.{}.{}", number("MAJOR")?, number("MINOR")?, number("PATCH")?))
}

fn of_python() -> Outcome<PathBuf> {
    let python = paths::python();
    let code = "import torch; print(torch.__path__[0]); print(torch.__version__)";
    let out = Command::new(python).args(["-c", code]).output();
    let out = out.map_err(|error| format!("`LIBTORCH_USE_PYTORCH` is set, but `{python}` does not run: {error}"))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        let said = said.trim().lines().last().unwrap_or_default();
        return Err(format!(
            "`LIBTORCH_USE_PYTORCH` is set, but `{python}` cannot import torch: {said}; `pip install torch=={TORCH}`, or unset it"
        )
        .into());
    }
    let text = String::from_utf8_lossy(&out.stdout);
    let mut lines = text.lines().rev();
    let (version, root) = (lines.next().unwrap_or_default(), PathBuf::from(lines.next().unwrap_or_default()));
    if version.split('+').next() != Some(TORCH) {
        return Err(format!(
            "`LIBTORCH_USE_PYTORCH` is set, but the torch of `{python}` is {version}; {TORCH} is wanted (unset it, and setup fetches that)"
        )
        .into());
    }
    Ok(root)
}

/// Points the link of a project at a libtorch, replacing a stale one.
pub fn link(link: &Path, root: &Path) -> Outcome {
    let failed = |error: std::io::Error| Stop::from(format!("cannot link {} to {}: {error}", link.display(), root.display()));
    if fs::read_link(link).is_ok_and(|target| target == root) {
        return Ok(());
    }
    if link.symlink_metadata().is_ok_and(|about| !about.is_symlink()) {
        return Err(format!("{} is in the way: it is not a link; move it away", link.display()).into());
    }
    fs::create_dir_all(link.parent().unwrap_or(link)).map_err(failed)?;
    // Renaming a new link over the old one leaves no moment without any.
    let new = link.with_file_name(format!("libtorch.{}", std::process::id()));
    fs::remove_file(&new).ok();
    std::os::unix::fs::symlink(root, &new).map_err(failed)?;
    fs::rename(&new, link).map_err(failed)?;
    println!("linked {} to it", link.display());
    Ok(())
}

/// What a project's Cargo configuration says so that plain `cargo build` finds libtorch.
pub const CONFIG: &str = "[env]\nLIBTORCH = { value = \".cargo/libtorch\", relative = true }\n";

/// Writes that configuration, or says what is to be added to the one that is there.
fn configure(root: &Path) -> Outcome {
    let file = root.join(".cargo").join("config.toml");
    match fs::read_to_string(&file) {
        Ok(text) if text.contains("LIBTORCH") => Ok(()),
        Ok(_) => {
            println!("add to {}, so that `cargo build` finds libtorch:\n\n{CONFIG}", file.display());
            Ok(())
        }
        Err(_) => {
            fs::write(&file, CONFIG).map_err(|error| format!("{}: {error}", file.display()))?;
            println!("wrote {}", file.display());
            Ok(())
        }
    }
}

/// Libtorch as a build here and now would find it, for `doctor`.
pub fn as_built(project: Option<&Project>) -> Outcome<PathBuf> {
    if paths::is_set("LIBTORCH_USE_PYTORCH") {
        return of_python();
    }
    let root = match (paths::user_libtorch(), project) {
        (Some(root), _) => root,
        (None, Some(project)) => project.link(),
        (None, None) => return Err("there is no Cargo project here, and `LIBTORCH` is not set".into()),
    };
    let real = fs::canonicalize(&root).map_err(|_| {
        let dangling = if root.symlink_metadata().is_ok() { "points nowhere" } else { "is not there" };
        Stop::from(format!("{} {dangling}", root.display()))
    })?;
    check(&real).map_err(|reason| format!("{}: {reason}", real.display()))?;
    Ok(real)
}

/// The variables that torch-sys reads, as set by the user.
pub fn variables() -> Vec<String> {
    ["LIBTORCH_USE_PYTORCH", "LIBTORCH_BYPASS_VERSION_CHECK", "LIBTORCH_STATIC", "LIBTORCH_INCLUDE", "LIBTORCH_LIB", "LIBTORCH_CXX11_ABI"]
        .into_iter()
        .filter_map(|name| env::var(name).ok().map(|value| format!("{name}={value}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn libtorch(version: Option<&str>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for file in ["lib/libtorch_cpu.so", "lib/libc10.so", "include/torch/csrc/api/include/torch/torch.h"] {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().expect("it has one")).expect("a folder");
            fs::write(file, "").expect("a file");
        }
        if let Some(version) = version {
            fs::write(folder.path().join("build-version"), version).expect("a file");
        }
        folder
    }

    #[test]
    fn only_a_libtorch_of_our_version_is_taken() {
        for (version, wanted, why) in [
            (Some("2.11.0+cpu\n"), None, "ours"),
            (Some("2.11.0"), None, "ours, without a flavour"),
            (Some("2.4.0+cu121"), Some("libtorch 2.4.0"), "too old"),
            (None, Some("unknown"), "nothing says it"),
        ] {
            let folder = libtorch(version);
            match (check(folder.path()), wanted) {
                (Ok(()), None) => {}
                (Err(reason), Some(wanted)) => assert!(reason.contains(wanted), "{why}: {reason}"),
                (outcome, _) => panic!("{why}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn the_version_is_also_read_from_the_headers() {
        let folder = libtorch(None);
        let header = folder.path().join("include/torch/headeronly/version.h");
        fs::create_dir_all(header.parent().expect("it has one")).expect("a folder");
        let text = "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 10\n#define TORCH_VERSION_PATCH 1\n";
        fs::write(header, text).expect("a file");
        assert_eq!(version(folder.path()).as_deref(), Some("2.10.1"));
    }

    #[test]
    fn a_stale_link_is_replaced_and_a_folder_is_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path().join(".cargo/libtorch");
        link(&place, Path::new("/nowhere")).expect("the first");
        link(&place, folder.path()).expect("the second");
        assert_eq!(fs::read_link(&place).expect("a link"), folder.path());
        assert_eq!(fs::read_dir(folder.path().join(".cargo")).expect("a folder").count(), 1, "nothing is left beside it");
        fs::remove_file(&place).expect("it is there");
        fs::create_dir(&place).expect("a folder");
        assert!(link(&place, folder.path()).expect_err("in the way").message.contains("in the way"));
    }

    #[test]
    fn a_configuration_is_written_once_and_never_changed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join(".cargo")).expect("a folder");
        configure(folder.path()).expect("it can");
        let file = folder.path().join(".cargo/config.toml");
        assert_eq!(fs::read_to_string(&file).expect("it is there"), CONFIG);
        fs::write(&file, "[alias]\nx = \"check\"\n").expect("a file");
        configure(folder.path()).expect("it says what to add");
        assert_eq!(fs::read_to_string(&file).expect("it is there"), "[alias]\nx = \"check\"\n", "a user's file is the user's");
    }
}
