//! For build scripts of programs, tests and libraries that link libtorch.
//!
//! Cargo tells only torch-sys's own dependants where libtorch was found, and passes no linker flags on to the crates above. So each crate
//! that ends in a program says `vlhub_build::rpath()` in its `build.rs`; the program then finds libtorch without `LD_LIBRARY_PATH`.

use std::path::PathBuf;
use std::process::Command;

/// Version of libtorch that this release of VL Hub is built for.
pub const TORCH: &str = "2.11.0";

/// Writes the folder of libtorch into the run path of the programs, tests and libraries of the calling crate.
#[allow(clippy::print_stdout, reason = "this is how a build script talks to Cargo")]
pub fn rpath() {
    for name in ["LIBTORCH", "LIBTORCH_LIB", "LIBTORCH_USE_PYTORCH", "VIRTUAL_ENV"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    match libtorch() {
        Some(lib) => {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
            println!("cargo:rustc-env=VLHUB_LIBTORCH={}", lib.display());
        }
        None => println!("cargo:warning=no libtorch {TORCH} was found; run `cargo vlhub setup`"),
    }
}

/// The folder that holds `libtorch_cpu.so`, found in the order in which torch-sys looks.
pub fn libtorch() -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    let found = if var("LIBTORCH_USE_PYTORCH").is_some() {
        pytorch()
    } else if let Some(folder) = var("LIBTORCH_LIB").or_else(|| var("LIBTORCH")) {
        Some(folder.join("lib"))
    } else {
        Some(PathBuf::from("/usr/lib"))
    };
    // A link in the checkout may be moved later; the run path names the real folder.
    found.and_then(|lib| lib.canonicalize().ok()).filter(|lib| lib.join("libtorch_cpu.so").exists())
}

fn pytorch() -> Option<PathBuf> {
    let python = if std::env::var_os("VIRTUAL_ENV").is_some() { "python" } else { "python3" };
    let code = "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])";
    let out = Command::new(python).args(["-c", code]).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    Some(PathBuf::from(text.trim()).join("lib"))
}
