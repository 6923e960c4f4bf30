//! What a tokenizer does to a text before and after it is cut into ids.

use serde::{Deserialize, Serialize};

use super::entities::unescape;
use super::mojibake::fix_text;

/// Options of a tokenizer, with the meaning of open_clip's `tokenizer_kwargs`, whose names are read too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizerOptions {
    /// Longest text, in ids, start and end included (`context_length`).
    #[serde(alias = "context_length")]
    pub context: usize,
    /// How a text is cleaned first; without it `lower` for CLIP's own tokenizer and `whitespace` for any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clean: Option<Clean>,
    /// Put id 0 in place of the separator, as CLIPA (arXiv 2305.07017) was trained (`strip_sep_token`).
    #[serde(alias = "strip_sep_token")]
    pub strip_sep: bool,
    /// The language of the texts, where each language has a token: `eng_Latn` of NLLB, `en_XX` of mBART.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// How ids are framed and padded (`tokenizer_mode`).
    #[serde(alias = "tokenizer_mode")]
    pub mode: Mode,
}

impl Default for TokenizerOptions {
    /// A context of 77, and nothing out of the ordinary.
    fn default() -> Self {
        Self { context: 77, clean: None, strip_sep: false, language: None, mode: Mode::Standard }
    }
}

/// How ids are framed and padded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As the tokenizer's own file says.
    #[default]
    Standard,
    /// As CLIPS (arXiv 2411.16828) was trained: between a start and an end token, padded to one less than the context, and with the class
    /// token as the last.
    Clips,
}

/// How a text is cleaned. Each way first mends wrongly decoded characters and reads HTML's references, twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Clean {
    /// One space between words.
    Whitespace,
    /// One space between words, and small letters.
    Lower,
    /// Small letters without ASCII's punctuation, one space between words, and `_` is a space: SigLIP.
    Canonicalize,
}

impl Clean {
    /// The cleaned text.
    pub fn apply(self, text: &str) -> String {
        // Each of the three gives the text back as it is where nothing in it could change.
        let mended = fix_text(text);
        let once = unescape(&mended);
        let twice = unescape(&once);
        match self {
            Self::Whitespace => words(&twice),
            Self::Lower => lower(words(&twice)),
            Self::Canonicalize => {
                let spaced = twice.replace('_', " ");
                let plain: String = spaced.chars().filter(|letter| !letter.is_ascii_punctuation()).collect();
                words(&lower(plain))
            }
        }
    }
}

/// Small letters.
fn lower(mut text: String) -> String {
    if text.is_ascii() {
        text.make_ascii_lowercase();
        return text;
    }
    text.to_lowercase()
}

/// The words with one space between them.
fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out += word;
    }
    out
}

/// White space as Python's `str.split` sees it: the four separators of ASCII count.
fn is_space(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '\u{1c}'..='\u{1f}')
}
