//! What a table of a run file declares about itself, beside its options.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A table of a run file that the host owns. Whoever adds an option writes its default, its range and whether it decides a result here, in the
/// file that uses it.
pub trait Section: Default + Serialize + DeserializeOwned {
    /// Its name in a run file, such as `train`; empty for the top level.
    const NAME: &'static str;

    /// Options that never change a number that a run computes: a run may be resumed with other values of these.
    const NEVER_DECIDE: &'static [&'static str] = &[];

    /// Options that are out of range: the key within the table, and what is wrong.
    fn check(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// The problems among `(wrong, key, message)`.
pub fn out_of_range(checks: &[(bool, &'static str, &'static str)]) -> Vec<(&'static str, String)> {
    checks.iter().filter(|(wrong, ..)| *wrong).map(|(_, key, message)| (*key, (*message).to_owned())).collect()
}
