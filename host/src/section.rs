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

/// An amount of memory in bytes, such as `4 GiB` or `500 MB`; `None` when the text is empty.
///
/// # Errors
/// A text that is no amount of memory.
pub fn memory_amount(text: &str) -> Result<Option<u64>, String> {
    const KIB: f64 = 1024.0;
    const UNITS: [(&str, f64); 6] = [("kib", KIB), ("mib", KIB * KIB), ("gib", KIB * KIB * KIB), ("kb", 1e3), ("mb", 1e6), ("gb", 1e9)];
    if text.trim().is_empty() {
        return Ok(None);
    }
    let wrong = || format!("`{text}` is no amount of memory; write `4 GiB`, `500 MiB` or nothing");
    amount(text, &UNITS).map(Some).ok_or_else(wrong)
}

/// A number of bytes, with one of the units (in small letters, each with its bytes) or without any.
pub fn amount(text: &str, units: &[(&str, f64)]) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len()));
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        named => units.iter().find(|(name, _)| *name == named)?.1,
    };
    let bytes = number.trim().parse::<f64>().ok()? * unit;
    (bytes.is_finite() && bytes >= 0.0).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::memory_amount;

    #[test]
    fn amounts_of_memory_are_read() {
        for (text, want) in [("", None), ("4 GiB", Some(4 << 30)), ("500MB", Some(500_000_000)), ("1.5 kib", Some(1536)), ("7", Some(7))] {
            assert_eq!(memory_amount(text), Ok(want), "{text}");
        }
        for text in ["much", "4 GiBs", "-1 GiB", "nan"] {
            assert!(memory_amount(text).is_err(), "{text}");
        }
    }
}
