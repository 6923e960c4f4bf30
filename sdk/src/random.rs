//! Random draws from `&mut dyn RngCore`, which every plugin makes in the same way.

use rand_core::RngCore;

/// A small generator whose numbers depend on its seed alone, on every machine: SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub struct SplitMix64(pub u64);

impl RngCore for SplitMix64 {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
    fn fill_bytes(&mut self, into: &mut [u8]) {
        for chunk in into.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Uniform in `[0, 1)`, with 53 bits.
pub fn uniform(rng: &mut dyn RngCore) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Uniform in `[low, high)`.
pub fn between(rng: &mut dyn RngCore, low: f64, high: f64) -> f64 {
    low + (high - low) * uniform(rng)
}

/// Uniform in `0..bound`, without bias. `bound` 0 gives 0.
pub fn below(rng: &mut dyn RngCore, bound: u64) -> u64 {
    if bound == 0 {
        return 0;
    }
    // Lemire's method: the high half of a product, rejecting the few low halves that would be too frequent.
    let least = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(bound);
        if product as u64 >= least {
            return (product >> 64) as u64;
        }
    }
}

/// True with probability `p`.
pub fn chance(rng: &mut dyn RngCore, p: f64) -> bool {
    uniform(rng) < p
}

/// Standard normal (Box and Muller).
pub fn normal(rng: &mut dyn RngCore) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(rng)).cos()
}

/// Shuffles in place (Fisher and Yates).
pub fn shuffle<T>(rng: &mut dyn RngCore, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(rng, last as u64 + 1) as usize);
    }
}
