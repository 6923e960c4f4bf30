//! CLIP's byte-pair encoding (Radford et al., 2021): the ids of open_clip's `SimpleTokenizer`.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::ops::Range;

use regex::Regex;
use tokenizers::Model;
use tokenizers::models::bpe::{BPE, Vocab};
use vlhub_core::{Error, Result};

use super::options::Clean;
use super::{Tokenizer, bounded};

const START: &str = "<start_of_text>";
const END: &str = "<end_of_text>";
/// Of the 262,144 merges in the file CLIP uses the first that fill 49,152 ids with the 256 bytes (twice) and two more.
const MERGES: usize = 49_152 - 256 - 2;
/// One word as the vocabulary ends it.
const WORD_END: &str = "</w>";
/// Special tokens, contractions, words, single digits, runs of other characters.
const WORDS: &str = r"(?i)<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+";
/// Characters (without white space) of a caption that are looked at, per id wanted. No entry has more than 22, no named reference 34.
const LETTERS_PER_ID: usize = 128;

pub(super) struct Clip {
    bpe: BPE,
    words: Regex,
    /// The character that stands for each byte in the vocabulary.
    letters: [char; 256],
    clean: Clean,
    context: usize,
    start: i64,
    end: i64,
}

impl Clip {
    pub(super) fn new(context: usize, clean: Clean) -> Result<Self> {
        let broken = |error: &dyn fmt::Display| Error::invalid(format!("the vocabulary of CLIP inside this program is damaged: {error}"));
        let letters = letters();
        let single = bytes_in_order().map(|byte| letters[usize::from(byte)].to_string());
        let mut entries: Vec<String> = single.collect();
        entries.extend_from_within(..);
        entries[256..].iter_mut().for_each(|entry| *entry += WORD_END);
        let packed = include_bytes!("../../../assets/bpe_simple_vocab_16e6.txt.gz");
        let mut merges = Vec::with_capacity(MERGES);
        // The first line is a heading.
        for line in BufReader::new(flate2::read::GzDecoder::new(packed.as_slice())).lines().skip(1).take(MERGES) {
            let line = line.map_err(|error| broken(&error))?;
            let (left, right) = line.split_once(' ').ok_or_else(|| broken(&format!("line `{line}`")))?;
            entries.push(format!("{left}{right}"));
            merges.push((left.to_owned(), right.to_owned()));
        }
        let start = entries.len() as i64;
        let vocab: Vocab = entries.into_iter().chain([START.to_owned(), END.to_owned()]).zip(0..).collect();
        let bpe = BPE::builder().vocab_and_merges(vocab, merges).end_of_word_suffix(WORD_END.to_owned()).build();
        let bpe = bpe.map_err(|error| broken(&error))?;
        let words = Regex::new(WORDS).map_err(|error| broken(&error))?;
        Ok(Self { bpe, words, letters, clean, context, start, end: start + 1 })
    }

    /// Appends the ids of one word.
    fn word(&self, word: &str, ids: &mut Vec<i64>) {
        match word {
            START => ids.push(self.start),
            END => ids.push(self.end),
            _ => {
                let spelt: String = word.bytes().map(|byte| self.letters[usize::from(byte)]).collect();
                // Every byte has an entry, so there is no unknown word on which this could fail.
                let tokens = self.bpe.tokenize(&spelt).unwrap_or_default();
                ids.extend(tokens.iter().map(|token| i64::from(token.id)));
            }
        }
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
        let text = self.clean.apply(bounded(text, limit));
        let mut ids = vec![self.start];
        for word in self.words.find_iter(&text) {
            self.word(bounded(word.as_str(), limit), &mut ids);
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
        let ids = ids.iter().filter(|id| **id != self.start).take_while(|id| **id != self.end);
        let entries = ids.filter_map(|id| self.bpe.id_to_token(u32::try_from(*id).ok()?)).collect::<String>();
        let byte = |letter: char| self.letters.iter().position(|known| *known == letter).map(|byte| byte as u8);
        let bytes: Vec<u8> = entries.chars().filter_map(byte).collect();
        String::from_utf8_lossy(&bytes).replace(WORD_END, " ").trim_end().to_owned()
    }
}

impl fmt::Debug for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CLIP's byte-pair encoding, {} ids, context {}", self.vocab(), self.context)
    }
}

/// Bytes in the order of their ids: those that have a visible character in Latin-1 first.
fn bytes_in_order() -> impl Iterator<Item = u8> {
    (0..=255).filter(|byte| is_visible(*byte)).chain((0..=255).filter(|byte| !is_visible(*byte)))
}

fn is_visible(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// Visible bytes stand for themselves, the others for U+0100 and the following.
fn letters() -> [char; 256] {
    let mut letters = ['\0'; 256];
    let mut others = '\u{100}'..;
    for byte in bytes_in_order() {
        let other = if is_visible(byte) { None } else { others.next() };
        letters[usize::from(byte)] = other.unwrap_or(char::from(byte));
    }
    letters
}
