//! Mends text that was decoded wrongly, with the rules and the results of ftfy 6.3.1 (`fix_text` with its defaults), which CLIP's tokenizer
//! applies before anything else. The rules stand in `assets/mojibake.json`.

use std::borrow::Cow;
use std::sync::LazyLock;

use ahash::AHashMap;
use regex::{Regex, bytes};
use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;

use super::entities::unescape_strict;

/// A single-byte character set.
#[derive(Deserialize)]
struct Charset {
    name: String,
    /// What byte 0x1A stands for: ftfy's "sloppy" sets keep a lost character there.
    substitute: char,
    /// Bytes 0x80 to 0xFF.
    high: String,
    #[serde(skip)]
    bytes: AHashMap<char, u8>,
}

#[derive(Deserialize)]
struct Rules {
    bad: String,
    detector: String,
    detector_not_after: String,
    altered_utf8: String,
    lossy_utf8: String,
    charsets: Vec<Charset>,
    replacements: AHashMap<char, String>,
}

struct Mender {
    /// Pairs and triples of characters that people do not write.
    bad: Regex,
    /// UTF-8 that was read as a single-byte set, as a whole.
    detector: Regex,
    not_after: Regex,
    altered: bytes::Regex,
    lossy: bytes::Regex,
    escapes: Regex,
    charsets: Vec<Charset>,
    replacements: AHashMap<char, String>,
    /// Windows-1252 for the bytes 0x80 to 0x9F.
    c1: Vec<char>,
}

static MENDER: LazyLock<Mender> = LazyLock::new(|| {
    let rules: Rules = serde_json::from_str(include_str!("../../../assets/mojibake.json")).expect("the rules are part of the program");
    let text = |pattern: &str| Regex::new(pattern).expect("the rules are part of the program");
    let raw = |pattern: &str| bytes::Regex::new(&format!("(?-u){pattern}")).expect("the rules are part of the program");
    let mut charsets = rules.charsets;
    for set in &mut charsets {
        set.bytes = (0u8..0x80).map(|byte| (char::from(byte), byte)).filter(|(_, byte)| *byte != 0x1a).collect();
        set.bytes.insert(set.substitute, 0x1a);
        set.bytes.extend(set.high.chars().zip(0x80u8..=0xff));
    }
    let c1 = charsets.iter().find(|set| set.name == "sloppy-windows-1252").map(|set| set.high.chars().take(32).collect());
    Mender {
        bad: text(&rules.bad),
        detector: text(&rules.detector),
        not_after: text(&format!("^{}", rules.detector_not_after)),
        altered: raw(&rules.altered_utf8),
        lossy: raw(&rules.lossy_utf8),
        escapes: text(r"\x1b\[[\d;]*[a-zA-Z]"),
        charsets,
        replacements: rules.replacements,
        c1: c1.unwrap_or_default(),
    }
});

/// Mends each line by itself.
pub(super) fn fix_text(text: &str) -> Cow<'_, str> {
    // Nothing below changes such text.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\n') && byte != b'&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut html = false;
    for line in text.split_inclusive('\n') {
        // A `<` says that this is HTML, in which references mean themselves; it holds for the lines that follow.
        html |= line.contains('<');
        out += &fix_line(line, !html);
    }
    Cow::Owned(out)
}

fn fix_line(line: &str, references: bool) -> String {
    let mut text = line.to_owned();
    // Each round undoes one layer of damage. The reference has no bound; text with more than fifty layers is an attack.
    for _ in 0..50 {
        let mut next = if references { unescape_strict(&text).into_owned() } else { text.clone() };
        if !next.is_ascii() {
            next = fix_characters(&fix_encoding(next));
        }
        next = next.replace("\r\n", "\n").replace(['\r', '\u{2028}', '\u{2029}', '\u{85}'], "\n");
        next = MENDER.escapes.replace_all(&next, "").into_owned();
        next.retain(|letter| !is_control(letter));
        if !next.is_ascii() {
            next = next.nfc().collect();
        }
        if next == text {
            break;
        }
        text = next;
    }
    text
}

/// Controls that carry no meaning; white space, joiners and direction marks stay.
pub(super) fn is_control(letter: char) -> bool {
    let ascii = matches!(letter, '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}');
    ascii || matches!(letter, '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}')
}

/// C1 controls as Windows-1252, Latin ligatures as letters, full and half width as usual, curly quotes as straight ones.
fn fix_characters(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let straight = |letter| match letter {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        _ => letter,
    };
    for letter in text.chars().map(c1_to_1252) {
        match MENDER.replacements.get(&letter) {
            Some(text) => out.extend(text.chars().map(straight)),
            None => out.push(straight(letter)),
        }
    }
    out
}

fn c1_to_1252(letter: char) -> char {
    match letter {
        '\u{80}'..='\u{9f}' => MENDER.c1[letter as usize - 0x80],
        _ => letter,
    }
}

fn fix_encoding(mut text: String) -> String {
    while let Some(next) = fix_encoding_once(&text).filter(|next| *next != text) {
        text = next;
    }
    text
}

