//! Caption transforms.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::path::Path;

use rand_core::RngCore;

use crate::{Result, Want, Wants};

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
    /// What it reads beside [`Caption::texts`]. Labels and other columns that nobody says to read are left out of [`Caption`], so that they may
    /// be missing or damaged; by default both are read where they are there.
    fn reads(&self) -> Wants {
        Wants { label: Want::Optional, meta: Want::Optional, ..Wants::NOTHING }
    }
    /// Rewrites the token ids of the text that [`CaptionTransform::apply`] left first: those between the start and the end token, which keep
    /// their places. `rng` is the same for one sample, so a seed determines the ids too. By default they stay as they are.
    ///
    /// # Errors
    /// As [`CaptionTransform::apply`]. More ids than were given end the run too: a text must not outgrow the tower's context.
    fn ids(&self, ids: Vec<i64>, rng: &mut dyn RngCore) -> Result<Vec<i64>> {
        let _ = rng;
        Ok(ids)
    }
    /// Names of the classes, where it writes [`Caption::labels`] of its own: label `n` is the class `classes()[n]`. They take the place of the
    /// data's, which then need no labels. `None`, by default, leaves labels to the data.
    fn classes(&self) -> Option<&[String]> {
        None
    }
}

/// The captions and labels of one picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Caption {
    /// One caption or several: `choose` leaves one, `templates` makes many.
    pub texts: Vec<String>,
    /// Class labels, indices from 0, if there are any and they are read.
    pub labels: Vec<i64>,
    /// Metadata: other columns or keys of the sample, if they are read.
    pub meta: BTreeMap<String, String>,
}

/// A text to its token ids, without start and end tokens.
pub type Tokenize<'a> = dyn Fn(&str) -> Vec<i64> + 'a;

/// The context in which a caption transform is built.
#[derive(Clone, Copy)]
pub struct CaptionCx<'a> {
    /// Folder of the run file: relative paths in options start here.
    pub folder: &'a Path,
    /// The run's tokenizer: a text to its ids, without start and end tokens. `None` where texts are looked at without a model; a transform
    /// that needs it may then do nothing.
    pub tokenize: Option<&'a Tokenize<'a>>,
}

impl<'a> CaptionCx<'a> {
    /// Relative paths start at `folder`, and there is no tokenizer.
    pub fn new(folder: &'a Path) -> Self {
        Self { folder, tokenize: None }
    }
}

impl Debug for CaptionCx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptionCx").field("folder", &self.folder).field("tokenize", &self.tokenize.is_some()).finish()
    }
}
