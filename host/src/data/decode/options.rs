//! How pictures are decoded: what a run chooses once, for training, the checks of its data and evaluation alike.

use serde::{Deserialize, Serialize};

use super::MAX_PIXELS;

/// Options of decoding, as a run records them; each is a top-level key of the run file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureOptions {
    /// Most pixels of a picture; one with more is not used.
    pub max_pixels: u64,
}

impl Default for PictureOptions {
    fn default() -> Self {
        Self { max_pixels: MAX_PIXELS }
    }
}
