//! CLIP's vocabulary, and the byte-pair encoding of one word with it.
//!
//! Nine words of ten in a caption are entries of the vocabulary, which one look into a table finds. Others are merged pair by pair, in time
//! n log n. Nothing is remembered between words, so threads share one vocabulary without a lock, and no text makes it grow.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::io::{BufRead, BufReader};

use ahash::AHashMap;
use vlhub_core::{Error, Result};

/// Of the 262,144 merges in the file CLIP uses the first that fill 49,152 ids with the 256 bytes (twice) and two more.
const MERGES: usize = 49_152 - 256 - 2;
/// The end of a word, as the vocabulary writes it.
const WORD_END: &str = "</w>";

pub(super) struct Vocabulary {
    /// The bytes of each id; where it ends a word, with `</w>` behind them.
    entries: Vec<Vec<u8>>,
    /// Ids of the entries that are whole words, without their `</w>`.
    words: AHashMap<Vec<u8>, u32>,
    /// The id of a single byte within a word; as the last of a word it is 256 more.
    bytes: [u32; 256],
    /// The id of two neighbours as one. The lower it is, the earlier they are merged.
    merges: AHashMap<(u32, u32), u32>,
}

impl Vocabulary {
    /// The one that is part of the program.
    pub(super) fn new() -> Result<Self> {
        let broken = |error: &dyn fmt::Display| Error::invalid(format!("the vocabulary of CLIP inside this program is damaged: {error}"));
        let letters = letters();
        let bytes_of = |text: &str| -> Option<Vec<u8>> { text.chars().map(|letter| letters.get(&letter).copied()).collect() };
        let mut entries: Vec<Vec<u8>> = bytes_in_order().map(|byte| vec![byte]).collect();
        entries.extend_from_within(..);
        entries[256..].iter_mut().for_each(|entry| entry.extend(WORD_END.bytes()));
        let mut ids: AHashMap<Vec<u8>, u32> = entries.iter().cloned().zip(0..).collect();
        let mut merges = AHashMap::with_capacity(MERGES);
        let packed = include_bytes!("../../../assets/bpe_simple_vocab_16e6.txt.gz");
        // The first line is a heading.
        for line in BufReader::new(flate2::read::GzDecoder::new(packed.as_slice())).lines().skip(1).take(MERGES) {
            let line = line.map_err(|error| broken(&error))?;
            let halves = line.split_once(' ').and_then(|(left, right)| Some((bytes_of(left)?, bytes_of(right)?)));
            let (left, right) = halves.ok_or_else(|| broken(&format!("line `{line}`")))?;
            let pair = ids.get(&left).copied().zip(ids.get(&right).copied());
            let merged = entries.len() as u32;
            merges.insert(pair.ok_or_else(|| broken(&format!("the parts of line `{line}` do not stand before it")))?, merged);
            entries.push([left, right].concat());
            ids.insert(entries[merged as usize].clone(), merged);
        }
        let whole = |entry: &[u8], id| Some((entry.strip_suffix(WORD_END.as_bytes())?.to_vec(), id));
        let words = entries.iter().zip(0..).filter_map(|(entry, id)| whole(entry, id)).collect();
        let mut bytes = [0; 256];
        bytes_in_order().zip(0..).for_each(|(byte, id)| bytes[usize::from(byte)] = id);
        Ok(Self { entries, words, bytes, merges })
    }

    /// Number of ids.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Appends the ids of one word.
    pub(super) fn encode(&self, word: &[u8], ids: &mut Vec<i64>) {
        match self.words.get(word) {
            Some(id) => ids.push(i64::from(*id)),
            None => self.merge(word, ids),
        }
    }

    /// Merges the pair of the lowest id, the first of those that are equal, until none is left.
    fn merge(&self, word: &[u8], ids: &mut Vec<i64>) {
        let symbol = |(at, byte): (usize, &u8)| Symbol {
            id: self.bytes[usize::from(*byte)] + if at + 1 == word.len() { 256 } else { 0 },
            previous: at.wrapping_sub(1),
            next: at + 1,
        };
        let mut symbols: Vec<Symbol> = word.iter().enumerate().map(symbol).collect();
        let pair = |symbols: &[Symbol], at: usize| {
            let left = symbols.get(at)?;
            let merged = self.merges.get(&(left.id, symbols.get(left.next)?.id))?;
            Some(Reverse((*merged, at)))
        };
        let mut waiting: BinaryHeap<_> = (0..symbols.len()).filter_map(|at| pair(&symbols, at)).collect();
        while let Some(top) = waiting.pop() {
            let Reverse((merged, at)) = top;
            if pair(&symbols, at) != Some(top) {
                // One of the two has been merged with another since.
                continue;
            }
            let Symbol { previous, next: right, .. } = symbols[at];
            let next = symbols[right].next;
            symbols[at] = Symbol { id: merged, previous, next };
            symbols[right].id = Symbol::GONE;
            if let Some(after) = symbols.get_mut(next) {
                after.previous = at;
            }
            waiting.extend([previous, at].into_iter().filter_map(|at| pair(&symbols, at)));
        }
        ids.extend(symbols.iter().filter(|symbol| symbol.id != Symbol::GONE).map(|symbol| i64::from(symbol.id)));
    }

