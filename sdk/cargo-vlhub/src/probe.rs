//! Whether libtorch works: it is loaded in a child process, because a broken one kills the process that tries.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use crate::Outcome;

/// Loads libtorch of the folder `lib` in a child process.
///
/// # Errors
/// What the loader said, or the signal that ended the child.
pub fn verify(lib: &Path) -> Outcome {
    let program = env::current_exe().map_err(|error| format!("cannot find this program again: {error}"))?;
    let mut child = Command::new(program);
    // The libraries must find each other by themselves, as they will have to when a training program starts.
    child.arg("internal-probe-libtorch").arg(lib).env_remove("LD_LIBRARY_PATH").env_remove("LD_PRELOAD");
    let out = child.output().map_err(|error| format!("cannot start a child process: {error}"))?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let said = said.lines().next().unwrap_or_default().trim_start_matches("error: ");
    Err(match out.status.signal() {
        Some(signal) => format!("libtorch in {} does not load: the process that tried was ended by signal {signal}", lib.display()).into(),
        None => format!("libtorch in {} does not load: {said}", lib.display()).into(),
    })
}

/// The child's part.
pub fn load(lib: &Path) -> Outcome {
    for name in ["libc10.so", "libtorch_cpu.so"] {
        let path = lib.join(name);
        // SAFETY: constructors of libtorch run, which is what this process was started for; it ends right afterwards.
        let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) };
        let library = library.map_err(|error| {
            let text = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            text.lines().next().unwrap_or_default().to_owned()
        })?;
        // Its destructors need not be ready to run in the middle of a process.
        std::mem::forget(library);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_library_is_refused_with_the_loaders_words() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("libc10.so"), "text").expect("it can be written");
        let stop = load(folder.path()).expect_err("it is text");
        assert!(stop.message.contains("libc10.so"), "{}", stop.message);
    }
}
