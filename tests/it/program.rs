//! Running the built program as a user does.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::cargo;

/// The built `vlhub`, beside this test program.
pub fn vlhub() -> PathBuf {
    let program = cargo::profile_folder().join("vlhub");
    assert!(program.exists(), "{} is missing: `cargo build --workspace` makes it, `cargo vlhub test` does so first", program.display());
    program
}

/// A command that runs it in `folder`.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(vlhub());
    command.current_dir(folder).env_remove("LD_LIBRARY_PATH").env("NO_COLOR", "1");
    // What is fetched, unpacked or computed stays in the test's folder.
    command.env("VLHUB_DATA_CACHE", folder.join(".data-cache")).env("VLHUB_CACHE", folder.join(".cache"));
    // Products in bfloat16 end a process where the system does not allow the matrix unit that the processor advertises.
    command.env("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16");
    command
}

/// What a finished run said.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs it with `args` in `folder`.
pub fn run(folder: &Path, args: &[&str]) -> Ran {
    ran(command(folder).args(args).output().expect("it starts"))
}

pub fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs it and expects success.
#[track_caller]
pub fn must(folder: &Path, args: &[&str]) -> String {
    let ran = run(folder, args);
    assert_eq!(ran.code, 0, "vlhub {}\n{}\n{}", args.join(" "), ran.out, ran.err);
    ran.out
}

/// The data of [`SMALL`], for tests that put others in their place.
pub const SMALL_DATA: &str = "[data.train]\nuse = \"shapes\"\nsamples = 96\nsize = 16\n";

/// A run file small enough that a step takes milliseconds.
pub const SMALL: &str = r#"
name = "small"
seed = 3
embed = 16
[backbone.image]
use = "vit"
image_size = 16
patch_size = 8
width = 16
layers = 1
heads = 2
patch_dropout = 0.25
[backbone.text]
use = "text_transformer"
context = 32
width = 16
layers = 1
heads = 2
[view.image.main]
augment = [{ use = "random_resized_crop" }, { use = "flip" }]
[view.text.main]
transform = [{ use = "choose" }]
[data.train]
use = "shapes"
samples = 96
size = 16
[objective.clip]
[train]
batch = 16
steps = 14
log_every = 1
save_every = 3
torch_threads = 1
show_batch = false
[optimizer]
lr = 1e-3
[schedule]
warmup = 2
"#;

/// A supervised net that tells colours after a second.
pub const HEAD: &str = r#"
name = "head"
seed = 1
embed = 16
[backbone.image]
use = "vit"
image_size = 16
patch_size = 8
width = 16
layers = 1
heads = 2
[objective.classify]
classes = 4
[data.train]
use = "imagefolder"
path = "train"
[train]
batch = 16
steps = 120
log_every = 200
torch_threads = 1
show_batch = false
[optimizer]
lr = 1e-2
[schedule]
warmup = 5
"#;
