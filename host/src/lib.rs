//! The host of VL Hub: the only crate that knows files, flags, run files, tokenizers, libraries and processes.

pub mod checkpoint;
pub mod data;
pub mod engine;
pub mod failure;
mod linked;
pub mod loader;
pub mod run;

/// What a distribution calls.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
