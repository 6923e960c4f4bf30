//! Records what a plugin and its host must agree on: compiler, target, panic strategy and libtorch.

use std::{env, process::Command};

fn main() {
    vlhub_build::rpath();
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LIBTORCH_BYPASS_VERSION_CHECK");
    println!("cargo:rerun-if-env-changed=LIBTORCH_STATIC");
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc)
        .arg("-V")
        .output()
        .ok()
        .and_then(|out| String::from_utf8(out.stdout).ok())
        .map(|text| text.trim().trim_start_matches("rustc ").to_owned())
        .unwrap_or_else(|| "unknown".into());
    // A libtorch that is linked into each library, or whose version nobody checked, can never be shared between host and plugin.
    let torch = if env::var_os("LIBTORCH_STATIC").is_some() {
        "static"
    } else if env::var_os("LIBTORCH_BYPASS_VERSION_CHECK").is_some() {
        "unchecked"
    } else {
        "2.11.0"
    };
    println!("cargo:rustc-env=VLHUB_RUSTC={version}");
    println!("cargo:rustc-env=VLHUB_TORCH={torch}");
    println!("cargo:rustc-env=VLHUB_TARGET={}", env::var("TARGET").unwrap_or_default());
    println!("cargo:rustc-env=VLHUB_PANIC={}", env::var("CARGO_CFG_PANIC").unwrap_or_default());
}
