//! Where things are: the user's cache folder, the project, its target folder; and Cargo as a child process.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::Outcome;

/// `$VLHUB_CACHE`, or `vlhub` in the user's cache folder.
pub fn cache() -> Outcome<PathBuf> {
    cache_from(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
        .ok_or_else(|| "no cache folder: neither `VLHUB_CACHE`, `XDG_CACHE_HOME` nor `HOME` is set; set `VLHUB_CACHE` to a folder".into())
}

fn cache_from(var: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    // The convention ignores relative paths; ours may be relative to where the user stands.
    let own = var("VLHUB_CACHE").map(|path| std::path::absolute(&path).unwrap_or(path));
    let shared = || var("XDG_CACHE_HOME").filter(|path| path.is_absolute()).map(|path| path.join("vlhub"));
    own.or_else(shared).or_else(|| var("HOME").map(|home| home.join(".cache").join("vlhub")))
}

/// What Cargo says of the project around the current folder.
#[derive(Debug, Deserialize)]
pub struct Project {
    /// Folder of the workspace's `Cargo.toml`.
    #[serde(rename = "workspace_root")]
    pub root: PathBuf,
    /// Where Cargo builds; follows `CARGO_TARGET_DIR` and Cargo's configuration.
    #[serde(rename = "target_directory")]
    pub target: PathBuf,
    /// The crates of the workspace.
    pub packages: Vec<Package>,
}

/// A crate of the workspace.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    #[serde(rename = "manifest_path")]
    manifest: PathBuf,
    /// What Cargo builds of it.
    pub targets: Vec<Target>,
}

/// One target of a crate.
#[derive(Debug, Deserialize)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// `lib`, `rlib`, `bin`, `test`, `custom-build`, …
    pub kind: Vec<String>,
    /// The file with which it begins.
    #[serde(rename = "src_path")]
    pub source: PathBuf,
}

impl Package {
    /// The folder of its `Cargo.toml`.
    pub fn folder(&self) -> &Path {
        self.manifest.parent().unwrap_or(&self.manifest)
    }
}

impl Project {
    /// The project around the current folder, if there is one.
    ///
    /// # Errors
    /// When there is one that Cargo cannot read.
    pub fn here() -> Outcome<Option<Self>> {
        let found = cargo(None).args(["locate-project", "--workspace", "--message-format", "plain"]).output();
        let found = found.map_err(|error| format!("cannot run cargo: {error}; install Rust with rustup"))?;
        if !found.status.success() {
            return Ok(None);
        }
        let out = cargo(None).args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).output();
        let out = out.map_err(|error| format!("cannot run cargo: {error}"))?;
        if !out.status.success() {
            let manifest = String::from_utf8_lossy(&found.stdout);
            return Err(format!("cargo cannot read {}:\n{}", manifest.trim(), String::from_utf8_lossy(&out.stderr).trim()).into());
        }
        serde_json::from_slice(&out.stdout).map(Some).map_err(|error| format!("cannot read what `cargo metadata` says: {error}").into())
    }

    /// The checkout of VL Hub around the current folder.
    ///
    /// # Errors
    /// When the current folder is elsewhere.
    pub fn checkout(command: &str) -> Outcome<Self> {
        Self::here()?
            .filter(Self::is_checkout)
            .ok_or_else(|| format!("`cargo vlhub {command}` works in a checkout of VL Hub; change to its folder").into())
    }

    /// Whether this is VL Hub itself, and not a plugin of somebody's.
    pub fn is_checkout(&self) -> bool {
        self.packages.iter().any(|package| package.name == "vlhub-host")
    }

    /// The link through which Cargo finds libtorch.
    pub fn link(&self) -> PathBuf {
        self.root.join(".cargo").join("libtorch")
    }

    /// The `vlhub` program as built in a profile's folder (`debug` or `release`).
    pub fn program(&self, profile: &str) -> PathBuf {
        self.target.join(profile).join("vlhub")
    }
}

/// A child Cargo, as if it had been started by the user.
///
/// `cargo run` hands us variables of its own. A child that saw `LIBTORCH` from the project's configuration as if it came from the user would
/// take libtorch for changed, and compile its wrapper again.
pub fn cargo(root: Option<&Path>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
            || text.starts_with("CARGO_BIN_")
            || text == "CARGO_CRATE_NAME"
        {
            command.env_remove(name);
        }
    }
    if user_libtorch().is_none() {
        command.env_remove("LIBTORCH");
    }
    if let Some(root) = root {
        command.current_dir(root);
    }
    command
}

/// `LIBTORCH` as the user set it; not as the project's Cargo configuration did.
pub fn user_libtorch() -> Option<PathBuf> {
    let path = env::var_os("LIBTORCH").filter(|value| !value.is_empty()).map(PathBuf::from)?;
    (!is_link(&path)).then_some(path)
}

fn is_link(path: &Path) -> bool {
    path.ends_with(Path::new(".cargo").join("libtorch"))
}

/// Whether a variable is set to something.
pub fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// The Python that torch-sys would ask.
pub fn python() -> &'static str {
    if env::var_os("VIRTUAL_ENV").is_some() { "python" } else { "python3" }
}

/// The program `name` on the search path.
pub fn which(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name.as_ref())).find(|file| file.is_file())
}

/// Free bytes where `path` is or will be.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|folder| folder.exists())?;
    let about = rustix::fs::statvfs(there).ok()?;
    Some(about.f_bavail.saturating_mul(about.f_frsize))
}

/// Bytes as a person reads them.
pub fn human(bytes: u64) -> String {
    if bytes < 1_000_000_000 { format!("{} MB", bytes / 1_000_000) } else { format!("{:.1} GB", bytes as f64 / 1e9) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_folder_follows_the_variables_in_order() {
        for (set, wanted, why) in [
            (&[("VLHUB_CACHE", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")][..], Some("/a"), "ours goes first"),
            (&[("XDG_CACHE_HOME", "/b"), ("HOME", "/c")], Some("/b/vlhub"), "then the convention"),
            (&[("XDG_CACHE_HOME", "b"), ("HOME", "/c")], Some("/c/.cache/vlhub"), "which ignores a relative path"),
            (&[("HOME", "/c")], Some("/c/.cache/vlhub"), "the convention's default"),
            (&[], None, "nothing to go by"),
        ] {
            let found = cache_from(|name| set.iter().find(|(known, _)| *known == name).map(|(_, path)| PathBuf::from(path)));
            assert_eq!(found, wanted.map(PathBuf::from), "{why}");
        }
    }

    #[test]
    fn a_link_made_by_setup_is_not_taken_for_the_users_choice() {
        assert!(is_link(Path::new("/home/me/vlhub/.cargo/libtorch")));
        assert!(!is_link(Path::new("/opt/libtorch")));
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(human(451_209_129), "451 MB");
        assert_eq!(human(2_500_000_000), "2.5 GB");
    }
}
