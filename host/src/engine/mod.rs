//! The training engine. It knows no objective by name, no file and no flag: [`step`] is one optimiser step; the loop around it is [`crate::training`].

pub mod batch_norm;
pub mod cache;
pub mod comm;
pub mod ema;
mod graph_memory;
pub mod groups;
pub mod head;
mod length_groups;
pub mod lora;
pub mod lsuv;
mod memory_plan;
pub mod moment;
pub mod optim;
pub mod precision;
pub mod readonly;
pub mod recompute;
mod rounded;
pub mod scaler;
pub mod schedule;
pub mod sharpness;
pub mod step;
pub mod step_memory;
pub mod terms;
#[cfg(test)]
mod tests;
pub mod towers;

pub use step::Engine;

/// A seed that depends on every one of `parts` and on their order: what makes each draw of a run a pure function of its place.
pub fn seed_of(parts: &[u64]) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for part in parts {
        state = mix(state ^ mix(part.wrapping_add(0x9e37_79b9_7f4a_7c15)));
    }
    state
}

/// The last steps of splitmix64.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The same for a name.
pub fn seed_of_name(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| mix(hash ^ u64::from(byte)))
}
