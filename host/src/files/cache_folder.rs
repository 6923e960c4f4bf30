//! Where the program keeps what it can fetch or compute again.

use std::ffi::OsString;
use std::path::PathBuf;

/// The folder that `VLHUB_CACHE` names, else `vlhub` in `XDG_CACHE_HOME` or `~/.cache`; `None` without any of these. `variable` reads the
/// environment.
pub(crate) fn cache_folder(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let value = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = || value("XDG_CACHE_HOME").or_else(|| Some(value("HOME")?.join(".cache")));
    value("VLHUB_CACHE").or_else(|| Some(user()?.join("vlhub")))
}
