//! Contrast by softmax without the N × N matrix.
//!
//! The similarities are made tile by tile, twice: the first time for the losses, the second time for the gradients. An anchor's loss depends
//! on the differences `d` between the other logits and that of its own pair: `log(1 + Σ exp d)`. With the differences, not with the logits, the
//! sum is exact where a trained model makes it tiny. The gradient of a difference is a probability, and that of the own logit is minus the sum
//! of all others in its row, which is exact where one minus a probability is not.

use std::ops::Range;

use vlhub_sdk::prelude::*;
use vlhub_sdk::tch;

use crate::softmax::{Softmax, Weights, right_answers, sum_where};
use crate::tiles::{add, add_product, cut, dot, rows, with_gradients};

/// As [`Softmax::sum_over_own`], in memory of `N · D + tile²`.
pub(crate) fn sum_over_own(softmax: &Softmax<'_>, tile: i64, image: &Tensor, text: &Tensor, weights: Weights) -> Tensor {
    let (value, by_image, by_text, by_scale) =
        tch::no_grad(|| Contrast::new(softmax, tile, &image.detach(), &text.detach(), weights).value_and_gradients());
    with_gradients(&value, &[(image, by_image), (text, by_text), (softmax.log_scale, by_scale)])
}

/// A product of some rows with some others.
struct Tile {
    anchors: Range<i64>,
    candidates: Range<i64>,
    /// `[anchors, candidates]`.
    logits: Tensor,
    /// Of that shape: where another row's pair is right.
    others: Option<Tensor>,
}

impl Tile {
    /// Candidates as anchors.
    fn turned(&self) -> Self {
        Self {
            anchors: self.candidates.clone(),
            candidates: self.anchors.clone(),
            logits: self.logits.tr(),
            others: self.others.as_ref().map(Tensor::tr),
        }
    }
}

struct Contrast<'a> {
    softmax: &'a Softmax<'a>,
    image: Tensor,
    text: Tensor,
    /// Images times the scale.
    scaled: Tensor,
    tiles: Vec<Range<i64>>,
    images_choose: Option<Direction>,
    texts_choose: Option<Direction>,
}

impl<'a> Contrast<'a> {
    fn new(softmax: &'a Softmax<'a>, tile: i64, image: &Tensor, text: &Tensor, weights: Weights) -> Self {
        let scaled = image * softmax.log_scale.exp();
        let own_logits = (&scaled * text).sum_dim_intlist([1i64].as_slice(), false, scaled.kind());
        let direction = |weight: f64| (weight != 0.0).then(|| Direction::new(weight, softmax.decoupled, &own_logits));
        Self {
            images_choose: direction(weights.image),
            texts_choose: direction(weights.text),
            tiles: cut(&softmax.own, image.size()[0], tile),
            image: image.shallow_clone(),
            text: text.shallow_clone(),
            scaled,
            softmax,
        }
    }

    fn is_own(&self, tile: &Range<i64>) -> bool {
        self.softmax.own.start <= tile.start && tile.end <= self.softmax.own.end
    }

    /// Every tile that has an own anchor, with the directions in which it has them.
    fn for_each(&self, mut visit: impl FnMut(&Tile, Option<&Direction>, Option<&Direction>)) {
        for images in &self.tiles {
            for texts in &self.tiles {
                let forth = self.images_choose.as_ref().filter(|_| self.is_own(images));
                let back = self.texts_choose.as_ref().filter(|_| self.is_own(texts));
                if forth.is_none() && back.is_none() {
                    continue;
                }
                let logits = rows(&self.scaled, images).matmul(&rows(&self.text, texts).tr());
                let others = self.softmax.groups.others(images, texts);
                visit(&Tile { anchors: images.clone(), candidates: texts.clone(), logits, others }, forth, back);
            }
        }
    }

    /// The loss, and its gradients by image, text and logarithm of the scale.
    fn value_and_gradients(mut self) -> (Tensor, Tensor, Tensor, Tensor) {
        self.for_each(|tile, forth, back| {
            if let Some(direction) = forth {
                direction.see(tile);
            }
            if let Some(direction) = back {
                direction.see(&tile.turned());
            }
        });
        let mut value = Tensor::zeros([], (self.image.kind(), self.image.device()));
        for direction in [&mut self.images_choose, &mut self.texts_choose].into_iter().flatten() {
            value += rows(&direction.finish(), &self.softmax.own).sum(value.kind());
        }

        // By the logits first, then by what they are products of.
        let (by_scaled, by_text) = (self.image.zeros_like(), self.text.zeros_like());
        let by_own_logits = self.image.new_zeros([self.image.size()[0]], (self.image.kind(), self.image.device()));
        self.for_each(|tile, forth, back| {
            let share = |direction: &Direction, tile: &Tile| {
                let pull = direction.pull(tile);
                add(&by_own_logits, &tile.anchors, &-pull.sum_dim_intlist([1i64].as_slice(), false, pull.kind()));
                pull
            };
            let forth = forth.map(|direction| share(direction, tile));
            let back = back.map(|direction| share(direction, &tile.turned()).tr());
            let pull = match (forth, back) {
                (Some(forth), Some(back)) => forth + back,
                (Some(pull), None) | (None, Some(pull)) => pull,
                (None, None) => return,
            };
            add_product(&by_scaled, &tile.anchors, &pull, &rows(&self.text, &tile.candidates));
            add_product(&by_text, &tile.candidates, &pull.tr(), &rows(&self.scaled, &tile.anchors));
        });
        let by_own_logits = by_own_logits.unsqueeze(1);
        // In place, as all that follows: with many rows, tensors of the features' size are what takes memory.
        let (mut by_scaled, mut by_text) = (by_scaled, by_text);
        let _ = by_scaled.addcmul_(&by_own_logits, &self.text);
        let _ = by_text.addcmul_(&by_own_logits, &self.scaled);
        // A logit is the scale times a cosine, so the logarithm of the scale pulls on it by the logit itself.
        let by_scale = dot(&by_scaled, &self.scaled, &self.tiles);
        (value, by_scaled.g_mul_(&self.softmax.log_scale.exp()), by_text, by_scale)
    }
}