    /// Text of ids, with a space after each word. What is no id is left out, what is no UTF-8 replaced.
    pub(super) fn decode(&self, ids: impl Iterator<Item = i64>) -> String {
        let entries = ids.filter_map(|id| self.entries.get(usize::try_from(id).ok()?));
        let bytes: Vec<u8> = entries.flatten().copied().collect();
        String::from_utf8_lossy(&bytes).replace(WORD_END, " ")
    }
}

/// A part of a word, and where its neighbours stand; beyond the word where there is none.
#[derive(Clone, Copy)]
struct Symbol {
    id: u32,
    previous: usize,
    next: usize,
}

impl Symbol {
    /// The id of a part that has become one with that before it: no merge knows it.
    const GONE: u32 = u32::MAX;
}

/// Bytes in the order of their ids: those that have a visible character in Latin-1 first.
fn bytes_in_order() -> impl Iterator<Item = u8> {
    (0..=255).filter(|byte| is_visible(*byte)).chain((0..=255).filter(|byte| !is_visible(*byte)))
}

fn is_visible(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The byte that each character of the file stands for: visible ones for themselves, U+0100 and the following for the others.
fn letters() -> AHashMap<char, u8> {
    let mut others = '\u{100}'..;
    let letter = |byte| {
        let other = if is_visible(byte) { None } else { others.next() };
        (other.unwrap_or(char::from(byte)), byte)
    };
    (0..=255).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As open_clip's `bpe` does it: all places of the pair that was merged earliest, again and again.
    fn plainly(vocabulary: &Vocabulary, word: &[u8]) -> Vec<i64> {
        let mut symbols: Vec<u32> = word.iter().map(|byte| vocabulary.bytes[usize::from(*byte)]).collect();
        *symbols.last_mut().expect("a word") += 256;
        let earliest = |symbols: &[u32]| symbols.windows(2).filter_map(|pair| vocabulary.merges.get(&(pair[0], pair[1]))).min().copied();
        while let Some(merged) = earliest(&symbols) {
            let mut at = 0;
            while at + 1 < symbols.len() {
                if vocabulary.merges.get(&(symbols[at], symbols[at + 1])) == Some(&merged) {
                    symbols.splice(at..at + 2, [merged]);
                }
                at += 1;
            }
        }
        symbols.into_iter().map(i64::from).collect()
    }

    #[test]
    fn an_entry_that_is_a_word_is_what_its_merges_give() {
        let vocabulary = Vocabulary::new().expect("it is part of the program");
        assert_eq!((vocabulary.len(), vocabulary.merges.len()), (49_406, MERGES), "no two merges are of the same pair");
        assert!(vocabulary.words.len() > 30_000, "{}", vocabulary.words.len());
        assert!(vocabulary.entries.iter().all(|entry| entry.len() <= 128), "what a caption is cut to has room for its ids");
        for (word, id) in &vocabulary.words {
            let mut merged = Vec::new();
            vocabulary.merge(word, &mut merged);
            assert_eq!(merged, [i64::from(*id)], "{:?}", String::from_utf8_lossy(word));
        }
    }

    #[test]
    fn merging_by_a_heap_gives_what_the_plain_rule_gives() {
        let vocabulary = Vocabulary::new().expect("it is part of the program");
        let mut random = 11_u64;
        let mut draw = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        for round in 0..20_000 {
            // Single bytes, few kinds of them (many equal pairs), or pieces of the vocabulary in a row.
            let mut word = Vec::new();
            for _ in 0..1 + draw(12) {
                match round % 3 {
                    0 => word.push(draw(256) as u8),
                    1 => word.push(b"aeht"[draw(4)]),
                    _ => word.extend(&vocabulary.entries[draw(vocabulary.len())]),
                }
            }
            let mut merged = Vec::new();
            vocabulary.merge(&word, &mut merged);
            assert_eq!(merged, plainly(&vocabulary, &word), "{:?}", String::from_utf8_lossy(&word));
        }
    }
}
