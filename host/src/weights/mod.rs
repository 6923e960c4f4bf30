//! Weights of every maker into the towers of a run: which file a name stands for, whose parameter names it has, and how they fit.

pub mod fit;
mod hf_clip;
pub mod locate;
pub mod names;
mod resize;
pub mod which;
