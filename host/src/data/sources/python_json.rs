//! JSON as Python's `json` module writes it: with `NaN`, `Infinity` and `-Infinity`, which JSON does not have.

use serde_json::Value;

/// Parses JSON. `NaN`, `Infinity` and `-Infinity` are read as `null`: JavaScript writes them so, and a caption or a column that is not a number
/// is none.
///
/// # Errors
/// What is no JSON in Python either.
pub fn parse(text: &str) -> serde_json::Result<Value> {
    // Nearly every text is JSON, and is not copied.
    serde_json::from_str(text).or_else(|error| match without_nan(text) {
        Some(text) => serde_json::from_str(&text),
        None => Err(error),
    })
}

/// The text with `null` for each of the three words outside of strings; `None` when there is none of them.
fn without_nan(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut found = false;
    while let Some(at) = rest.find(['"', 'N', 'I', '-']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let word = ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| from.starts_with(word));
        let length = match word {
            Some(word) => {
                found = true;
                out.push_str("null");
                rest = &from[word.len()..];
                continue;
            }
            None if from.starts_with('"') => string_length(from),
            None => 1,
        };
        out.push_str(&from[..length]);
        rest = &from[length..];
    }
    out.push_str(rest);
    found.then_some(out)
}

/// Bytes of the string at the beginning of `text`, its quotes included; all of it when the string does not end.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_python_writes_is_read() {
        for (text, expected, why) in [
            (r#"{"a": NaN, "b": [Infinity, -Infinity, -1]}"#, json!({"a": null, "b": [null, null, -1]}), "the three words"),
            (r#"{"a": "NaN \" NaN", "NaN": NaN}"#, json!({"a": "NaN \" NaN", "NaN": null}), "words in strings are text"),
            (r#"{"a": "é\\", "b": NaN}"#, json!({"a": "é\\", "b": null}), "a backslash before a quote"),
            ("NaN", json!(null), "alone"),
            (r#"{"a": 1}"#, json!({"a": 1}), "plain JSON"),
        ] {
            assert_eq!(parse(text).expect(why), expected, "{why}");
        }
        for text in ["{", r#"{"a": nan}"#, r#"{"a": Na}"#, r#"{"a": "open}"#, "-"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
