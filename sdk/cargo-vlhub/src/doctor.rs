//! Everything that a build and a run need: one line each, and what to do about it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use crate::fetch::TORCH;
use crate::identity::{self, Identity};
use crate::paths::{self, Project, free_bytes, human, is_set};
use crate::{Outcome, Stop, probe, setup};

/// Options of `cargo vlhub doctor`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// As JSON: a list of `{name, state, found, remedy}`.
    #[arg(long)]
    json: bool,
    /// The `vlhub` for which you build plugin libraries; by default the one built here, or the one on the search path.
    #[arg(long, value_name = "PROGRAM")]
    host: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum State {
    Ok,
    Warn,
    Fail,
}

#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Finding {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), remedy: None }
    }
    fn warn(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Warn, found: found.into(), remedy: Some(remedy.into()) }
    }
    fn fail(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Fail, found: found.into(), remedy: Some(remedy.into()) }
    }
}

/// `cargo vlhub doctor`.
pub fn run(args: &Args) -> Outcome {
    let project = Project::here()?;
    let project = project.as_ref();
    let libtorch = setup::as_built(project);
    let root = libtorch.as_ref().ok().cloned();
    let findings = [
        rust(),
        compiler(),
        plugins(project, args.host.as_deref()),
        python(root.is_some()),
        torch(libtorch),
        variables(),
        disk(project),
        machine(),
        gpu(root.as_deref(), command("nvidia-smi", &["--query-gpu=name,driver_version", "--format=csv,noheader"])),
        bf16(project),
    ];
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings).map_err(|error| error.to_string())?);
    } else {
        for finding in &findings {
            let state = match finding.state {
                State::Ok => "OK  ",
                State::Warn => "WARN",
                State::Fail => "FAIL",
            };
            println!("{state}  {:<10}{}", finding.name, finding.found);
            if let Some(remedy) = &finding.remedy {
                println!("                {remedy}");
            }
        }
    }
    if findings.iter().any(|finding| finding.state == State::Fail) { Err(Stop::silent(Some(1))) } else { Ok(()) }
}

/// First line that a program prints.
fn command(name: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(name).args(args).output().ok().filter(|out| out.status.success())?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    text.lines().next().map(|line| line.trim().to_owned())
}

fn rust() -> Finding {
    match rustc_version() {
        Some(version) if minor(&version).is_some_and(|minor| minor >= OLDEST) => Finding::ok("rustc", version),
        Some(version) => Finding::fail("rustc", version, format!("1.{OLDEST} or later is wanted: `rustup update`")),
        None => Finding::fail("rustc", "not found", "install Rust with rustup"),
    }
}

/// What the compiler that Cargo would use here says of itself.
fn rustc_version() -> Option<String> {
    let rustc = std::env::var("RUSTC").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "rustc".into());
    command(&rustc, &["-V"])
}

/// The one compiler of which a host takes plugin libraries, and whether it is the one here. Libraries use the Rust ABI, which every compiler
/// makes anew.
fn plugins(project: Option<&Project>, named: Option<&Path>) -> Finding {
    let Some(program) = identity::host(project, named) else {
        return Finding::ok("plugins", "no vlhub is built here or on the search path; it takes plugin libraries of its own compiler alone");
    };
    let here = rustc_version().unwrap_or_else(|| "rustc not found".into());
    match fs::read(&program) {
        Ok(bytes) => compare_compilers(&program, Identity::scan(&bytes), here.trim_start_matches("rustc ")),
        Err(error) => Finding::fail("plugins", format!("{}: {error}", program.display()), "name a `vlhub` with `--host`, or build one"),
    }
}

fn compare_compilers(program: &Path, identity: Option<Identity>, here: &str) -> Finding {
    let program = program.display();
    let Some(identity) = identity else {
        return Finding::warn("plugins", format!("{program} has no identity: it is no `vlhub`"), "name the program with `--host`");
    };
    let (wanted, rest) = (identity.rustc(), identity.rest());
    if wanted == here {
        return Finding::ok("plugins", format!("{program} takes libraries of rustc {wanted}, the one here; {rest}"));
    }
    let remedy = match identity::toolchain(wanted) {
        Some(name) => format!(
            "`rustup toolchain install {name}`, then `cargo +{name} build --release --features dylib`; or build vlhub again with the compiler here"
        ),
        None => format!("build the libraries with rustc {wanted}, or build vlhub again with the compiler here"),
    };
    Finding::warn("plugins", format!("{program} takes libraries of rustc {wanted} alone, and here is {here}; {rest}"), remedy)
}

