//! CLIP's byte-pair encoding (Radford et al., 2021): the ids of open_clip's `SimpleTokenizer`.

use std::fmt;
use std::ops::Range;

use vlhub_core::Result;

use super::Tokenizer;
use super::bounds::bounded;
use super::merges::Vocabulary;
use super::options::Clean;
use super::split::{END, START, split};

/// Visible characters of a caption that are looked at, per id wanted. No entry has more than 22, no named reference 34.
const LETTERS_PER_ID: usize = 128;

pub(super) struct Clip {
    vocabulary: Vocabulary,
    clean: Clean,
    context: usize,
    start: i64,
    end: i64,
}

impl Clip {
    pub(super) fn new(context: usize, clean: Clean) -> Result<Self> {
        let vocabulary = Vocabulary::new()?;
        let start = vocabulary.len() as i64;
        Ok(Self { vocabulary, clean, context, start, end: start + 1 })
    }
}

impl Tokenizer for Clip {
    fn context(&self) -> usize {
        self.context
    }

    fn vocab(&self) -> usize {
        self.end as usize + 1
    }

    fn pad(&self) -> i64 {
        0
    }

    fn encode(&self, text: &str) -> Vec<i64> {
        let limit = LETTERS_PER_ID * self.context;
        let text = self.clean.apply(&bounded(text, limit));
        // A word and the space after it are six bytes of English.
        let mut ids = Vec::with_capacity(self.context.min(text.len() / 4 + 4));
        ids.push(self.start);
        for word in split(&text) {
            match word {
                START => ids.push(self.start),
                END => ids.push(self.end),
                // No entry has more bytes than this has for each id.
                _ => self.vocabulary.encode(&word.as_bytes()[..word.len().min(limit)], &mut ids),
            }
            if ids.len() >= self.context {
                break;
            }
        }
        ids.truncate(self.context - 1);
        ids.push(self.end);
        ids
    }

    fn body(&self, ids: &[i64]) -> Range<usize> {
        1..ids.len() - 1
    }

    fn decode(&self, ids: &[i64]) -> String {
        let ids = ids.iter().copied().filter(|id| *id != self.start).take_while(|id| *id != self.end);
        self.vocabulary.decode(ids).trim_end().to_owned()
    }
}

impl fmt::Debug for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CLIP's byte-pair encoding, {} ids, context {}", self.vocab(), self.context)
    }
}
