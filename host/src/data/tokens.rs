//! Text to ids and back: CLIP's own vocabulary, and any `tokenizer.json`.

mod bounds;
mod clip_bpe;
mod entities;
mod frame;
#[cfg(test)]
mod golden;
mod json;
mod merges;
mod mojibake;
mod options;
pub mod speed;
mod split;
mod tokenizer_config;

use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use vlhub_core::{Error, Result};

pub use options::{Clean, Mode, TokenizerOptions};

/// Turns captions into ids.
pub trait Tokenizer: Send + Sync + Debug {
    /// Longest list of ids that [`Tokenizer::encode`] returns.
    fn context(&self) -> usize;
    /// Number of ids: every id is below it.
    fn vocab(&self) -> usize;
    /// The id that fills a row after its end token.
    fn pad(&self) -> i64;
    /// Ids with start and end tokens, cut to `context` (the last id is then the end token), not padded.
    fn encode(&self, text: &str) -> Vec<i64>;
    /// Where the text's own ids are in what [`Tokenizer::encode`] returned: between the tokens that frame it.
    fn body(&self, ids: &[i64]) -> Range<usize>;
    /// Text of ids. Start tokens are left out, and everything from the first end token on.
    fn decode(&self, ids: &[i64]) -> String;
}

/// The tokenizer of OpenAI's CLIP and of most open_clip models: 49,408 ids, padding 0.
///
/// # Errors
/// A context without room for the start and the end token.
pub fn clip(context: usize) -> Result<Arc<dyn Tokenizer>> {
    clip_with(&TokenizerOptions { context, ..TokenizerOptions::default() })
}

/// [`clip`] with another cleaning: open_clip's `SimpleTokenizer`.
///
/// # Errors
/// A context without room for the start and the end token, or an option that only other tokenizers have.
pub fn clip_with(options: &TokenizerOptions) -> Result<Arc<dyn Tokenizer>> {
    let TokenizerOptions { context, clean, strip_sep, language, mode } = options;
    at_least_two(*context)?;
    for (given, name) in [(*strip_sep, "strip_sep"), (language.is_some(), "language"), (*mode != Mode::Standard, "mode")] {
        if given {
            return Err(Error::Options(format!("`{name}` means nothing to CLIP's own tokenizer; leave it out, or name a tokenizer.json")));
        }
    }
    Ok(Arc::new(clip_bpe::Clip::new(*context, clean.unwrap_or(Clean::Lower))?))
}

/// A tokenizer from a `tokenizer.json`, as every model on the hub has one, or from the folder that holds it.
///
/// # Errors
/// As [`from_file_with`].
pub fn from_file(path: &Path, context: usize) -> Result<Arc<dyn Tokenizer>> {
    from_file_with(path, &TokenizerOptions { context, ..TokenizerOptions::default() })
}

/// [`from_file`] with options: open_clip's `HFTokenizer`, and its `SigLipTokenizer` with [`Clean::Canonicalize`]. Which tokens pad, separate
/// and frame a text is also read from `tokenizer_config.json` and `special_tokens_map.json` beside the file, where they are.
///
/// # Errors
/// A file cannot be read or is not a tokenizer, a token that the options need is missing, or the context has no room for the tokens around a
/// text.
pub fn from_file_with(path: &Path, options: &TokenizerOptions) -> Result<Arc<dyn Tokenizer>> {
    at_least_two(options.context)?;
    if !path.is_dir() {
        return Ok(Arc::new(json::Json::read(path, options)?));
    }
    let file = path.join("tokenizer.json");
    if !file.exists() {
        return Err(Error::invalid(format!(
            "{} holds no tokenizer.json; write one with `AutoTokenizer.from_pretrained(…).save_pretrained(…)` of transformers",
            path.display()
        )));
    }
    Ok(Arc::new(json::Json::read(&file, options)?))
}

