//! Text that fits a terminal.

use std::path::Path;

use comfy_table::Table;
use vlhub_core::Result;

/// Width of the output where nothing tells it, for instance in a pipe, in characters.
const DEFAULT_WIDTH: usize = 80;
/// A narrower terminal is written for as if it had this many characters.
const LEAST_WIDTH: usize = 40;

/// Characters of a line: `COLUMNS` where it is set, otherwise the terminal's, otherwise 80.
pub fn width() -> usize {
    let set = std::env::var("COLUMNS").ok().and_then(|text| text.trim().parse::<usize>().ok()).filter(|columns| *columns > 0);
    set.or_else(|| Table::new().width().map(usize::from)).unwrap_or(DEFAULT_WIDTH).max(LEAST_WIDTH)
}

/// Prints the loss curve and the results of the run in a folder, if it has any, and an empty line.
///
/// # Errors
/// It is not the folder of a run, or one of its files cannot be read.
pub fn show_run(folder: &Path) -> Result<()> {
    let picture = crate::run::picture(folder, width())?;
    if !picture.is_empty() {
        say!("{picture}\n");
    }
    Ok(())
}

/// The words of `text` in lines of at most `width` characters; every line but the first begins with `indent` spaces, and the first has as
/// much less room. A word that is longer than a line has a line of its own.
pub fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let room = width.saturating_sub(indent).max(1);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join(&format!("\n{:indent$}", ""))
}

/// At most `width` characters of `text`, cut between words, with `…` where something was left out.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    let whole_words =
        kept.rfind(' ').filter(|at| *at > 0).map_or(kept.as_str(), |at| kept[..at].trim_end_matches([',', ';', ':', '.', '(', ' ']));
    format!("{whole_words}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_and_none_is_lost() {
        let text = "one two three fourteen-letter five";
        for (width, indent, wanted, why) in [
            (80, 4, "one two three fourteen-letter five", "it fits"),
            (15, 0, "one two three\nfourteen-letter\nfive", "to the last character"),
            (17, 2, "one two three\n  fourteen-letter\n  five", "lines after the first are indented"),
            (5, 0, "one\ntwo\nthree\nfourteen-letter\nfive", "a long word stays whole"),
            (0, 9, "one\n         two\n         three\n         fourteen-letter\n         five", "no room at all"),
        ] {
            assert_eq!(wrapped(text, width, indent), wanted, "{why}");
        }
        assert_eq!(wrapped("  \n ", 9, 0), "");
    }

    #[test]
    fn what_is_cut_says_so() {
        for (text, width, wanted, why) in [
            ("a short text", 12, "a short text", "it fits to the last character"),
            ("a short text", 11, "a short…", "between words"),
            ("one, two", 6, "one…", "without the comma"),
            ("äöüßéè", 4, "äöü…", "characters count, not bytes"),
        ] {
            assert_eq!(cut(text, width), wanted, "{why}");
        }
    }
}
