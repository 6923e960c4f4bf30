//! Any tokenizer that comes as a `tokenizer.json`: the ids of open_clip's `HFTokenizer`.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use tokenizers::{PaddingDirection, PostProcessor, Tokenizer as Pipeline, TruncationDirection, TruncationParams};
use vlhub_core::{Error, Result};

use super::bounds::bounded;
use super::options::{Clean, Mode, TokenizerOptions};
use super::tokenizer_config::TokenizerConfigs;
use super::{Tokenizer, frame};

/// Visible characters of a caption that are looked at, per id wanted.
const LETTERS_PER_ID: usize = 128;

/// Tokens that fill up, in files that do not say which does.
const PADS: [&str; 3] = ["<pad>", "[PAD]", "<|pad|>"];
/// Separators, in files that do not say which is.
const SEPARATORS: [&str; 2] = ["[SEP]", "</s>"];

pub(super) struct Json {
    pipeline: Pipeline,
    clean: Clean,
    context: usize,
    vocab: usize,
    pad: i64,
    /// What stands before and after every text.
    start: Vec<i64>,
    after: Vec<i64>,
    /// The last of them ends a text.
    end: Option<i64>,
    /// Fill up before the text.
    left: bool,
    /// The separator that becomes 0.
    stripped: Option<i64>,
    /// The start, end and class tokens of [`Mode::Clips`].
    clips: Option<[i64; 3]>,
}

impl Json {
    pub(super) fn read(path: &Path, options: &TokenizerOptions) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
        let no = |error: &dyn fmt::Display| Error::invalid(format!("{}: not a tokenizer.json that can be read: {error}", path.display()));
        let at = |error: Error| Error::invalid(format!("{}: {error}", path.display()));
        let mut pipeline = Pipeline::from_bytes(bytes).map_err(|error| no(&error))?;
        let beside = TokenizerConfigs::read(path.parent().unwrap_or(Path::new(".")))?;
        let padding = pipeline.get_padding().cloned();
        let in_file = padding.as_ref().map(|padding| matches!(padding.direction, PaddingDirection::Left));
        // Two classes of transformers fill up on the left where nothing else is written.
        let class = beside.text("tokenizer_class").unwrap_or_default();
        let usual = ["Gemma", "Llama"].iter().any(|start| class.starts_with(start));
        let left = side(&beside, "padding_side", in_file.unwrap_or(usual));
        let cut = pipeline.get_truncation().is_some_and(|cut| cut.direction == TruncationDirection::Left);
        let direction = if side(&beside, "truncation_side", cut) { TruncationDirection::Left } else { TruncationDirection::Right };
        let part = |part: &str, usual: &[&str]| -> Result<i64> {
            let named = beside.token(part).and_then(|token| pipeline.token_to_id(token));
            let found = named.or_else(|| usual.iter().find_map(|token| pipeline.token_to_id(token))).map(i64::from);
            found.ok_or_else(|| at(Error::invalid(format!("the tokenizer has no {part}; name it in `tokenizer_config.json` beside it"))))
        };
        let known = beside.token("pad_token").and_then(|token| pipeline.token_to_id(token)).map(i64::from);
        let known = known.or_else(|| padding.as_ref().map(|padding| i64::from(padding.pad_id)));
        let pad = known.map_or_else(|| part("pad_token", &PADS), Ok)?;
        let stripped = if options.strip_sep { Some(part("sep_token", &SEPARATORS)?) } else { None };
        let clips = match options.mode {
            Mode::Standard => None,
            Mode::Clips => Some([part("bos_token", &[])?, part("eos_token", &[])?, part("cls_token", &[])?]),
        };
        let vocab = pipeline.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        frame::reframe(&mut pipeline, &beside, options.language.as_deref()).map_err(at)?;
        // Padding and the length are ours: a file's own length has nothing to do with the model that is trained.
        pipeline.with_padding(None);
        pipeline.with_truncation(None).map_err(|error| no(&error))?;
        let context = options.context;
        let around = if clips.is_some() { 3 } else { pipeline.get_post_processor().map_or(0, |frame| frame.added_tokens(false)) };
        if context < around {
            return Err(Error::Options(format!("a context of {context} has no room for the {around} tokens that {} adds", path.display())));
        }
        let (start, after) = framed(&pipeline).map_err(|error| no(&error))?;
        if clips.is_none() {
            let cut = TruncationParams { max_length: context, direction, ..TruncationParams::default() };
            pipeline.with_truncation(Some(cut)).map_err(|error| no(&error))?;
        }
        let clean = options.clean.unwrap_or(Clean::Whitespace);
        let end = after.last().copied();
        let mut json = Self { pipeline, clean, context, vocab, pad, start, after, end, left, stripped, clips };
        json.pad = json.strip(json.pad);
        json.end = json.clips.map_or(json.end, |[_, end, _]| Some(end)).filter(|end| Some(*end) != json.stripped);
        Ok(json)
    }

    fn strip(&self, id: i64) -> i64 {
        if Some(id) == self.stripped { 0 } else { id }
    }

    /// Ids between the frame of the file, or without any in [`Mode::Clips`].
    fn ids(&self, text: &str) -> Vec<i64> {
        match self.pipeline.encode_fast(text, self.clips.is_none()) {
            Ok(encoding) => encoding.get_ids().iter().map(|id| i64::from(*id)).collect(),
            Err(error) => {
                // A vocabulary without an entry for unknown words fails on them; the caption is then empty, and the log says so.
                tracing::warn!(%error, text = text.get(..80).unwrap_or(text), "the tokenizer cannot read a caption");
                if self.clips.is_some() { Vec::new() } else { self.start.iter().chain(&self.after).copied().collect() }
            }
        }
    }
}