fn at_least_two(context: usize) -> Result<()> {
    if context < 2 {
        return Err(Error::Options(format!("a context of {context} has no room for the start and the end token; the least is 2")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};
    use serde_json::Value;

    use super::*;

    const GOLDEN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/tokenizer.json"));

    /// Cases in which we differ from the reference, each with the reason. The list must not grow.
    const KNOWN_DIFFERENCES: &[(&str, &str)] = &[];

    fn golden() -> Value {
        serde_json::from_str(GOLDEN).expect("the golden file is JSON")
    }

    fn ids(value: &Value) -> Vec<i64> {
        value.as_array().expect("a list").iter().map(|id| id.as_i64().expect("an id")).collect()
    }

    #[test]
    fn ids_equal_those_of_open_clip() {
        let (golden, clip) = (golden(), clip(77).expect("it builds"));
        let mut wrong = Vec::new();
        let mut different = 0;
        let cases = golden["cases"].as_array().expect("a list");
        assert!(cases.len() > 400, "{}", cases.len());
        for case in cases {
            let piece = case[0].as_str().expect("a text");
            let (text, expected) = match case[1].as_u64() {
                Some(times) => (piece.repeat(times as usize), ids(&case[2])),
                None => (piece.to_owned(), ids(&case[1])),
            };
            let found = clip.encode(&text);
            if found == expected {
                continue;
            }
            if KNOWN_DIFFERENCES.iter().any(|(known, _)| *known == text) {
                different += 1;
                continue;
            }
            wrong.push(format!("{piece:?} × {}\n  ours   {found:?}\n  theirs {expected:?}", text.len() / piece.len().max(1)));
        }
        assert!(wrong.is_empty(), "{} of {} differ ({}):\n{}", wrong.len(), cases.len(), golden["origin"], wrong.join("\n"));
        assert_eq!(different, KNOWN_DIFFERENCES.len(), "a known difference is none any more: take it out");
    }

    #[test]
    fn decoded_text_equals_that_of_open_clip() {
        let (golden, clip) = (golden(), clip(77).expect("it builds"));
        for case in golden["decoded"].as_array().expect("a list") {
            assert_eq!(clip.decode(&ids(&case[0])), case[1].as_str().expect("a text"), "{}", case[0]);
        }
        assert_eq!(clip.decode(&[49_406, 320, 1929, 49_407, 0, 0]), "a dog", "padding comes after the end");
        assert_eq!(clip.decode(&[-1, 320, 1_000_000]), "a", "an id that nobody has is nothing");
    }

    #[test]
    fn a_long_caption_is_cut_and_still_ends() {
        for context in [2, 3, 16, 77] {
            let found = clip(context).expect("it builds").encode(&"a dog and ".repeat(100));
            assert_eq!(found.len(), context);
            assert_eq!((found[0], found[context - 1]), (49_406, 49_407), "context {context}");
        }
        assert_eq!(clip(77).expect("it builds").encode("a dog"), [49_406, 320, 1929, 49_407], "a short one is not padded");
        let error = clip(1).expect_err("there is no room").to_string();
        assert!(error.contains("context of 1"), "{error}");
    }

    #[test]
    fn a_megabyte_costs_no_more_than_a_page() {
        let clip = clip(77).expect("it builds");
        clip.encode("’ &amp; warm");
        let least = |text: &str| {
            // Time of this thread alone: other tests run beside.
            let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a time");
            let once = |_| {
                let start = now();
                assert!(clip.encode(text).len() <= 77);
                now() - start
            };
            (0..3).map(once).min().expect("three times")
        };
        let kinds = "x|é&|Ã©|Ã | |&amp|&amp;|&#1;|<|\r\n|\u{a0}|\u{3000}\t|\0|\u{1b}[0m|字|😀|’ |e\u{301}|\u{301}|zq|a dog |9";
        let nested = format!("Ã©{}", "\u{a0}".repeat(12));
        for piece in kinds.split('|').chain([nested.as_str()]) {
            let (page, megabyte) = (least(&piece.repeat((1 << 14) / piece.len())), least(&piece.repeat((1 << 20) / piece.len())));
            // 64 times as long; a step that grows with the text would cost as much more, and a quadratic one 4096 times.
            assert!(megabyte < page * 16 + Duration::from_millis(100), "{piece:?}: {megabyte:?} for a megabyte, {page:?} for a page");
        }
    }

    /// A vocabulary of words, as BERT's, with `[CLS]` and `[SEP]` around every text.
    fn words() -> Value {
        serde_json::json!({
            "version": "1.0", "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
            "padding": {
                "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
                "pad_id": 5, "pad_type_id": 0, "pad_token": "[PAD]",
            },
            "added_tokens": [
                {"id": 3, "content": "[CLS]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
                {"id": 4, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
                {"id": 5, "content": "[PAD]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
            ],
            "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"}, "decoder": null,
            "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 4], "cls": ["[CLS]", 3]},
            "model": {
                "type": "WordLevel", "unk_token": "[UNK]",
                "vocab": {"a": 0, "dog": 1, "[UNK]": 2, "[CLS]": 3, "[SEP]": 4, "[PAD]": 5},
            },
        })
    }

    #[test]
    fn any_tokenizer_json_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, words().to_string()).expect("it is written");
        let tokens = from_file(&path, 6).expect("it is read");
        assert_eq!((tokens.context(), tokens.vocab(), tokens.pad()), (6, 6, 5));
        assert_eq!(tokens.encode("A dog barks"), [3, 0, 1, 2, 4], "neither the file's padding nor its cut");
        assert_eq!(tokens.encode("a a a a a a a"), [3, 0, 0, 0, 0, 4], "cut, with the end token last");
        assert_eq!(tokens.encode(""), [3, 4]);
        assert_eq!(tokens.decode(&[3, 0, 1, 4, 5, 5]), "a dog");
    }

    #[test]
    fn a_file_that_is_no_tokenizer_is_refused_by_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokenizer.json");
        let missing = from_file(&path, 77).expect_err("it is missing").to_string();
        assert!(missing.contains("tokenizer.json"), "{missing}");
        for text in ["", "{}", "[1, 2]", "{\"model\": {\"type\": \"NoSuch\"}}", "\u{0}\u{1}"] {
            std::fs::write(&path, text).expect("it is written");
            let error = from_file(&path, 77).expect_err("it is no tokenizer").to_string();
            assert!(error.contains("tokenizer.json"), "{text:?}: {error}");
        }
    }
}
