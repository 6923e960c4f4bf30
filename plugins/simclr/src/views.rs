//! What both objectives read: two views of each picture.

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

/// Refuses views that are one.
pub(crate) fn check(views: &[String; 2]) -> Result<()> {
    if views[0] == views[1] {
        return Err(Error::Options(format!("`views` names `{}` twice; they are two views of a picture, which must differ", views[0])));
    }
    Ok(())
}

/// Refuses a width that is none.
pub(crate) fn check_width(option: &str, width: i64) -> Result<()> {
    if width < 1 {
        return Err(Error::Options(format!("`{option}` is {width}; a width is at least 1")));
    }
    Ok(())
}

/// Half precision has too few digits for the statistics of a batch and for differences of unit rows, so it is widened first.
pub(crate) fn wide(x: &Tensor) -> Tensor {
    match x.kind() {
        Kind::Half | Kind::BFloat16 => x.to_kind(Kind::Float),
        _ => x.shallow_clone(),
    }
}
