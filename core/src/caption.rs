//! Caption transforms.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

use rand_core::RngCore;

use crate::Result;

/// A text augmentation: rewrites the captions and labels of a sample. All randomness comes from `rng`, so a seed determines the texts.
///
/// ```
/// use rand_core::RngCore;
/// use vlhub_core::{Caption, CaptionTransform, Result};
///
/// /// Drops captions of fewer words.
/// #[derive(Debug)]
/// struct AtLeast(usize);
///
/// impl CaptionTransform for AtLeast {
///     fn apply(&self, mut caption: Caption, _rng: &mut dyn RngCore) -> Result<Option<Caption>> {
///         caption.texts.retain(|text| text.split_whitespace().count() >= self.0);
///         Ok((!caption.texts.is_empty()).then_some(caption))
///     }
/// }
/// ```
pub trait CaptionTransform: Debug + Send + Sync {
    /// Transforms the captions of one sample. `None` drops the sample, which is counted under the transform's name; an empty text is no way
    /// to drop one.
    ///
    /// # Errors
    /// A caption that cannot be transformed, which ends the run; transform leniently.
    fn apply(&self, caption: Caption, rng: &mut dyn RngCore) -> Result<Option<Caption>>;
}

/// The captions and labels of one picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Caption {
    /// One caption or several: `choose` leaves one, `templates` makes many.
    pub texts: Vec<String>,
    /// Class labels, indices from 0, if any.
    pub labels: Vec<i64>,
    /// Metadata: other columns or keys of the sample.
    pub meta: BTreeMap<String, String>,
}

/// The context in which a caption transform is built.
#[derive(Clone, Copy, Debug)]
pub struct CaptionCx<'a> {
    /// Folder of the run file: relative paths in options start here.
    pub folder: &'a Path,
}
