//! The views that both objectives read: two of each picture.

use vlhub_sdk::ops::wide;
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;

/// Which output of the image tower goes into the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum On {
    /// The pooled output, before the projection into the joint space.
    #[default]
    Pooled,
    /// The embedding in the joint space.
    Embed,
}

impl On {
    /// Width of what is read.
    ///
    /// # Errors
    /// Without an image tower.
    pub(crate) fn width(self, cx: &ObjectiveCx<'_>) -> Result<i64> {
        let image = cx.image.as_ref();
        let image = image.ok_or_else(|| Error::Options("views are of pictures; add `[backbone.image]` to the run".into()))?;
        Ok(match self {
            Self::Pooled => image.width,
            Self::Embed => cx.embed,
        })
    }

    /// `[N, width]`.
    pub(crate) fn of(self, encoded: &Encoded) -> Tensor {
        wide(match self {
            Self::Pooled => &encoded.pooled,
            Self::Embed => &encoded.embed,
        })
    }
}

/// The names of a plain run.
pub(crate) fn two_views() -> [String; 2] {
    ["a".into(), "b".into()]
}

/// Refuses one view in the place of two.
pub(crate) fn check(problems: &mut OptionProblems, [first, second]: &[String; 2]) {
    problems.ensure(first != second, || format!("`views` names `{first}` twice; they are two views of a picture, which must differ"));
}
