//! Pairs of views: what the loss reads.

use std::collections::BTreeMap;

use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;

/// Names of an image view and of a text view.
pub(crate) type Pair = (String, String);

/// The one pair of a plain run.
pub(crate) fn main_pair() -> Vec<Pair> {
    vec![("main".into(), "main".into())]
}

/// One need for each view, however many pairs name it.
pub(crate) fn needs(pairs: &[Pair]) -> Vec<Need> {
    let mut needs: Vec<_> = pairs.iter().flat_map(|(image, text)| [Need::image(image), Need::text(text)]).collect();
    needs.sort();
    needs.dedup();
    needs
}

/// The mean over pairs of `loss(image, text)`, whose arguments are `[N, D]`, of unit length and at least fp32.
pub(crate) fn mean_over(pairs: &[Pair], features: &Features, loss: impl Fn(&Tensor, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let (mut images, mut texts) = (BTreeMap::new(), BTreeMap::new());
    let mut sum: Option<Tensor> = None;
    for (image, text) in pairs {
        // A view that several pairs name is normalised once.
        if !images.contains_key(image) {
            images.insert(image, unit(&features.image(image)?.embed));
        }
        if !texts.contains_key(text) {
            texts.insert(text, unit(&features.text(text)?.embed));
        }
        let one = loss(&images[image], &texts[text])?;
        sum = Some(sum.map_or_else(|| one.shallow_clone(), |sum| sum + &one));
    }
    let sum = sum.ok_or_else(|| Error::invalid("no pair of views"))?;
    Ok(sum / pairs.len() as f64)
}

/// Unit rows. Half precision has too few digits for a scale of 100 times a difference, so it is widened first.
fn unit(embed: &Tensor) -> Tensor {
    match embed.kind() {
        Kind::Half | Kind::BFloat16 => normalize(&embed.to_kind(Kind::Float)),
        _ => normalize(embed),
    }
}
