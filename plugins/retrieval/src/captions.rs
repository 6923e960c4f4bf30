//! The captions of a sample, in the layouts in which people store several of one picture.

use vlhub_sdk::serde_json;

/// How a sample came to its captions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// It has one.
    One,
    /// Its source gives a list.
    List,
    /// One text has a caption on each line.
    Lines,
    /// One text is a JSON list.
    Json,
}

/// The captions that `texts` stand for, none of them blank. With `split`, one text alone may stand for several: as a JSON list of strings
/// (published tables of Flickr30k), or as lines (CLIP_benchmark's shards for retrieval, which it takes apart with Python's `str.splitlines`).
pub(crate) fn captions(texts: Vec<String>, split: bool) -> (Vec<String>, Layout) {
    let blank = |text: &String| text.trim().is_empty();
    let mut texts: Vec<String> = texts.into_iter().filter(|text| !blank(text)).collect();
    if let ([text], true) = (&texts[..], split) {
        let listed = text.trim_start().starts_with('[').then(|| serde_json::from_str::<Vec<String>>(text.trim()).ok()).flatten();
        let (parts, layout) = match listed {
            Some(list) => (list, Layout::Json),
            None => (text.split(ends_line).map(str::to_owned).collect(), Layout::Lines),
        };
        let parts: Vec<String> = parts.into_iter().filter(|part| !blank(part)).collect();
        if layout == Layout::Json || parts.len() > 1 {
            return (parts, layout);
        }
    }
    let layout = if texts.len() > 1 { Layout::List } else { Layout::One };
    texts.shrink_to_fit();
    (texts, layout)
}

/// Where `str.splitlines` ends a line.
fn ends_line(letter: char) -> bool {
    matches!(letter, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_may_stand_for_several_captions() {
        use Layout::{Json, Lines, List, One};
        type Case = (&'static [&'static str], bool, &'static [&'static str], Layout, &'static str);
        let cases: [Case; 11] = [
            (&["a dog"], true, &["a dog"], One, "one"),
            (&["a dog\n"], true, &["a dog\n"], One, "a line end after the only line"),
            (&["a dog\na cat\r\n\r\nan owl\n"], true, &["a dog", "a cat", "an owl"], Lines, "lines, one of them blank"),
            (&["a dog\u{2028}a cat\u{85}an owl"], true, &["a dog", "a cat", "an owl"], Lines, "every line end of str.splitlines"),
            (&["a dog\na cat"], false, &["a dog\na cat"], One, "kept whole"),
            (&[" [\"a dog\", \"a\\ncat\"] "], true, &["a dog", "a\ncat"], Json, "a JSON list, of which no line is taken apart"),
            (&["[\"a dog\"]"], true, &["a dog"], Json, "a JSON list of one"),
            (&["[a dog]"], true, &["[a dog]"], One, "brackets alone are no list"),
            (&["[1, 2]"], true, &["[1, 2]"], One, "numbers are no captions"),
            (&["a dog\na cat", "an owl"], true, &["a dog\na cat", "an owl"], List, "a list of the source stays"),
            (&["", " \n", "a dog"], true, &["a dog"], One, "blank texts are none"),
        ];
        for (texts, split, wanted, layout, why) in cases {
            assert_eq!(captions(texts.iter().map(|&text| text.to_owned()).collect(), split), (owned(wanted), layout), "{why}");
        }
        assert_eq!(captions(vec!["[]".into()], true).0, [""; 0], "an empty list has none");
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }
}
