//! Cargo as a child of a test, in the target folder of the test itself.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the checkout")
}

/// Where this test was built: `target/debug`, or another profile's folder.
pub fn profile_folder() -> PathBuf {
    let program = env::current_exe().expect("the system knows it");
    program.parent().and_then(Path::parent).expect("a test lies in PROFILE/deps").to_owned()
}

/// Runs `cargo build` with this test's profile and target folder, and returns what it wrote to its standard output.
///
/// Cargo has let go of the target folder by the time tests run. Its own variables are not handed on: a child that saw `LIBTORCH` from the
/// checkout's configuration as if a user had set it would compile libtorch's wrapper again.
#[track_caller]
pub fn build(folder: &Path, args: &[&str]) -> String {
    let profile = profile_folder();
    let mut child = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    child.arg("build").args(args).current_dir(folder).arg("--target-dir").arg(profile.parent().expect("it lies in the target folder"));
    if profile.ends_with("release") {
        child.arg("--release");
    }
    for (name, value) in env::vars_os() {
        let text = name.to_string_lossy();
        let of_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|start| text.starts_with(start));
        if of_package || (text == "LIBTORCH" && Path::new(&value).ends_with(".cargo/libtorch")) {
            child.env_remove(name);
        }
    }
    let out = child.output().expect("cargo runs");
    assert!(out.status.success(), "cargo build {}:\n{}", args.join(" "), String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("Cargo writes UTF-8")
}
