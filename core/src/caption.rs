//! Caption transforms.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

use rand_core::RngCore;

use crate::Result;

/// Rewrites a sample's captions and labels. `None` drops the sample, which is counted under the transform's name.
pub trait CaptionTransform: Debug + Send + Sync {
    /// Changes the captions. All randomness comes from `rng`.
    fn apply(&self, caption: Caption, rng: &mut dyn RngCore) -> Result<Option<Caption>>;
}

/// The words that belong to one picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Caption {
    /// One caption or several: `choose` leaves one, `templates` makes many.
    pub texts: Vec<String>,
    /// Class indices, if any.
    pub labels: Vec<i64>,
    /// Other columns or keys of the sample.
    pub meta: BTreeMap<String, String>,
}

/// What a caption transform is built with.
#[derive(Clone, Copy, Debug)]
pub struct CaptionCx<'a> {
    /// Folder of the run file: relative paths in options start here.
    pub folder: &'a Path,
}
