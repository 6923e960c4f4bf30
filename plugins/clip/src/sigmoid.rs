//! Contrast by sigmoid: each pair of rows is a yes-or-no question.

use std::ops::Range;

use vlhub_sdk::prelude::*;
use vlhub_sdk::tch;

use crate::positives::Groups;
use crate::tiles::{add_product, cut, dot, rows, side, with_gradients};

/// Everything but the features.
#[derive(Debug)]
pub(crate) struct Sigmoid<'a> {
    /// Natural logarithm of the scale, a scalar.
    pub(crate) log_scale: &'a Tensor,
    /// Bias of the logits, a scalar.
    pub(crate) bias: &'a Tensor,
    /// The images that are answered for.
    pub(crate) own: Range<i64>,
    /// Which answers are "yes" beside the own pair.
    pub(crate) groups: &'a Groups,
    /// The option `tile`.
    pub(crate) tile: i64,
}

impl Sigmoid<'_> {
    /// # Shapes
    /// - image, text: `[N, D]`, unit rows; returns the sum over the own images against all texts, a scalar.
    pub(crate) fn sum_over_own(&self, image: &Tensor, text: &Tensor) -> Tensor {
        let total = image.size()[0];
        if let Some(tile) = side(self.tile, total, image.device()) {
            return self.tiled(image, text, &cut(&self.own, total, tile));
        }
        let texts = 0..total;
        let logits = self.log_scale.exp() * rows(image, &self.own).matmul(&text.tr()) + self.bias;
        let wrongness = self.turned(logits, &self.own, &texts);
        wrongness.softplus().sum(wrongness.kind())
    }

    /// `z` where the answer is "no" and `−z` where it is "yes", in place where that is possible: the loss is its softplus. `softplus(z) − z`
    /// for "yes" would need no change, but would lose the digits of a pair that is told with confidence.
    fn turned(&self, values: Tensor, images: &Range<i64>, texts: &Range<i64>) -> Tensor {
        let values = match self.groups.others(images, texts) {
            Some(others) => values.where_self(&others.logical_not(), &-&values),
            None => values,
        };
        let _ = values.diagonal(images.start - texts.start, 0, 1).neg_();
        values
    }

    /// One pass of products: unlike in a softmax, no gradient waits for a sum.
    fn tiled(&self, image: &Tensor, text: &Tensor, tiles: &[Range<i64>]) -> Tensor {
        let (value, inputs) = tch::no_grad(|| {
            let scale = self.log_scale.exp();
            let scaled = image * &scale;
            let mut value = Tensor::zeros([], (image.kind(), image.device()));
            let mut by_bias = value.zeros_like();
            let (mut by_scaled, by_text) = (image.zeros_like(), text.zeros_like());
            for images in tiles.iter().filter(|tile| self.own.start <= tile.start && tile.end <= self.own.end) {
                for texts in tiles {
                    let logits = rows(&scaled, images).matmul(&rows(text, texts).tr()) + self.bias;
                    let mut wrongness = self.turned(logits, images, texts);
                    value += wrongness.softplus().sum(value.kind());
                    let pull = self.turned(wrongness.sigmoid_(), images, texts);
                    by_bias += pull.sum(value.kind());
                    add_product(&by_scaled, images, &pull, &rows(text, texts));
                    add_product(&by_text, texts, &pull.tr(), &rows(&scaled, images));
                }
            }
            let by_scale = dot(&by_scaled, &scaled, tiles);
            (value, [by_scaled.g_mul_(&scale), by_text, by_scale, by_bias])
        });
        let [by_image, by_text, by_scale, by_bias] = inputs;
        with_gradients(&value, &[(image, by_image), (text, by_text), (self.log_scale, by_scale), (self.bias, by_bias)])
    }
}
