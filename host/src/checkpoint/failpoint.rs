//! Named places at which a test can make a save fail or the process die: `VLHUB_FAILPOINT="NAME=abort"` or `NAME=err`, with `@N` for the
//! N-th time it is passed, several separated by `;`. Compiled only into debug builds and with the feature `failpoints`.

use std::io;

/// Every failpoint, in the order of the protocol.
pub const NAMES: &[&str] = &[
    "save-begin",
    "after-temp-dir",
    "after-tensors",
    "after-config",
    "after-manifest",
    "after-temp-sync",
    "before-commit",
    "after-rename",
    "after-commit",
    "after-latest",
    "in-prune",
    "after-prune",
];

/// Dies or fails here when the environment says so.
#[cfg(any(debug_assertions, feature = "failpoints"))]
pub fn at(name: &str) -> io::Result<()> {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    static PASSED: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

    let Ok(plan) = std::env::var("VLHUB_FAILPOINT") else { return Ok(()) };
    let Some(action) = plan.split(';').filter_map(|part| part.trim().split_once('=')).find(|(at, _)| *at == name).map(|(_, action)| action)
    else {
        return Ok(());
    };
    // Without a number it happens every time: a disk that is full stays full.
    let (action, wanted) = match action.split_once('@') {
        Some((action, nth)) => (action, nth.parse::<u64>().ok()),
        None => (action, None),
    };
    let mut passed = PASSED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let count = passed.entry(name.to_owned()).or_default();
    *count += 1;
    let due = wanted.is_none_or(|nth| nth == *count);
    match action {
        "abort" if due => std::process::abort(),
        "err" if due => Err(io::Error::other(format!("failpoint `{name}`"))),
        _ => Ok(()),
    }
}

/// Nothing, in a release build.
#[cfg(not(any(debug_assertions, feature = "failpoints")))]
pub fn at(_name: &str) -> io::Result<()> {
    Ok(())
}