/// Minor version of the oldest compiler, as `rust-version` in the workspace's manifest says.
const OLDEST: u32 = 90;

/// The 95 of `rustc 1.95.0 (59807616e 2026-04-14)`.
fn minor(version: &str) -> Option<u32> {
    version.split_whitespace().nth(1)?.split('.').nth(1)?.parse().ok()
}

fn compiler() -> Finding {
    let remedy = "install a C++ compiler: `apt install build-essential`, `dnf install gcc-c++`";
    match (command("cc", &["--version"]), command("c++", &["--version"])) {
        (Some(_), Some(version)) => Finding::ok("compiler", version),
        (None, _) => Finding::fail("compiler", "no `cc`", remedy),
        (_, None) => Finding::fail("compiler", "no `c++`", remedy),
    }
}

fn python(has_libtorch: bool) -> Finding {
    let python = paths::python();
    match command(python, &["-m", "pip", "--version"]) {
        Some(version) => Finding::ok("python", version),
        // It is needed once, to fetch libtorch.
        None if has_libtorch => Finding::warn("python", format!("`{python}` with pip not found"), "only needed to fetch libtorch again"),
        None => Finding::fail("python", format!("`{python}` with pip not found"), "install Python 3 with pip, or set `LIBTORCH`"),
    }
}

fn torch(libtorch: Outcome<PathBuf>) -> Finding {
    match libtorch {
        Ok(root) => match probe::verify(&root.join("lib")) {
            Ok(()) => Finding::ok("libtorch", format!("{TORCH}, loads, in {}", root.display())),
            Err(stop) => Finding::fail("libtorch", stop.message, "`cargo vlhub setup --force`"),
        },
        Err(stop) => Finding::fail("libtorch", stop.message, "`cargo vlhub setup`"),
    }
}

fn variables() -> Finding {
    let set = setup::variables();
    let bad = ["LIBTORCH_BYPASS_VERSION_CHECK", "LIBTORCH_STATIC"].into_iter().find(|name| is_set(name));
    match bad {
        Some(name) => Finding::warn("variables", set.join(" "), format!("with `{name}` no plugin library can be loaded; unset it")),
        None if set.is_empty() => Finding::ok("variables", "none that changes how libtorch is found"),
        None => Finding::ok("variables", set.join(" ")),
    }
}

fn disk(project: Option<&Project>) -> Finding {
    let Some(free) = project.and_then(|project| free_bytes(&project.target)) else {
        return Finding::warn("disk", "free space unknown", "a build takes 3 GB, libtorch 0.5 GB");
    };
    if free < 3_000_000_000 {
        Finding::warn(
            "disk",
            format!("{} free for the build", human(free)),
            "a build takes 3 GB; set `CARGO_TARGET_DIR` to a folder with more",
        )
    } else {
        Finding::ok("disk", format!("{} free for the build", human(free)))
    }
}

fn machine() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory_bytes(&text));
    let found = format!("{cores} cores, {} memory", memory.map_or("unknown".into(), human));
    if memory.is_some_and(|bytes| bytes < 4_000_000_000) {
        return Finding::warn("machine", found, "compiling libtorch's wrapper takes 3 GB: `cargo build -j 1`");
    }
    Finding::ok("machine", found)
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn memory_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

fn gpu(root: Option<&Path>, driver: Option<String>) -> Finding {
    let cuda = root.is_some_and(|root| root.join("lib/libtorch_cuda.so").exists());
    match (driver, cuda) {
        (None, false) => Finding::ok("gpu", "no NVIDIA driver; libtorch is the CPU one"),
        (None, true) => {
            Finding::warn("gpu", "libtorch has CUDA, but `nvidia-smi` finds no driver", "runs use the CPU until a driver is installed")
        }
        (Some(gpu), false) => Finding::warn("gpu", format!("{gpu}, but libtorch is the CPU one"), "`cargo vlhub setup --cuda`"),
        (Some(gpu), true) => Finding::ok("gpu", gpu),
    }
}

