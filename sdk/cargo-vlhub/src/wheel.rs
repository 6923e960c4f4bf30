//! Unpacks what is kept of wheels, and adds what a linker asks for.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use zip::ZipArchive;

use crate::fetch::{TORCH, at, write};
use crate::{Outcome, Stop};

/// Unpacks what is kept of every wheel in a folder.
pub fn unpack_all(wheels: &Path, install: &Path) -> Outcome<Vec<String>> {
    let mut files: Vec<_> = fs::read_dir(wheels).map_err(|error| at(wheels, &error))?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut names = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "whl")) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        println!("unpacking {name}");
        unpack(file, install)?;
        // It is not needed any more, and it is large.
        fs::remove_file(file).ok();
        names.push(name);
    }
    Ok(names)
}

fn unpack(wheel: &Path, install: &Path) -> Outcome {
    let broken = |error: &dyn std::fmt::Display| Stop::from(format!("{} is not a whole wheel: {error}", wheel.display()));
    let file = File::open(wheel).map_err(|error| at(wheel, &error))?;
    let mut archive = ZipArchive::new(io::BufReader::new(file)).map_err(|error| broken(&error))?;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(|error| broken(&error))?;
        let name = member.name().to_owned();
        let Some(target) = place(&name).filter(|_| member.is_file()) else { continue };
        let target = install.join(target);
        let folder = target.parent().unwrap_or(install);
        fs::create_dir_all(folder).map_err(|error| at(folder, &error))?;
        let mut out = File::create(&target).map_err(|error| at(&target, &error))?;
        // Reading to the end also compares the checksum of the member.
        io::copy(&mut member, &mut out).map_err(|error| broken(&error))?;
    }
    Ok(())
}

/// Where a member of a wheel is kept: the headers, and the libraries that a program on a CPU needs.
fn place(member: &str) -> Option<PathBuf> {
    let path = Path::new(member);
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    if let Ok(header) = path.strip_prefix("torch/include") {
        return Some(Path::new("include").join(header));
    }
    let name = path.file_name()?.to_str()?;
    let folder = path.parent()?;
    let of_torch = folder == Path::new("torch/lib") && name.contains(".so") && !REST.iter().any(|start| name.starts_with(start));
    let of_cuda = folder.starts_with("nvidia") && ["libcudart.so", "libcupti.so"].iter().any(|start| name.starts_with(start));
    // On other processors torch brings its mathematics in a folder of its own.
    let bundled = folder == Path::new("torch.libs");
    (of_torch || of_cuda || bundled).then(|| Path::new("lib").join(name))
}

/// Libraries of a wheel that only a GPU or Python needs, and `libtorch.so`, which does nothing but ask for them.
const REST: &[&str] = &[
    "libtorch.so",
    "libtorch_cuda",
    "libtorch_python",
    "libtorch_nvshmem",
    "libtorch_global_deps",
    "libc10_cuda",
    "libcaffe2_nvrtc",
    "libshm",
];

/// torch-sys names `-ltorch` and `-lgomp`: an empty library and a link satisfy the linker, which then drops the first.
pub fn finish(install: &Path) -> Outcome {
    let lib = install.join("lib");
    if !lib.join("libtorch_cpu.so").is_file() {
        return Err(format!("the wheel of torch {TORCH} holds no libtorch_cpu.so; is it a wheel for this system?").into());
    }
    let source = install.join("stub.c");
    write(&source, "")?;
    let stub = Command::new("cc").args(["-shared", "-Wl,-soname,libtorch.so", "-o"]).arg(lib.join("libtorch.so")).arg(&source).output();
    let stub = stub.map_err(|error| {
        Stop::from(format!("cannot run `cc`: {error}; install a C++ compiler (`apt install build-essential`, `dnf install gcc-c++`)"))
    })?;
    if !stub.status.success() {
        return Err(format!("`cc` cannot make a shared library: {}", String::from_utf8_lossy(&stub.stderr).trim()).into());
    }
    fs::remove_file(&source).map_err(|error| at(&source, &error))?;
    let link = lib.join("libgomp.so");
    if lib.join("libgomp.so.1").exists() && !link.exists() {
        std::os::unix::fs::symlink("libgomp.so.1", &link).map_err(|error| at(&link, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_wheel_only_headers_and_cpu_libraries_are_kept() {
        for (member, kept, why) in [
            ("torch/lib/libtorch_cpu.so", Some("lib/libtorch_cpu.so"), "the library"),
            ("torch/lib/libgomp.so.1", Some("lib/libgomp.so.1"), "which it needs"),
            ("torch/include/ATen/ATen.h", Some("include/ATen/ATen.h"), "a header"),
            ("nvidia/cu13/lib/libcudart.so.13", Some("lib/libcudart.so.13"), "needed even without a GPU"),
            ("nvidia/cu13/lib/libnvperf_host.so", None, "a profiler's"),
            ("torch/lib/libtorch_cuda_linalg.so", None, "only on a GPU"),
            ("torch/lib/libtorch.so", None, "it asks for CUDA; a stub takes its place"),
            ("torch/nn/modules/linear.py", None, "Python"),
            ("torch/include/../../../evil", None, "it climbs out of the folder"),
            ("/torch/include/evil", None, "it is absolute"),
        ] {
            assert_eq!(place(member), kept.map(PathBuf::from), "{why}");
        }
    }
}
