//! `{00000..00146}` and `{a,b}` in shard names, exactly as Python's `braceexpand` 0.1.7 expands them.

use vlhub_core::{Error, Result};

/// More names than this are a typing error, not a data set.
const MOST: usize = 1_000_000;

/// Every name that a pattern stands for.
///
/// # Errors
/// Braces that do not balance, or more than a million names.
pub fn expand(pattern: &str) -> Result<Vec<String>> {
    let characters: Vec<char> = pattern.chars().collect();
    let names = parse(&characters).map_err(|problem| {
        Error::invalid(match problem {
            BraceProblem::Unbalanced => {
                format!("the braces of `{pattern}` do not balance; write `\\{{` for a brace that is part of a name")
            }
            BraceProblem::TooMany => format!("`{pattern}` stands for more than {MOST} names"),
        })
    })?;
    Ok(names.iter().map(|name| unescape(name)).collect())
}

enum BraceProblem {
    Unbalanced,
    TooMany,
}

/// Product of the parts of a pattern.
fn parse(pattern: &[char]) -> Result<Vec<String>, BraceProblem> {
    let mut names = vec![String::new()];
    let (mut start, mut at, mut depth) = (0, 0, 0i64);
    while at < pattern.len() {
        match pattern[at] {
            '\\' => {
                at += 2;
                continue;
            }
            '{' => {
                if depth == 0 && at > start {
                    append(&mut names, &[pattern[start..at].iter().collect()])?;
                    start = at;
                }
                depth += 1;
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    let inner = &pattern[(start + 1).min(at)..at];
                    match expression(inner)? {
                        Some(choices) => append(&mut names, &choices)?,
                        None => {
                            let choices: Vec<String> = parse(inner)?.iter().map(|name| format!("{{{name}}}")).collect();
                            append(&mut names, &choices)?;
                        }
                    }
                    start = at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if depth != 0 {
        return Err(BraceProblem::Unbalanced);
    }
    if start < pattern.len() {
        append(&mut names, &[pattern[start..].iter().collect()])?;
    }
    Ok(names)
}

fn append(names: &mut Vec<String>, choices: &[String]) -> Result<(), BraceProblem> {
    if names.len().saturating_mul(choices.len()) > MOST {
        return Err(BraceProblem::TooMany);
    }
    *names = names.iter().flat_map(|name| choices.iter().map(move |choice| format!("{name}{choice}"))).collect();
    Ok(())
}

/// What stands between braces: a range, a list, or neither.
fn expression(inner: &[char]) -> Result<Option<Vec<String>>, BraceProblem> {
    let text: String = inner.iter().collect();
    let parts: Vec<&str> = text.split("..").collect();
    if let [first, last] | [first, last, _] = parts[..] {
        let step = parts.get(2).map_or(Some(1), |step| {
            let digits = step.strip_prefix('-').unwrap_or(step);
            whole(digits).filter(|_| !digits.starts_with('-')).map(|step| step.max(1))
        });
        if let Some(step) = step {
            if let (Some(from), Some(to)) = (whole(first), whole(last)) {
                return numbers(first, last, from, to, step).map(Some);
            }
            if let (Some(from), Some(to)) = (letter(first), letter(last)) {
                return Ok(Some(letters(from, to, step)));
            }
        }
    }
    list(inner)
}

fn whole(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let right = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    right.then(|| text.parse().ok()).flatten()
}

fn numbers(first: &str, last: &str, from: i64, to: i64, step: i64) -> Result<Vec<String>, BraceProblem> {
    let zero_led = |text: &str| (text.starts_with('0') || text.starts_with("-0")) && text != "0" && text != "-0";
    let width = if zero_led(first) || zero_led(last) { first.len().max(last.len()) } else { 0 };
    let count = (from.abs_diff(to) / step.unsigned_abs()).saturating_add(1);
    if count > MOST as u64 {
        return Err(BraceProblem::TooMany);
    }
    let direction = if from < to { step } else { -step };
    Ok((0..count as i64).map(|at| format!("{:0width$}", from + at * direction)).collect())
}

const ALPHABET: &[u8; 52] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn letter(text: &str) -> Option<usize> {
    let [byte] = text.as_bytes() else { return None };
    ALPHABET.iter().position(|letter| letter == byte)
}

fn letters(from: usize, to: usize, step: i64) -> Vec<String> {
    let name = |at: usize| char::from(ALPHABET[at]).to_string();
    let step = usize::try_from(step).unwrap_or(1);
    if from < to { (from..=to).step_by(step).map(name).collect() } else { (to..=from).rev().step_by(step).map(name).collect() }
}

fn list(inner: &[char]) -> Result<Option<Vec<String>>, BraceProblem> {
    let mut items = Vec::new();
    let (mut start, mut at, mut depth, mut commas) = (0, 0, 0i64, 0);
    while at < inner.len() {
        match inner[at] {
            '\\' => {
                at += 2;
                continue;
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.extend(parse(&inner[start..at])?);
                start = at + 1;
                commas += 1;
            }
            _ => {}
        }
        at += 1;
    }
    if depth != 0 || commas == 0 {
        return Ok(None);
    }
    items.extend(parse(&inner[start..])?);
    if items.len() > MOST { Err(BraceProblem::TooMany) } else { Ok(Some(items)) }
}

fn unescape(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut characters = name.chars();
    while let Some(character) = characters.next() {
        plain.push(if character == '\\' { characters.next().unwrap_or(character) } else { character });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_expand_as_python_does() {
        // `tests/golden/braces.py` wrote the file with braceexpand 0.1.7; null stands for its error.
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/braces.json");
        let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(file).expect("it is there")).expect("JSON");
        let cases = golden["cases"].as_object().expect("it is an object");
        assert!(cases.len() > 30, "the golden file was cut");
        for (pattern, expected) in cases {
            let got = expand(pattern).ok();
            let expected: Option<Vec<String>> = serde_json::from_value(expected.clone()).expect("a list or null");
            assert_eq!(got, expected, "{pattern}");
        }
    }

    #[test]
    fn a_million_names_are_enough() {
        for pattern in ["{0..99999999999}", "{0..9999}{0..9999}{0..9999}"] {
            let error = expand(pattern).expect_err(pattern).to_string();
            assert!(error.contains("more than 1000000 names"), "{error}");
        }
        assert!(expand("{a").expect_err("unbalanced").to_string().contains("do not balance"));
    }
}