/// What is known of each anchor of one direction, `[N]` each.
struct Direction {
    weight: f64,
    decoupled: bool,
    own_logits: Tensor,
    /// Of the differences in the denominator: the largest, and the sum of the exponentials of what they lack of it.
    highest: Tensor,
    sum: Tensor,
    /// Sum of the differences of the right answers beside the own pair, and how many right answers there are.
    right: Tensor,
    answers: Tensor,
    /// Logarithm of the denominator, once every tile was seen.
    denominator: Tensor,
}

impl Direction {
    fn new(weight: f64, decoupled: bool, own_logits: &Tensor) -> Self {
        Self {
            weight,
            decoupled,
            own_logits: own_logits.shallow_clone(),
            // Finite, because two infinities have no difference.
            highest: own_logits.full_like(f64::from(f32::MIN)),
            sum: own_logits.zeros_like(),
            right: own_logits.zeros_like(),
            answers: own_logits.ones_like(),
            denominator: own_logits.zeros_like(),
        }
    }

    /// The logits of a tile minus that of the own pair.
    fn apart(&self, tile: &Tile) -> Tensor {
        &tile.logits - rows(&self.own_logits, &tile.anchors).unsqueeze(1)
    }

    /// Takes what is not in the sum out of the differences.
    fn hide(&self, tile: &Tile, apart: &mut Tensor) {
        if tile.anchors == tile.candidates {
            let _ = apart.fill_diagonal_(f64::NEG_INFINITY, false);
        }
        if let Some(others) = tile.others.as_ref().filter(|_| self.decoupled) {
            let _ = apart.masked_fill_(others, f64::NEG_INFINITY);
        }
    }

    fn see(&self, tile: &Tile) {
        let mut apart = self.apart(tile);
        if let Some(others) = &tile.others {
            add(&self.right, &tile.anchors, &sum_where(&apart, others, 1));
            add(&self.answers, &tile.anchors, &(right_answers(others, 1, apart.kind()) - 1.0));
        }
        self.hide(tile, &mut apart);
        let (mut highest, mut sum) = (rows(&self.highest, &tile.anchors), rows(&self.sum, &tile.anchors));
        let next = highest.maximum(&apart.amax([1i64].as_slice(), false));
        apart -= next.unsqueeze(1);
        let new = apart.exp_().sum_dim_intlist([1i64].as_slice(), false, sum.kind());
        let both = &sum * (&highest - &next).exp() + new;
        sum.copy_(&both);
        highest.copy_(&next);
    }

    /// The weighted loss of each anchor.
    fn finish(&mut self) -> Tensor {
        let wrong = &self.highest + self.sum.log();
        let alone = self.sum.eq(0.0);
        // The own pair is the 1 in log(1 + Σ exp d).
        self.denominator = if self.decoupled { wrong } else { wrong.softplus() };
        let losses = (&self.denominator - &self.right / &self.answers).masked_fill(&alone, 0.0) * self.weight;
        // An anchor without anything in its sum is pulled by nothing.
        let _ = self.denominator.masked_fill_(&alone, f64::INFINITY);
        let _ = self.answers.masked_fill_(&alone, f64::INFINITY);
        losses
    }

    /// The weighted gradient by each logit of the tile, 0 for the own pairs, whose gradient is minus the sum of the others of their row.
    fn pull(&self, tile: &Tile) -> Tensor {
        let mut pull = self.apart(tile);
        self.hide(tile, &mut pull);
        pull -= rows(&self.denominator, &tile.anchors).unsqueeze(1);
        let _ = pull.exp_();
        if let Some(others) = &tile.others {
            pull -= others.to_kind(pull.kind()) / rows(&self.answers, &tile.anchors).unsqueeze(1);
        }
        let _ = pull.g_mul_scalar_(self.weight);
        pull
    }
}
