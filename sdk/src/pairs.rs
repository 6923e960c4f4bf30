//! Pairs of an image view and a text view: what contrastive objectives read.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::ops::unit;
use crate::{Encoded, Error, Features, Need, Result};

/// Names of an image view and of a text view.
pub type ViewPair = (String, String);

/// The one pair of a plain run: `main` with `main`.
pub fn main_pair() -> Vec<ViewPair> {
    vec![("main".into(), "main".into())]
}

/// One need for each view, sorted, however many pairs name it.
pub fn needs(pairs: &[ViewPair]) -> Vec<Need> {
    Need::union(&pairs.iter().flat_map(|(image, text)| [Need::image(image), Need::text(text)]).collect::<Vec<_>>())
}

/// The mean over pairs of a loss.
///
/// # Errors
/// The first error of `loss`, or no pair.
pub fn mean(pairs: &[ViewPair], loss: impl Fn(&ViewPair) -> Result<Tensor>) -> Result<Tensor> {
    let losses = pairs.iter().map(loss).collect::<Result<Vec<_>>>()?;
    let count = losses.len() as f64;
    let sum = losses.into_iter().reduce(|sum, one| sum + one).ok_or_else(|| Error::invalid("no pair of views"))?;
    Ok(sum / count)
}

/// Unit-length features of the views that pairs name: a view that several pairs name is normalised once.
#[derive(Debug)]
pub struct UnitFeatures<'a> {
    images: BTreeMap<&'a str, Tensor>,
    texts: BTreeMap<&'a str, Tensor>,
}

impl<'a> UnitFeatures<'a> {
    /// Of the joint embeddings.
    ///
    /// # Errors
    /// A view that the objective does not declare.
    pub fn of_embeds(pairs: &'a [ViewPair], features: &Features) -> Result<Self> {
        Self::new(pairs, features, |encoded| encoded.embed.shallow_clone(), |encoded| encoded.embed.shallow_clone())
    }

    /// Of `[N, D]` that `image` and `text` make of the towers' outputs.
    ///
    /// # Errors
    /// A view that the objective does not declare.
    pub fn new(
        pairs: &'a [ViewPair],
        features: &Features,
        image: impl Fn(&Encoded) -> Tensor,
        text: impl Fn(&Encoded) -> Tensor,
    ) -> Result<Self> {
        let (mut images, mut texts) = (BTreeMap::new(), BTreeMap::new());
        for (image_view, text_view) in pairs {
            if !images.contains_key(image_view.as_str()) {
                images.insert(image_view.as_str(), unit(&image(features.image(image_view)?)));
            }
            if !texts.contains_key(text_view.as_str()) {
                texts.insert(text_view.as_str(), unit(&text(features.text(text_view)?)));
            }
        }
        Ok(Self { images, texts })
    }

    /// Image and text of one of the pairs, `[N, D]` each, of unit length and at least float32.
    pub fn of(&self, (image, text): &ViewPair) -> (&Tensor, &Tensor) {
        (&self.images[image.as_str()], &self.texts[text.as_str()])
    }
}
