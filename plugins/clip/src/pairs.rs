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
pub(crate) fn check(pairs: &[Pair], log_scale: f64, max_scale: f64, cx: &ObjectiveCx<'_>) -> Result<()> {
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

/// The mean over pairs of `loss(image, text)`, whose arguments are `[N, D]`, of unit length and at least fp32.
pub(crate) fn mean_over(pairs: &[Pair], features: &Features, loss: impl Fn(&Tensor, &Tensor) -> Tensor) -> Result<Tensor> {
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
        let one = loss(&images[image], &texts[text]);
        sum = Some(sum.map_or_else(|| one.shallow_clone(), |sum| sum + &one));
    }
    let sum = sum.ok_or_else(|| Error::invalid("no pair of views"))?;
    Ok(sum / pairs.len() as f64)
}

/// Unit rows. Half precision has too few digits for a scale of 100 times a cosine, so it is widened first.
fn unit(embed: &Tensor) -> Tensor {
    match embed.kind() {
        Kind::Half | Kind::BFloat16 => normalize(&embed.to_kind(Kind::Float)),
        _ => normalize(embed),
    }
}

/// Keeps the scale in `1..=max_scale`, as OpenAI and open_clip do.
pub(crate) fn clamp_scale(log_scale: &mut Tensor, max_scale: f64) {
    tch::no_grad(|| {
        let _ = log_scale.clamp_(0.0, max_scale.ln());
    });
}
