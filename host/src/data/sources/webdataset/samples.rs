//! The samples of a shard in a few bytes each: a data set of a billion samples must fit into memory.

use crate::data::sources::group::Span;

/// Where the parts of a sample are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SampleEntry {
    pub key: Vec<u8>,
    pub image: Option<Span>,
    pub text: Option<Span>,
    pub label: Option<Span>,
    pub json: Option<Span>,
    pub array: Option<Span>,
}

impl SampleEntry {
    fn parts(&self) -> [Option<Span>; 5] {
        [self.image, self.text, self.label, self.json, self.array]
    }
}

/// Samples, each as: how much of its key is as in the shard's first key, the length of the rest, the rest, a bit for each part that is there, the
/// least offset, and of each part its distance from there and its size. Numbers take 7 bits a byte. A sample of three members whose key has nine
/// digits takes 20 bytes, and 4 for its place.
#[derive(Debug, Default)]
pub(super) struct PackedSamples {
    first_key: Vec<u8>,
    bytes: Vec<u8>,
    starts: Vec<u32>,
}

impl PackedSamples {
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Adds a sample; `false` when there is no room: 4 GiB.
    pub fn push(&mut self, entry: &SampleEntry) -> bool {
        let Ok(start) = u32::try_from(self.bytes.len()) else { return false };
        if self.starts.is_empty() {
            self.first_key.clone_from(&entry.key);
        }
        self.starts.push(start);
        let shared = shared(&self.first_key, &entry.key);
        let bytes = &mut self.bytes;
        put(bytes, shared as u64);
        put(bytes, (entry.key.len() - shared) as u64);
        bytes.extend_from_slice(&entry.key[shared..]);
        let parts = entry.parts();
        bytes.push((0..).zip(&parts).map(|(bit, part)| u8::from(part.is_some()) << bit).sum());
        let least = parts.iter().flatten().map(|span| span.offset).min().unwrap_or_default();
        put(bytes, least);
        for span in parts.iter().flatten() {
            put(bytes, span.offset - least);
            put(bytes, u64::from(span.size));
        }
        true
    }

    /// Gives back what was reserved for more.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.starts.shrink_to_fit();
    }

    pub fn get(&self, index: usize) -> SampleEntry {
        let mut rest = &self.bytes[self.starts[index] as usize..];
        let shared = self.first_key.get(..take(&mut rest).unwrap_or_default() as usize).unwrap_or_default();
        let length = take(&mut rest).unwrap_or_default() as usize;
        let (own, mut rest) = rest.split_at_checked(length).unwrap_or_default();
        let mut entry = SampleEntry { key: [shared, own].concat(), ..SampleEntry::default() };
        let Some((there, after)) = rest.split_first() else { return entry };
        rest = after;
        let least = take(&mut rest).unwrap_or_default();
        for (bit, part) in [&mut entry.image, &mut entry.text, &mut entry.label, &mut entry.json, &mut entry.array].into_iter().enumerate()
        {
            if there >> bit & 1 == 1 {
                let (ahead, size) = (take(&mut rest).unwrap_or_default(), take(&mut rest).unwrap_or_default());
                *part = Some(Span { offset: least + ahead, size: size as u32 });
            }
        }
        entry
    }
}

/// How many bytes two names begin with alike.
pub(super) fn shared(one: &[u8], other: &[u8]) -> usize {
    let most = one.len().min(other.len());
    let mut count = 0;
    while count < most && one[count] == other[count] {
        count += 1;
    }
    count
}

/// Appends a number: seven bits a byte, low ones first.
pub(super) fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Takes a number off the front; `None` where it does not end, or does not fit.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if shift == 63 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_back_and_are_small() {
        let span = |offset, size| Some(Span { offset, size });
        let mut packed = PackedSamples::default();
        let entries: Vec<SampleEntry> = (0..2000u64)
            .map(|at| {
                let start = at * 70_000 + 512;
                SampleEntry {
                    key: format!("00012{at:04}").into_bytes(),
                    image: span(start, 65_000),
                    text: span(start + 66_048, 60),
                    json: span(start + 67_072, 700),
                    array: None,
                    ..SampleEntry::default()
                }
            })
            .chain([
                SampleEntry { key: b"a/b".to_vec(), ..SampleEntry::default() },
                SampleEntry { key: Vec::new(), label: span(u64::MAX >> 1, u32::MAX), image: span(9, 0), ..SampleEntry::default() },
            ])
            .collect();
        assert!(entries.iter().all(|entry| packed.push(entry)));
        packed.shrink();
        assert_eq!(packed.len(), entries.len());
        assert_eq!((0..entries.len()).map(|at| packed.get(at)).collect::<Vec<_>>(), entries);
        let each = (packed.bytes.capacity() + 4 * packed.starts.capacity()) as f64 / entries.len() as f64;
        assert!(each < 28.0, "{each} bytes a sample");
    }

    #[test]
    fn numbers_of_any_size_come_back_and_broken_ones_are_refused() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert_eq!(take(&mut bytes.as_slice()), Some(value));
            assert_eq!(take(&mut &bytes[..bytes.len() - 1]), None, "{value} without its end");
        }
        assert_eq!(take(&mut [0xFF; 12].as_slice()), None);
        assert_eq!(take(&mut [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2].as_slice()), None, "more than 64 bits");
    }
}
