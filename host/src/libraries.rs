//! Libraries at run time: plugins, with what is checked before one runs, and CUDA. The only `unsafe` of the host.
//!
//! A library is a Rust `cdylib` that speaks the Rust ABI, so it is refused unless it was built exactly as this host was. That is decided from
//! the bytes of the file: `dlopen` already runs a library's constructors, and one that is cut off kills the process with a bus error.

use std::any::Any;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};
use memmap2::Mmap;
use vlhub_core::abi::{self, Host, Identity, LibraryHeader};
use vlhub_core::{Exports, Provenance, Registry};

use crate::failure::{Failure, Outcome};

/// The symbol that `export!` defines.
const SYMBOL: &[u8] = b"VLHUB_PLUGIN\0";

/// Everything that is linked in, and the plugins of `libraries`.
///
/// # Errors
/// Two plugins of one name, or a library that is refused.
pub fn registry(libraries: &[PathBuf]) -> Outcome<Registry> {
    let mut registry = Registry::linked()?;
    for library in libraries {
        load(library, &mut registry)?;
    }
    Ok(registry)
}

/// Adds the plugins of the library at `path` to `registry`. The library stays loaded until the process ends: entries point into it.
///
/// # Errors
/// A [`Failure::PLUGIN`] that names the file and says why it was refused; `registry` is then as it was.
pub fn load(path: &Path, registry: &mut Registry) -> Outcome {
    read(path)
        .and_then(|identity| {
            let exports = open(path, &identity)?;
            registry.merge(exports, &Provenance::Library(path.to_owned())).map_err(|error| error.to_string())
        })
        .map_err(|reason| Failure::new(Failure::PLUGIN, format!("cannot load {}: {reason}", path.display())))
}

/// Decides from the bytes alone whether the library was built as this host was.
fn read(path: &Path) -> Result<Identity, String> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no such file{}", neighbours(path)),
        _ => error.to_string(),
    })?;
    let about = file.metadata().map_err(|error| error.to_string())?;
    if about.is_dir() {
        return Err(format!("it is a folder; name the library in it{}", libraries(path)));
    }
    if !about.is_file() {
        return Err("it is not a regular file".into());
    }
    if about.len() == 0 {
        return Err("it is empty; was the disk full, or the build stopped? build it again".into());
    }
    // SAFETY: the map is read-only and is gone before the library is opened; a file that another process cuts off meanwhile would end this
    // process with a signal, as it would while `dlopen` maps it.
    let bytes = unsafe { Mmap::map(&file) }.map_err(|error| error.to_string())?;
    whole(&bytes)?;
    let identity = Identity::scan(&bytes).map_err(|error| error.to_string())?;
    identity.agrees_with(&Identity::ours()).map_err(|error| error.to_string())?;
    Ok(identity)
}

/// Opens a library whose identity agrees, and asks it what it registers.
fn open(path: &Path, identity: &Identity) -> Result<Exports, String> {
    // With a slash in it, so that the loader opens this file and does not search for another one of the same name.
    let path = path.canonicalize().map_err(|error| error.to_string())?;
    // SAFETY: the library was built as this host was, and its constructors do no more than link entries into its own inventory. Symbols are
    // resolved now, so that a missing one fails here and not at step 40,000, and locally, so that they shadow nothing of the host.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| first_line(&error))?;
    // SAFETY: `export!` defines the symbol as a `LibraryHeader`; the symbol's address is what `get` hands out.
    let header: *const LibraryHeader = match unsafe { library.get::<*const LibraryHeader>(SYMBOL) } {
        Ok(symbol) => *symbol,
        Err(_) => return Err("it has an identity but does not export VLHUB_PLUGIN; its `lib.rs` must call `vlhub_sdk::export!()`".into()),
    };
    if header.is_null() || !header.is_aligned() {
        return Err("its symbol VLHUB_PLUGIN is not a header".into());
    }
    // SAFETY: it is not null and aligned, `identity` comes first in the `repr(C)` header, and the library is never unloaded from here on.
    let header: &'static LibraryHeader = unsafe { &*header };
    // Vtables, names and entries point into the library until the process exits; a refused one costs some address space, no more.
    std::mem::forget(library);
    if header.identity != identity.bytes() {
        return Err("the identity in its file is not the one in its header".into());
    }
    abi::same_layout(header.layout).map_err(|error| error.to_string())?;
    let exports = tracing::dispatcher::get_default(|dispatch| {
        let host = Host { dispatch };
        // A panic of the host's own subscriber unwinds through the library and is caught; one of the library itself stops at its guards.
        catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: compiler, target, crates and layouts agree, so the Rust ABI is the same on both sides.
            unsafe { (header.load)(&host) }
        }))
    });
    exports.map_err(|panic| format!("it panicked while it was loaded: {}", message(panic.as_ref())))
}

