//! HTML's character references, read as Python's `html.unescape` and as ftfy read them.

use std::borrow::Cow;
use std::sync::LazyLock;

use ahash::AHashMap;

/// Names without `&`, most with `;`: `amp;`, `amp`, `hearts;`.
static NAMED: LazyLock<AHashMap<&str, String>> = LazyLock::new(|| {
    let letters = |codes: &str| codes.split(' ').filter_map(|code| u32::from_str_radix(code, 16).ok()).filter_map(char::from_u32).collect();
    let lines = include_str!("../../../assets/entities.tsv").lines();
    lines.filter_map(|line| line.split_once('\t')).map(|(name, codes)| (name, letters(codes))).collect()
});

/// ftfy's additions: a name of small letters may stand in capitals where that is no name of its own (`NTILDE;`).
static CAPITALS: LazyLock<AHashMap<String, String>> = LazyLock::new(|| {
    let small = NAMED.iter().filter(|(name, _)| name.ends_with(';') && **name == name.to_lowercase());
    let mut capitals = AHashMap::new();
    for (name, text) in small {
        let reference = format!("&{}", name.to_uppercase());
        if unescape(&reference) == reference {
            capitals.insert(name.to_uppercase(), text.to_uppercase());
        }
    }
    capitals
});

/// What browsers put in place of the numbers 0x80 to 0x9F: Windows-1252.
const C1: [u32; 32] = [
    0x20AC, 0x81, 0x201A, 0x192, 0x201E, 0x2026, 0x2020, 0x2021, 0x2C6, 0x2030, 0x160, 0x2039, 0x152, 0x8D, 0x17D, 0x8F, 0x90, 0x2018,
    0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x2DC, 0x2122, 0x161, 0x203A, 0x153, 0x9D, 0x17E, 0x178,
];

/// Replaces named and numbered references, with or without semicolon, by the longest name that fits, as HTML 5 says.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    replace(text, |rest| {
        if rest.starts_with('#') {
            let (number, length) = number(rest)?;
            return Some((of_number(number), length));
        }
        let ends = |letter: char| matches!(letter, '\t' | '\n' | '\u{c}' | ' ' | '<' | '&' | '#' | ';');
        let letters = rest.char_indices().take(32).take_while(|(_, letter)| !ends(*letter));
        let length = letters.last().map(|(at, letter)| at + letter.len_utf8())?;
        let whole = length + usize::from(rest[length..].starts_with(';'));
        if let Some(text) = NAMED.get(&rest[..whole]) {
            return Some((text.clone(), whole));
        }
        let shorter = rest[..whole].char_indices().map(|(at, _)| at).skip(2);
        let best = shorter.filter(|&at| NAMED.contains_key(&rest[..at])).last()?;
        Some((NAMED[&rest[..best]].clone(), best))
    })
}

/// ftfy's narrower form: a reference needs its semicolon, and a name has at most 24 ASCII letters and digits.
pub(super) fn unescape_strict(text: &str) -> Cow<'_, str> {
    replace(text, |rest| {
        let hash = usize::from(rest.starts_with('#'));
        let name = rest[hash..].bytes().take_while(u8::is_ascii_alphanumeric).count();
        let whole = hash + name + 1;
        if !(1..=24).contains(&name) || rest.as_bytes().get(hash + name) != Some(&b';') {
            return None;
        }
        if hash == 0 {
            let text = NAMED.get(&rest[..whole]).or_else(|| CAPITALS.get(&rest[..whole]))?;
            return Some((text.clone(), whole));
        }
        // `&#12ab;` holds a number, but not up to its semicolon.
        let (number, length) = number(rest)?;
        (length == whole).then(|| (of_number(number), whole)).filter(|(text, _)| text != ";")
    })
}

/// Calls `read` with what follows each `&`; it returns the replacement and how much of its argument that stands for.
fn replace(text: &str, read: impl Fn(&str) -> Option<(String, usize)>) -> Cow<'_, str> {
    let Some(first) = text.find('&') else { return Cow::Borrowed(text) };
    let mut out = text[..first].to_owned();
    let mut rest = &text[first..];
    while let Some(at) = rest.find('&') {
        out += &rest[..at];
        rest = &rest[at + 1..];
        match read(rest) {
            Some((text, length)) => {
                out += &text;
                rest = &rest[length..];
            }
            None => out.push('&'),
        }
    }
    Cow::Owned(out + rest)
}

/// The number of `#123;` or `#x7B`, and the length of the whole. Numbers beyond every character stay beyond.
fn number(rest: &str) -> Option<(u32, usize)> {
    let (start, radix) = if rest.starts_with("#x") || rest.starts_with("#X") { (2, 16) } else { (1, 10) };
    let digits = rest[start..].bytes().take_while(|byte| char::from(*byte).is_digit(radix)).count();
    if digits == 0 {
        return None;
    }
    let digit = |sum: u32, letter: char| sum.saturating_mul(radix).saturating_add(letter.to_digit(radix).unwrap_or(0));
    let end = start + digits;
    Some((rest[start..end].chars().fold(0, digit), end + usize::from(rest[end..].starts_with(';'))))
}

fn of_number(number: u32) -> String {
    match number {
        0 => "\u{fffd}".to_owned(),
        0x80..=0x9f => char::from_u32(C1[number as usize - 0x80]).map(String::from).unwrap_or_default(),
        // Numbers that HTML calls invalid and Python drops: controls and the code points that are no characters.
        0x1..=0x8 | 0xb | 0xe..=0x1f | 0x7f | 0xfdd0..=0xfdef => String::new(),
        _ if number <= 0x0010_ffff && number & 0xfffe == 0xfffe => String::new(),
        _ => char::from_u32(number).unwrap_or('\u{fffd}').to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_html_5_says() {
        for (text, expected, why) in [
            ("a &amp; b", "a & b", "a name with its semicolon"),
            ("a &amp b", "a & b", "old names need none"),
            ("&notit;", "¬it;", "the longest name that fits is `not`"),
            ("&notin;", "∉", "a longer name wins"),
            ("&#65;&#x42;&#X43", "ABC", "decimal and both forms of hexadecimal"),
            ("&#128;", "€", "Windows-1252 in place of a control"),
            ("&#0;&#xD800;&#x110000;&#99999999999;", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}", "no such character"),
            ("&#1;&#xFFFE;", "", "dropped"),
            ("&nosuch; &; & &#; &#x;", "&nosuch; &; & &#; &#x;", "nothing to replace"),
            ("&amp;lt;", "&lt;", "one pass is one pass"),
            ("&fjlig;", "fj", "a name of two characters"),
        ] {
            assert_eq!(unescape(text), expected, "{why}");
        }
    }

    #[test]
    fn the_strict_form_wants_semicolons_and_knows_capitals() {
        for (text, expected, why) in [
            ("&amp b", "&amp b", "no semicolon"),
            ("P&EACUTE;REZ", "PÉREZ", "a name in capitals"),
            ("BUNDESSTRA&SZLIG;E", "BUNDESSTRASSE", "a capital of two letters"),
            ("&ntilde;&Ntilde;&NTILDE;&nTILDE;", "ñÑÑ&nTILDE;", "mixed case is nothing"),
            ("&#12ab;", "&#12ab;", "the number ends before the semicolon"),
            ("&#x41;", "A", "a number"),
        ] {
            assert_eq!(unescape_strict(text), expected, "{why}");
        }
    }
}