/// Undoes one wrong decoding; `None` if the text looks as if it was meant so.
fn fix_encoding_once(text: &str) -> Option<String> {
    if text.is_ascii() || !MENDER.bad.is_match(text) {
        return None;
    }
    let mut latin = false;
    for set in &MENDER.charsets {
        let Some(bytes) = text.chars().map(|letter| set.bytes.get(&letter).copied()).collect::<Option<Vec<u8>>>() else { continue };
        latin |= set.name == "latin-1";
        if let Some(fixed) = as_utf8(bytes, &set.name) {
            return Some(fixed);
        }
    }
    let fixed = fix_parts(text);
    if fixed != text {
        return Some(fixed);
    }
    // Latin-1 that was meant to be Windows-1252, unless a byte means nothing there; then control by control.
    let undefined = |letter| matches!(letter, '\u{81}' | '\u{8d}' | '\u{8f}' | '\u{90}' | '\u{9d}');
    if latin && !text.contains(undefined) {
        let fixed: String = text.chars().map(c1_to_1252).collect();
        if fixed != text {
            return Some(fixed);
        }
    }
    Some(text.chars().map(c1_to_1252).collect())
}

/// Bytes as UTF-8, after putting back what is often lost on the way: no-break spaces and, in the sloppy sets, whole characters.
fn as_utf8(mut bytes: Vec<u8>, set: &str) -> Option<String> {
    if set != "macroman" && MENDER.altered.is_match(&bytes) {
        bytes = restore_space(&bytes);
    }
    if set.starts_with("sloppy") {
        bytes = MENDER.lossy.replace_all(&bytes, "\u{fffd}".as_bytes()).into_owned();
    }
    if bytes.contains(&0xed) || bytes.contains(&0xc0) {
        bytes = plain_utf8(&bytes);
    }
    String::from_utf8(bytes).ok()
}

/// Puts byte A0 back where a program wrote a space for it. `à` as a word keeps its space, but for the Portuguese words that begin with it.
fn restore_space(bytes: &[u8]) -> Vec<u8> {
    let mut grave = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let word = |end: &[u8]| rest[2..].starts_with(end);
        if rest.starts_with(b"\xc3 ") && ![b" ".as_slice(), b"quele", b"quela", b"quilo", b"s "].into_iter().any(word) {
            grave.extend(b"\xc3\xa0 ");
            at += 2;
        } else {
            grave.push(bytes[at]);
            at += 1;
        }
    }
    let space = |found: &bytes::Captures<'_>| found[0].iter().map(|&byte| if byte == b' ' { 0xa0 } else { byte }).collect::<Vec<_>>();
    MENDER.altered.replace_all(&grave, space).into_owned()
}

/// CESU-8 (surrogates, three bytes each) and Java's two-byte NUL as UTF-8.
fn plain_utf8(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at..] {
            [0xc0, 0x80, ..] => {
                out.push(0);
                at += 2;
            }
            [0xed, a @ 0xa0..=0xaf, b @ 0x80..=0xbf, 0xed, c @ 0xb0..=0xbf, d @ 0x80..=0xbf, ..] => {
                let bits = |byte: u8, mask: u8, shift: u32| u32::from(byte & mask) << shift;
                let code = bits(a, 0x0f, 16) + bits(b, 0x3f, 10) + bits(c, 0x0f, 6) + bits(d, 0x3f, 0) + 0x1_0000;
                out.extend(char::from_u32(code).unwrap_or('\u{fffd}').to_string().bytes());
                at += 6;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

/// Mends the stretches that look like UTF-8 read wrongly inside text that does not.
fn fix_parts(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut done, mut from) = (0, 0);
    while let Some(found) = MENDER.detector.find_at(text, from) {
        // The pattern must not follow a character that could have been part of the garble before it.
        let before = text[..found.start()].chars().next_back().map(|letter| letter.to_string()).unwrap_or_default();
        if MENDER.not_after.is_match(&before) {
            from = found.start() + text[found.start()..].chars().next().map_or(1, char::len_utf8);
            continue;
        }
        let part = found.as_str();
        out += &text[done..found.start()];
        if part.len() < text.len() && MENDER.bad.is_match(part) {
            out += &fix_encoding(part.to_owned());
        } else {
            out += part;
        }
        (done, from) = (found.end(), found.end());
    }
    out + &text[done..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_undone_and_good_text_is_left_alone() {
        for (text, expected, why) in [
            ("âœ” No problems", "✔ No problems", "UTF-8 read as Windows-1252"),
            ("sÃ³", "só", "UTF-8 read as Latin-1"),
            ("voilÃ le travail", "voilà le travail", "a lost no-break space"),
            ("â€œ like this â€\u{fffd}", "\" like this \u{fffd}", "a lost character"),
            ("ＬＯＵＤ　ＮＯＩＳＥＳ", "LOUD NOISES", "full width"),
            ("ﬂuﬃeﬆ", "fluffiest", "ligatures"),
            ("\u{1b}[36;44mblue\u{1b}[0m", "blue", "a terminal's colours"),
            ("It’s “fine”", "It's \"fine\"", "curly quotes"),
            ("a&lt;b&hellip;", "a<b…", "references"),
            ("<b>a&lt;b", "<b>a&lt;b", "references in HTML stay"),
            ("e\u{301}", "é", "composed"),
            ("café à la crème", "café à la crème", "nothing is wrong with it"),
            ("ÅÄÖ", "ÅÄÖ", "nor with this"),
        ] {
            assert_eq!(fix_text(text), expected, "{why}");
        }
    }
}