/// Whether the configuration says `left`; if it says nothing, `otherwise`.
fn side(beside: &TokenizerConfigs, key: &str, otherwise: bool) -> bool {
    beside.text(key).map_or(otherwise, |side| side == "left")
}

/// The ids before a text and those after it.
fn framed(pipeline: &Pipeline) -> tokenizers::Result<(Vec<i64>, Vec<i64>)> {
    let ids = |text| -> tokenizers::Result<Vec<i64>> {
        Ok(pipeline.encode_fast(text, true)?.get_ids().iter().map(|id| i64::from(*id)).collect())
    };
    let mut start = ids("")?;
    // What also begins a text that is not empty stands before it. A tokenizer that cannot read the letter tells nothing.
    let word = ids("a").unwrap_or_else(|_| start.clone());
    let before = start.iter().zip(&word).take_while(|(empty, word)| empty == word).count();
    let after = start.split_off(before);
    Ok((start, after))
}

impl Tokenizer for Json {
    fn context(&self) -> usize {
        self.context
    }

    fn vocab(&self) -> usize {
        self.vocab
    }

    fn pad(&self) -> i64 {
        self.pad
    }

    fn encode(&self, text: &str) -> Vec<i64> {
        let text = self.clean.apply(&bounded(text, LETTERS_PER_ID * self.context));
        let mut ids = self.ids(&bounded(&text, LETTERS_PER_ID * self.context));
        if let Some([start, end, class]) = self.clips {
            ids.truncate(self.context - 3);
            ids.insert(0, start);
            ids.push(end);
            ids.resize(self.context - 1, self.pad);
            ids.push(class);
        } else if self.left {
            let missing = self.context.saturating_sub(ids.len());
            ids.splice(0..0, std::iter::repeat_n(self.pad, missing));
        }
        ids.into_iter().map(|id| self.strip(id)).collect()
    }

    fn body(&self, ids: &[i64]) -> Range<usize> {
        if let Some([_, end, _]) = self.clips {
            let end = self.strip(end);
            return 1..ids.iter().skip(1).position(|id| *id == end).map_or(ids.len(), |at| at + 1);
        }
        let filled = if self.left { ids.iter().take_while(|id| **id == self.pad).count() } else { 0 };
        let start = (filled + self.start.len()).min(ids.len());
        start..ids.len().saturating_sub(self.after.len()).max(start)
    }

    fn decode(&self, ids: &[i64]) -> String {
        let ids = ids.iter().skip_while(|id| self.left && **id == self.pad);
        let ids = ids.take_while(|id| Some(**id) != self.end || self.start.contains(id));
        let ids: Vec<u32> = ids.filter_map(|id| u32::try_from(*id).ok()).collect();
        self.pipeline.decode(&ids, true).unwrap_or_default()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a tokenizer.json, {} ids, context {}", self.vocab(), self.context)
    }
}