/// Some machines advertise bf16 instructions that end a process when they are used, for instance because a virtual machine does not save
/// their registers.
fn bf16(project: Option<&Project>) -> Finding {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let Some(flags) = bf16_flags(&info) else {
        return Finding::ok("bf16", "the processor has no bf16 instructions; `train.precision = \"amp_bf16\"` works, and is slow");
    };
    let programs = ["debug", "release"].map(|profile| project.map(|project| project.program(profile)));
    let Some(program) = programs.into_iter().flatten().find(|program| program.exists()) else {
        return Finding::warn(
            "bf16",
            format!("the processor has {flags}; not tried: vlhub is not built yet"),
            "`cargo vlhub quickstart`, then again",
        );
    };
    match Command::new(&program).arg("internal-probe-bf16").output() {
        Ok(out) if out.status.success() => Finding::ok("bf16", format!("works ({flags})")),
        Ok(out) => Finding::warn(
            "bf16",
            format!("the processor has {flags}, but a bf16 product ends the process ({})", out.status),
            "set ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16, or leave `train.precision` at `fp32` on this machine",
        ),
        Err(error) => Finding::warn("bf16", format!("{}: {error}", program.display()), "build again"),
    }
}

fn bf16_flags(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    let flags: Vec<_> = line.split_whitespace().filter(|flag| matches!(*flag, "avx512_bf16" | "amx_bf16")).collect();
    (!flags.is_empty()).then(|| flags.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_what_the_system_prints() {
        assert_eq!(minor("rustc 1.95.0 (59807616e 2026-04-14)"), Some(95));
        assert_eq!(minor("rustc unknown"), None);
        assert_eq!(memory_bytes("MemTotal:       24615000 kB\nMemFree: 1 kB\n"), Some(24_615_000 * 1024));
        assert_eq!(bf16_flags("processor : 0\nflags\t\t: fpu avx512_bf16 amx_bf16\n").as_deref(), Some("avx512_bf16 amx_bf16"));
        assert_eq!(bf16_flags("flags\t\t: fpu avx2\n"), None);
    }

    #[test]
    fn a_driver_and_a_libtorch_that_do_not_fit_are_a_warning() {
        let cuda = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(cuda.path().join("lib")).expect("a folder");
        fs::write(cuda.path().join("lib/libtorch_cuda.so"), "").expect("a file");
        let cpu = tempfile::tempdir().expect("a temporary folder");
        for (root, driver, wanted, why) in [
            (cpu.path(), None, State::Ok, "a CPU machine"),
            (cuda.path(), Some("H200, 580"), State::Ok, "a GPU machine"),
            (cpu.path(), Some("H200, 580"), State::Warn, "the GPU would idle"),
            (cuda.path(), None, State::Warn, "the GPU's driver is gone"),
        ] {
            assert_eq!(gpu(Some(root), driver.map(str::to_owned)).state, wanted, "{why}");
        }
    }

    #[test]
    fn the_compiler_that_a_host_wants_is_named_with_the_way_to_it() {
        let text = b"VLHUB-PLUGIN/1\nrustc=1.95.0 (59807616e 2026-04-14)\nsdk=0.1.0\ntorch=2.11.0\ntarget=x\npanic=unwind\nend\n";
        let program = Path::new("target/debug/vlhub");
        let finding = |here: &str| compare_compilers(program, Identity::scan(text), here);
        assert_eq!(finding("1.95.0 (59807616e 2026-04-14)").state, State::Ok);
        for here in ["1.96.0 (aaaaaaaaa 2026-05-25)", "1.95.0 (bbbbbbbbb 2026-04-15)"] {
            let other = finding(here);
            assert!(other.state == State::Warn && other.found.contains("59807616e") && other.found.contains(here), "{other:?}");
            assert!(other.remedy.is_some_and(|remedy| remedy.contains("cargo +1.95.0 build")), "it says how to get there");
        }
        assert_eq!(compare_compilers(program, None, "1.95.0").state, State::Warn, "some other program");
    }

    #[test]
    fn a_missing_libtorch_is_a_failure_with_the_command_that_mends_it() {
        let finding = torch(Err("nothing is there".into()));
        assert_eq!(finding.state, State::Fail);
        assert!(finding.remedy.expect("there is one").contains("cargo vlhub setup"));
    }
}
