//! Text cut into words, as the pattern of CLIP's tokenizer cuts it:
//! `<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+`, in any case.

use std::sync::LazyLock;

pub(super) const START: &str = "<start_of_text>";
pub(super) const END: &str = "<end_of_text>";
const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum CharacterKind {
    Letter,
    Number,
    /// White space, and U+0345.
    Space,
    /// Signs, marks, and what Unicode does not assign.
    Other,
}

/// Special tokens, contractions, runs of letters, single digits, and runs of other characters, without the white space between them.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|letter| kind(letter) == CharacterKind::Space);
        let first = rest.chars().next()?;
        let length = fixed(rest).unwrap_or_else(|| match kind(first) {
            CharacterKind::Number => first.len_utf8(),
            kind => run(rest, kind),
        });
        let (word, after) = rest.split_at(length);
        rest = after;
        Some(word)
    })
}

/// Length of the special token or contraction that the text begins with.
fn fixed(text: &str) -> Option<usize> {
    match text.as_bytes()[0] {
        b'<' => [START, END].iter().find_map(|token| in_any_case(text, token)),
        b'\'' => CONTRACTIONS.iter().find_map(|end| in_any_case(text, end)),
        _ => None,
    }
}

/// Length of `wanted` at the beginning of the text. `ſ` is a small letter of `S` too.
fn in_any_case(text: &str, wanted: &str) -> Option<usize> {
    let mut letters = text.chars();
    let is = |letter: char, wanted: char| letter.eq_ignore_ascii_case(&wanted) || (letter, wanted) == ('ſ', 's');
    wanted.chars().all(|wanted| letters.next().is_some_and(|letter| is(letter, wanted))).then(|| text.len() - letters.as_str().len())
}

/// Length of the run of characters of one kind that the text begins with.
fn run(text: &str, wanted: CharacterKind) -> usize {
    // Bytes of ASCII need no decoding.
    let ascii = text.bytes().take_while(|byte| byte.is_ascii() && kind(char::from(*byte)) == wanted).count();
    if text.as_bytes().get(ascii).is_none_or(u8::is_ascii) {
        return ascii;
    }
    text[ascii..].char_indices().find(|(_, letter)| kind(*letter) != wanted).map_or(text.len(), |(at, _)| ascii + at)
}

fn kind(letter: char) -> CharacterKind {
    match letter {
        'a'..='z' | 'A'..='Z' => CharacterKind::Letter,
        '0'..='9' => CharacterKind::Number,
        _ if letter.is_whitespace() => CharacterKind::Space,
        '\0'..='\x7f' => CharacterKind::Other,
        // In any case, this mark is a letter (its capital is `Ι`) and is none. Python's `regex` finds it neither as a letter nor as anything else.
        '\u{345}' => CharacterKind::Space,
        _ => {
            let after = RANGES.partition_point(|(start, _, _)| *start <= letter);
            let range = after.checked_sub(1).map(|at| RANGES[at]);
            range.filter(|(_, end, _)| letter <= *end).map_or(CharacterKind::Other, |(_, _, kind)| kind)
        }
    }
}

/// First and last character of each range of letters or numbers, in order. They are those of the Python package that open_clip uses, whose
/// Unicode is newer than that of Rust's libraries.
static RANGES: LazyLock<Vec<(char, char, CharacterKind)>> = LazyLock::new(|| {
    let letter = |code: &str| char::from_u32(u32::from_str_radix(code, 16).ok()?);
    let range = |line: &str| {
        let (kind, range) = line.split_once('\t')?;
        let (first, last) = range.split_once('\t')?;
        Some((letter(first)?, letter(last)?, if kind == "L" { CharacterKind::Letter } else { CharacterKind::Number }))
    };
    include_str!("../../../assets/letters.tsv").lines().filter_map(range).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_numbers_are_those_of_the_reference() {
        let golden = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/tokenizer.json"));
        let golden: serde_json::Value = serde_json::from_str(golden).expect("the golden file is JSON");
        for (name, wanted) in [("letters", CharacterKind::Letter), ("numbers", CharacterKind::Number)] {
            let bounds: Vec<u32> = serde_json::from_value(golden[name].clone()).expect("first and last of each range");
            for letter in ('\0'..=char::MAX).filter(|letter| *letter != '\u{345}') {
                // Of first and last of each range an odd number lies at or before what is inside one.
                let before = bounds.partition_point(|bound| *bound < u32::from(letter));
                let is_theirs = before % 2 == 1 || bounds.get(before) == Some(&u32::from(letter));
                assert_eq!(kind(letter) == wanted, is_theirs, "{letter:?} of {name}: {}", golden["origin"]);
            }
        }
    }

    #[test]
    fn a_mark_that_folds_to_a_letter_is_passed_over_as_in_python() {
        let words: Vec<_> = split("x\u{345}y !\u{345}? \u{345}'s").collect();
        assert_eq!(words, ["x", "y", "!", "?", "'s"]);
    }

    #[test]
    fn words_are_those_that_the_pattern_finds() {
        let pattern = r"(?i)<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+";
        let pattern = regex::Regex::new(pattern).expect("a pattern");
        let others = regex::Regex::new(r"\p{Cn}|\x{345}").expect("a class");
        let same = |text: &str| {
            // Without characters at which the two engines differ.
            let text = &others.replace_all(text, " ");
            let wanted: Vec<_> = pattern.find_iter(text).map(|found| found.as_str()).collect();
            assert_eq!(split(text).collect::<Vec<_>>(), wanted, "{text:?}");
        };
        let pieces = "it's |'S|'ſ|'RE|'Ve|'ll|''|'| <|<start_of_text>|<END_of_text>|<ſtart_of_text>|<start_of_tex|dog|Ã|é|字|e\u{301}|1|٣|½|Ⅷ|😀|\u{a0}|\u{1c}|\n|!";
        let pieces: Vec<&str> = pieces.split('|').collect();
        let mut random = 5_u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..6 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text += pieces[(random >> 33) as usize % pieces.len()];
            }
            same(&text);
        }
        // Each character alone between others.
        for block in (0..0x11_0000).collect::<Vec<u32>>().chunks(64) {
            same(&block.iter().filter_map(|code| char::from_u32(*code)).flat_map(|letter| ['a', letter, '!', letter]).collect::<String>());
        }
    }
}
