//! Pairs of views: what both losses read.

use std::collections::BTreeMap;

use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch;

/// Names of an image view and of a text view.
pub(crate) type Pair = (String, String);

/// The one pair of a plain run.
pub(crate) fn main_pair() -> Vec<Pair> {
    vec![("main".into(), "main".into())]
}

/// Refuses options that cannot mean anything, before a parameter is made.
pub(crate) fn check(pairs: &[Pair], log_scale: f64, max_scale: f64, tile: i64, cx: &ObjectiveCx<'_>) -> Result<()> {
    if pairs.is_empty() {
        return Err(Error::Options("`pairs` is empty; name at least one pair, such as `[[\"main\", \"main\"]]`".into()));
    }
    if !(max_scale.is_finite() && max_scale >= 1.0) {
        return Err(Error::Options(format!(
            "`max_scale` is {max_scale}; it must be at least 1, because the scale is kept in 1..=max_scale"
        )));
    }
    if !log_scale.is_finite() {
        return Err(Error::Options(format!("`init_log_scale` is {log_scale}; it must be a finite number")));
    }
    if tile < 0 {
        return Err(Error::Options(format!("`tile` is {tile}; it is a number of rows, or 0 for the whole matrix at once")));
    }
    for (tower, what) in [(&cx.image, "image"), (&cx.text, "text")] {
        if tower.is_none() {
            return Err(Error::Options(format!("a contrastive objective needs an {what} tower; add `[backbone.{what}]` to the run")));
        }
    }
    Ok(())
}

/// One need for each view, however many pairs name it.
pub(crate) fn needs(pairs: &[Pair]) -> Vec<Need> {
    let mut needs: Vec<_> = pairs.iter().flat_map(|(image, text)| [Need::image(image), Need::text(text)]).collect();
    needs.sort();
    needs.dedup();
    needs
}

/// The mean over pairs of a loss.
pub(crate) fn mean(pairs: &[Pair], loss: impl Fn(&Pair) -> Result<Tensor>) -> Result<Tensor> {
    let losses = pairs.iter().map(loss).collect::<Result<Vec<_>>>()?;
    let count = losses.len() as f64;
    let sum = losses.into_iter().reduce(|sum, one| sum + one).ok_or_else(|| Error::invalid("no pair of views"))?;
    Ok(sum / count)
}

/// Unit rows of the views that pairs name: one that several pairs name is normalised once.
#[derive(Debug)]
pub(crate) struct Units<'a> {
    images: BTreeMap<&'a str, Tensor>,
    texts: BTreeMap<&'a str, Tensor>,
}

impl<'a> Units<'a> {
    /// Of the joint embeddings.
    pub(crate) fn of_embeds(pairs: &'a [Pair], features: &Features) -> Result<Self> {
        Self::new(pairs, features, |encoded| wide(&encoded.embed), |encoded| wide(&encoded.embed))
    }

    /// Of `[N, D]` that `image` and `text` make of what the towers give.
    pub(crate) fn new(
        pairs: &'a [Pair],
        features: &Features,
        image: impl Fn(&Encoded) -> Tensor,
        text: impl Fn(&Encoded) -> Tensor,
    ) -> Result<Self> {
        let (mut images, mut texts) = (BTreeMap::new(), BTreeMap::new());
        for (image_view, text_view) in pairs {
            if !images.contains_key(image_view.as_str()) {
                images.insert(image_view.as_str(), normalize(&image(features.image(image_view)?)));
            }
            if !texts.contains_key(text_view.as_str()) {
                texts.insert(text_view.as_str(), normalize(&text(features.text(text_view)?)));
            }
        }
        Ok(Self { images, texts })
    }

    /// Image and text of one of the pairs.
    pub(crate) fn of(&self, (image, text): &Pair) -> (&Tensor, &Tensor) {
        (&self.images[image.as_str()], &self.texts[text.as_str()])
    }
}

/// Half precision has too few digits for a scale of 100 times a cosine, so it is widened before rows get unit length.
pub(crate) fn wide(x: &Tensor) -> Tensor {
    match x.kind() {
        Kind::Half | Kind::BFloat16 => x.to_kind(Kind::Float),
        _ => x.shallow_clone(),
    }
}

/// Keeps the scale in `1..=max_scale`, as OpenAI and open_clip do.
pub(crate) fn clamp_scale(log_scale: &mut Tensor, max_scale: f64) {
    tch::no_grad(|| {
        let _ = log_scale.clamp_(0.0, max_scale.ln());
    });
}
