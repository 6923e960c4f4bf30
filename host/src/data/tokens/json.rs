//! Any tokenizer that comes as a `tokenizer.json`.

use std::fmt;
use std::path::Path;

use tokenizers::Tokenizer as Pipeline;
use vlhub_core::{Error, Result};

use super::{Tokenizer, bounded};

/// Characters (without white space) of a caption that are looked at, per id wanted.
const LETTERS_PER_ID: usize = 128;

pub(super) struct Json {
    pipeline: Pipeline,
    context: usize,
    pad: i64,
    /// What the file puts before and after every text.
    start: Vec<i64>,
    end: Option<i64>,
}

impl Json {
    pub(super) fn read(path: &Path, context: usize) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
        let no = |error: &dyn fmt::Display| Error::invalid(format!("{}: not a tokenizer.json that can be read: {error}", path.display()));
        let mut pipeline = Pipeline::from_bytes(bytes).map_err(|error| no(&error))?;
        let named = |name: &&str| pipeline.token_to_id(name);
        let pad = pipeline.get_padding().map(|padding| padding.pad_id);
        let pad = pad.or_else(|| ["<pad>", "[PAD]", "<|pad|>"].iter().find_map(named)).unwrap_or(0);
        // Cutting and padding are ours: a file's own length has nothing to do with the model that is trained.
        pipeline.with_padding(None);
        pipeline.with_truncation(None).map_err(|error| no(&error))?;
        let frame = pipeline.encode_fast("", true).map_err(|error| no(&error))?;
        let frame: Vec<i64> = frame.get_ids().iter().map(|id| i64::from(*id)).collect();
        let word = pipeline.encode_fast("a", true).map_err(|error| no(&error))?;
        // A frame of one id is an end if it also ends a text that is not empty.
        let end = frame.last().copied().filter(|last| word.get_ids().last().is_some_and(|id| i64::from(*id) == *last));
        let start = frame[..frame.len() - usize::from(end.is_some())].to_vec();
        Ok(Self { pipeline, context, pad: i64::from(pad), start, end })
    }
}

impl Tokenizer for Json {
    fn context(&self) -> usize {
        self.context
    }

    fn vocab(&self) -> usize {
        self.pipeline.get_vocab_size(true)
    }

    fn pad(&self) -> i64 {
        self.pad
    }

    fn encode(&self, text: &str) -> Vec<i64> {
        let text = bounded(text, LETTERS_PER_ID * self.context);
        let mut ids: Vec<i64> = match self.pipeline.encode_fast(text, true) {
            Ok(encoding) => encoding.get_ids().iter().map(|id| i64::from(*id)).collect(),
            Err(error) => {
                // A vocabulary without an entry for unknown words fails on them; the caption is then empty, and the log says so.
                tracing::warn!(%error, text = text.get(..80).unwrap_or(text), "the tokenizer cannot read a caption");
                self.start.iter().copied().chain(self.end).collect()
            }
        };
        if ids.len() > self.context {
            ids.truncate(self.context);
            if let (Some(last), Some(end)) = (ids.last_mut(), self.end) {
                *last = end;
            }
        }
        ids
    }

    fn decode(&self, ids: &[i64]) -> String {
        let ids = ids.iter().take_while(|id| Some(**id) != self.end || self.start.contains(id));
        let ids: Vec<u32> = ids.filter_map(|id| u32::try_from(*id).ok()).collect();
        self.pipeline.decode(&ids, true).unwrap_or_default()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a tokenizer.json, {} ids, context {}", self.vocab(), self.context)
    }
}
