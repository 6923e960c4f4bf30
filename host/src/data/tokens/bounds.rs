//! The part of a long text that decides its first ids, so that a hostile megabyte costs no more than a page.
//!
//! A caption may be a whole page, of which a model reads some hundred tokens. The longest entry of a vocabulary and of HTML has some thirty
//! characters, so with a few thousand the first ids do not change.

use std::borrow::Cow;

use super::mojibake::is_control;

/// Blank characters that are kept at either end of a run of them: more than any rule of the cleaning looks at.
const KEPT: usize = 8;

/// The text up to its visible character of the number `limit`, and up to twice as many characters in all.
///
/// Blank characters (white space and controls that the cleaning drops) come in runs of any length. Of a long run the ends are kept, and
/// between them each character once: a line break ends a line all the same.
pub(super) fn bounded(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let (mut out, mut visible, mut kept) = (String::new(), 0, 0);
    let mut rest = text;
    while !rest.is_empty() && visible < limit && kept < 2 * limit {
        let blank = rest.find(|letter| !is_blank(letter)).unwrap_or(rest.len());
        kept += shorten(&rest[..blank], &mut out);
        rest = &rest[blank..];
        let word = rest.char_indices().take(limit - visible).find(|(_, letter)| is_blank(*letter));
        let word = first(&rest[..word.map_or(rest.len(), |(at, _)| at)], limit - visible);
        let letters = word.chars().count();
        (visible, kept) = (visible + letters, kept + letters);
        out += word;
        rest = &rest[word.len()..];
    }
    Cow::Owned(out)
}

/// The first `limit` characters.
fn first(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    text.char_indices().nth(limit).map_or(text, |(at, _)| &text[..at])
}

fn is_blank(letter: char) -> bool {
    letter.is_whitespace() || is_control(letter)
}

/// Appends a run of blank characters, shortened if it is long; returns how many characters that made.
fn shorten(run: &str, out: &mut String) -> usize {
    let head = first(run, KEPT);
    let tail = run.char_indices().rev().nth(KEPT - 1).map_or(0, |(at, _)| at).max(head.len());
    let mut seen: Vec<char> = head.chars().collect();
    let mut last = '\0';
    for letter in run[head.len()..tail].chars() {
        if letter != last && !seen.contains(&letter) {
            seen.push(letter);
        }
        last = letter;
    }
    out.extend(&seen);
    *out += &run[tail..];
    seen.len() + run[tail..].chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_left_as_it_is() {
        for text in ["", "a dog", "a\n\n      dog", "字字字"] {
            assert!(matches!(bounded(text, 16), Cow::Borrowed(same) if same == text), "{text:?}");
        }
    }

    #[test]
    fn a_long_text_ends_after_its_visible_characters_whatever_is_between_them() {
        assert_eq!(bounded(&"字".repeat(100), 5), "字".repeat(5));
        assert_eq!(bounded(&"a b ".repeat(100), 5), "a b a b a");
        let far = |blank: &str| bounded(&format!("a{}dog", blank.repeat(10_000)), 16).into_owned();
        for blank in [" ", "\0", "\u{3000}", "\u{feff}\t", "\r\n"] {
            let found = far(blank);
            assert!(found.starts_with('a') && found.ends_with("dog") && found.chars().count() < 30, "{found:?}");
        }
        assert_eq!(far("\0"), format!("a{}dog", "\0".repeat(16)));
        let line = bounded(&format!("a{0}\n{0}dog", " ".repeat(1000)), 16).into_owned();
        assert_eq!(line, format!("a{0}\n{0}dog", " ".repeat(KEPT)), "a line ends where it did");
        assert!(bounded(&format!("é{}", "\u{a0}".repeat(12)).repeat(10_000), 100).chars().count() < 250, "blanks count too in the end");
    }
}
