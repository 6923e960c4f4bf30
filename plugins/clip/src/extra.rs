//! A second joint space, in which images choose texts.

use vlhub_sdk::nn::{Linear, default_bound};
use vlhub_sdk::ops::wide;
use vlhub_sdk::options::both_towers;
use vlhub_sdk::pairs::{UnitFeatures, ViewPair};
use vlhub_sdk::prelude::*;

/// Two projections without bias of the pooled features, each as wide as the joint space of the towers. Parameters: `image_projection.weight`
/// and `text_projection.weight`. They begin as torch's linear maps do; x-clip's begin as copies of the main ones, which no objective can see.
#[derive(Debug)]
pub(crate) struct Extra {
    image: Linear,
    text: Linear,
}

impl Extra {
    /// # Errors
    /// Without one of the towers, or when a name is taken.
    pub(crate) fn new(cx: &ObjectiveCx<'_>) -> Result<Self> {
        let (image, text) = both_towers(cx, "`extra_projections`")?;
        let make = |name: &str, width: i64| Linear::without_bias(&cx.path.sub(name), width, cx.embed, default_bound(width));
        Ok(Self { image: make("image_projection", image.width)?, text: make("text_projection", text.width)? })
    }

    /// Unit rows of every view.
    pub(crate) fn units<'a>(&self, pairs: &'a [ViewPair], features: &Features) -> Result<UnitFeatures<'a>> {
        let project = |linear: &Linear, encoded: &Encoded| linear.forward(&wide(&encoded.pooled));
        UnitFeatures::new(pairs, features, |encoded| project(&self.image, encoded), |encoded| project(&self.text, encoded))
    }
}
