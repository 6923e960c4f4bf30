//! Random numbers that depend on where they are drawn and on nothing else.
//!
//! Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). A generator is keyed by what it is
//! for (seed, epoch, position, attempt, view), so threads, workers, retries and resumption cannot change a draw.

use rand_core::RngCore;

/// Ten rounds of Philox4x32: 128 bits of noise for a counter and a key.
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        let first = u64::from(counter[0]) * 0xD251_1F53;
        let second = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [(second >> 32) as u32 ^ counter[1] ^ key[0], second as u32, (first >> 32) as u32 ^ counter[3] ^ key[1], first as u32];
    }
    counter
}

/// A generator for one purpose.
#[derive(Clone, Debug)]
pub struct Philox {
    key: [u32; 2],
    salt: [u32; 2],
    block: u64,
    words: [u32; 4],
    used: usize,
}

impl Philox {
    /// The generator for these words, such as `[seed, epoch, position, stream]`. Other words, or more of them, give unrelated numbers.
    pub fn new<const N: usize>(words: [u64; N]) -> Self {
        let mut key = [N as u32, 0x564C_4842];
        let mut salt = [0, 0];
        for pair in words.chunks(2) {
            let (first, second) = (pair[0], pair.get(1).copied().unwrap_or_default());
            let counter = [first as u32 ^ salt[0], (first >> 32) as u32 ^ salt[1], second as u32, (second >> 32) as u32];
            let mixed = philox4x32(counter, key);
            key = [mixed[0], mixed[1]];
            salt = [mixed[2], mixed[3]];
        }
        Self { key, salt, block: 0, words: [0; 4], used: 4 }
    }
}

impl RngCore for Philox {
    fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.words = philox4x32([self.block as u32, (self.block >> 32) as u32, self.salt[0], self.salt[1]], self.key);
            self.block = self.block.wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) | u64::from(self.next_u32()) << 32
    }

    fn fill_bytes(&mut self, target: &mut [u8]) {
        for chunk in target.chunks_mut(4) {
            let bytes = self.next_u32().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// A shuffled order of `0..len` that needs no memory and can be entered anywhere: a Feistel network over the next even number of bits, walked
/// until it lands inside (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).
#[derive(Clone, Copy, Debug)]
pub struct Permutation {
    len: u64,
    half: u32,
    key: [u32; 2],
    salt: [u32; 2],
}

impl Permutation {
    /// The order of one epoch.
    pub fn new(seed: u64, epoch: u64, len: u64) -> Self {
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        // Halves of two bits at least: over fewer a Feistel network reaches few of the orders.
        let half = bits.div_ceil(2).max(2);
        let Philox { key, salt, .. } = Philox::new([seed, epoch, len, 0x006F_7264_6572]);
        Self { len, half, key, salt }
    }

    /// What stands at `place`; a place past the end counts from the start again.
    pub fn at(&self, place: u64) -> u64 {
        if self.len == 0 {
            return 0;
        }
        let mut value = place % self.len;
        loop {
            value = self.cipher(value);
            if value < self.len {
                return value;
            }
        }
    }

    fn cipher(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half) - 1;
        let (mut left, mut right) = (value >> self.half, value & mask);
        for round in 0..8 {
            let noise = philox4x32([right as u32, (right >> 32) as u32 ^ round, self.salt[0], self.salt[1]], self.key);
            (left, right) = (right, left ^ (u64::from(noise[0]) & mask));
        }
        left << self.half | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_known_answers_of_random123() {
        for (counter, key, expected) in [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            assert_eq!(philox4x32(counter, key), expected, "counter {counter:x?}, key {key:x?}");
        }
    }

    #[test]
    fn every_word_of_the_key_matters_and_so_does_their_number() {
        let base = Philox::new([1, 2, 3, 4]).next_u64();
        for (other, why) in [
            (Philox::new([2, 2, 3, 4]), "seed"),
            (Philox::new([1, 3, 3, 4]), "epoch"),
            (Philox::new([1, 2, 4, 4]), "position"),
            (Philox::new([1, 2, 3, 5]), "stream"),
            (Philox::new([2, 1, 3, 4]), "order of the words"),
            (Philox::new([1 << 32, 2, 3, 4]), "upper half of a word"),
        ] {
            assert_ne!(other.clone().next_u64(), base, "{why}");
        }
        assert_ne!(Philox::new([1, 2, 3]).next_u64(), Philox::new([1, 2, 3, 0]).next_u64(), "number of words");
    }

    #[test]
    fn bytes_and_words_are_the_same_stream() {
        let (mut words, mut bytes) = (Philox::new([7]), [0; 10]);
        Philox::new([7]).fill_bytes(&mut bytes);
        assert_eq!(bytes[..4], words.next_u32().to_le_bytes());
        assert_eq!(bytes[4..8], words.next_u32().to_le_bytes());
        assert_eq!(bytes[8..], words.next_u32().to_le_bytes()[..2]);
    }

    #[test]
    fn a_permutation_holds_every_number_once() {
        for len in [1, 2, 3, 5, 16, 17, 100, 1000, 4097] {
            let order = Permutation::new(3, 1, len);
            let mut seen: Vec<u64> = (0..len).map(|place| order.at(place)).collect();
            seen.sort_unstable();
            assert!(seen.iter().copied().eq(0..len), "length {len}");
        }
        assert_eq!(Permutation::new(0, 0, 0).at(5), 0, "nothing to shuffle, nothing to divide by");
        assert!(Permutation::new(0, 0, u64::from(u32::MAX) * 4).at(12_345_678_901) < u64::from(u32::MAX) * 4);
    }

    #[test]
    fn epochs_and_seeds_shuffle_otherwise_and_evenly() {
        let order = |seed, epoch| (0..50).map(|place| Permutation::new(seed, epoch, 50).at(place)).collect::<Vec<_>>();
        assert_eq!(order(1, 1), order(1, 1));
        assert_ne!(order(1, 1), order(1, 2));
        assert_ne!(order(1, 1), order(2, 1));
        // Over many epochs each of 5 numbers stands at each of 5 places about equally often.
        let mut counts = [[0u32; 5]; 5];
        for epoch in 0..5000 {
            for place in 0..5 {
                counts[place as usize][Permutation::new(9, epoch, 5).at(place) as usize] += 1;
            }
        }
        for count in counts.iter().flatten() {
            assert!((850..1150).contains(count), "1000 expected: {counts:?}");
        }
    }
}