/// Opens libtorch's CUDA library, if the libtorch of this process has one beside it. To be called before the first question to libtorch about
/// CUDA: libtorch keeps its first answer. The linker drops the library from every program, because nothing of it is named; so one build serves
/// CPU and GPU.
pub fn open_cuda() {
    static OPENED: Once = Once::new();
    OPENED.call_once(|| {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let Some(path) = beside_libtorch(&maps, "libtorch_cuda.so").filter(|path| path.exists()) else { return };
        // SAFETY: it is the other half of the libtorch that is loaded already; its constructors register kernels with that one.
        match unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) } {
            // It stays loaded: libtorch's dispatcher points into it.
            Ok(library) => std::mem::forget(library),
            Err(error) => tracing::warn!("no CUDA: {} does not load: {}", path.display(), first_line(&error)),
        }
    });
}

/// A file in the folder from which this process has loaded `libtorch_cpu.so`, by the list of its memory maps.
fn beside_libtorch(maps: &str, name: &str) -> Option<PathBuf> {
    let path = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..])).find(|path| path.ends_with("/libtorch_cpu.so"))?;
    Some(Path::new(path).with_file_name(name))
}

/// Refuses what is not a complete ELF file of this machine's word size: every segment, and the section table at its end, must be in the file.
fn whole(bytes: &[u8]) -> Result<(), String> {
    const CUT: &str = "it is cut off: its header promises more bytes than the file has; build or copy it again";
    if !bytes.starts_with(b"\x7fELF") {
        return Err("it is not a library (no ELF header); a plugin library is the .so that `cargo build --features dylib` makes".into());
    }
    let number = |at: usize, bytes_wide: usize| -> Option<u64> {
        let field = bytes.get(at..at.checked_add(bytes_wide)?)?;
        Some(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    if bytes.get(4..6) != Some(&[2, 1]) {
        return Err("it is not a 64-bit little-endian library; rebuild it on the system for which this host was built".into());
    }
    if number(16, 2) != Some(3) {
        return Err("it is a program or an object file, not a shared library; set `crate-type = [\"cdylib\"]`".into());
    }
    let fits = |start: Option<u64>, length: Option<u64>| Some(start?.checked_add(length?)? <= bytes.len() as u64);
    let complete = || -> Option<bool> {
        let (segments, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        let sections = fits(number(40, 8), Some(number(58, 2)? * number(60, 2)?))?;
        let mut complete = sections && fits(Some(segments), Some(size * count))?;
        for index in 0..count {
            let at = usize::try_from(segments.checked_add(index * size)?).ok()?;
            complete &= fits(number(at + 8, 8), number(at + 32, 8))?;
        }
        Some(complete)
    };
    if complete() == Some(true) { Ok(()) } else { Err(CUT.into()) }
}

/// What the loader says, on one line and without the path, which the caller names.
fn first_line(error: &libloading::Error) -> String {
    let text = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    let line = text.lines().next().unwrap_or_default().to_owned();
    if line.contains("undefined symbol") {
        return format!("{line}; rebuild it against the libtorch of this host");
    }
    line
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.and_then(|text| text.lines().next()).unwrap_or("no message").to_owned()
}

/// The libraries beside a path that does not exist: mostly a missing `lib`, or `-` for `_`.
fn neighbours(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return format!(", and no folder {}", folder.display());
    }
    libraries(folder)
}

fn libraries(folder: &Path) -> String {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "so"))
        .collect();
    found.sort();
    let names: Vec<_> = found.iter().filter_map(|path| path.file_name()).take(5).map(|name| name.to_string_lossy()).collect();
    if names.is_empty() { String::new() } else { format!("; libraries there: {}", names.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Header of a shared library with one segment, then `body` bytes of it, then no sections.
    fn elf(body: usize) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56 + body];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16] = 3;
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64 + 32..64 + 40].copy_from_slice(&((64 + 56 + body) as u64).to_le_bytes());
        bytes
    }

    #[test]
    fn only_a_complete_shared_library_passes() {
        whole(&elf(100)).expect("every byte of its segment is there");
        let edit = |at: usize, value: u8| {
            let mut bytes = elf(100);
            bytes[at] = value;
            bytes
        };
        for (bytes, wanted, why) in [
            (b"#!/bin/sh\n".to_vec(), "no ELF header", "a script"),
            (b"\x7fELF".to_vec(), "64-bit", "nothing after the magic"),
            (elf(100)[..200].to_vec(), "cut off", "the segment goes on after the end"),
            (elf(100)[..70].to_vec(), "cut off", "the table of segments is cut"),
            (edit(4, 1), "64-bit", "a 32-bit library"),
            (edit(16, 2), "not a shared library", "a program"),
            (edit(47, 0xff), "cut off", "a table of sections beyond any file, whose end would overflow"),
            (edit(39, 0xff), "cut off", "a table of segments beyond any file"),
        ] {
            let reason = whole(&bytes).expect_err(why);
            assert!(reason.contains(wanted), "{why}: {reason}");
        }
    }

    #[test]
    fn the_folder_of_libtorch_is_read_from_the_memory_maps() {
        let maps =
            "7f00-7f01 r-xp 00000000 08:01 12   /usr/lib/libc.so.6\n7f02-7f03 r-xp 00000000 08:01 13   /opt/my torch/lib/libtorch_cpu.so\n";
        assert_eq!(
            beside_libtorch(maps, "libtorch_cuda.so"),
            Some("/opt/my torch/lib/libtorch_cuda.so".into()),
            "a space is part of a path"
        );
        assert_eq!(beside_libtorch("7f00-7f01 rw-p 00000000 00:00 0\n", "x"), None, "a process without libtorch");
        let ours = beside_libtorch(&fs::read_to_string("/proc/self/maps").expect("Linux"), "libc10.so");
        assert!(tch::Tensor::from(1.0).numel() == 1 && ours.is_some_and(|path| path.exists()), "this process has libtorch");
    }

    #[test]
    fn a_path_that_is_wrong_is_refused_with_what_is_near() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("libtoy.so"), b"text").expect("it can be written");
        fs::write(folder.path().join("empty.so"), b"").expect("it can be written");
        for (path, wanted) in [
            ("toy.so", "there is no such file; libraries there: empty.so libtoy.so"),
            ("", "it is a folder; name the library in it; libraries there: empty.so libtoy.so"),
            ("no/toy.so", "there is no such file, and no folder"),
            ("empty.so", "it is empty"),
            ("libtoy.so", "it is not a library"),
        ] {
            let failure = load(&folder.path().join(path), &mut Registry::default()).expect_err(wanted);
            assert_eq!(failure.code, Failure::PLUGIN, "{wanted}");
            assert!(failure.message.starts_with("cannot load ") && failure.message.contains(wanted), "{wanted}: {failure}");
            assert_eq!(failure.message.lines().count(), 1, "{failure}");
        }
    }
}
