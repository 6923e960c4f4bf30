//! The host of VL Hub: the only crate that knows files, flags, run files, tokenizers, libraries and processes.

pub mod catalog;
pub mod checkpoint;
#[cfg(any())]
mod cli;
#[cfg(any())]
mod command;
pub mod config;
pub mod data;
pub mod engine;
pub mod failure;
mod linked;
pub mod loader;
pub mod model;
pub mod run;
pub mod session;

use std::process::ExitCode;

use vlhub_core::Registry;

use failure::Outcome;

/// Version of libtorch that this release is built for.
pub const TORCH: &str = "2.11.0";

/// WIP
pub fn main() -> ExitCode { ExitCode::SUCCESS }
/// Everything that is linked in, and the plugins of `libraries`.
///
/// # Errors
/// Two plugins of one name, or a library that is refused.
pub fn registry(libraries: &[std::path::PathBuf]) -> Outcome<Registry> {
    let mut registry = Registry::linked()?;
    for library in libraries {
        loader::load(library, &mut registry)?;
    }
    Ok(registry)
}

