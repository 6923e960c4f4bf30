//! What measurements of speed and memory have in common: clocks and medians, parts of a profile, what a product reaches, curves through points.

pub mod fit;
mod process;
mod profile;
mod repeat;

pub use process::{clock, resident, wait_for};
pub use profile::{ProductWork, SIDE, TimeShare, limit, operations, parts};
pub use repeat::{WorkSpeed, calls_per_second, median, repeated};
