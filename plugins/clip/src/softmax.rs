//! Contrast by softmax: each anchor chooses among all candidates.

use std::ops::Range;

use vlhub_sdk::ops::diagonal_cross_entropy_sum;
use vlhub_sdk::prelude::*;

use crate::positives::Groups;
use crate::tiled;
use crate::tiles::side;

/// How the two directions count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights {
    /// Of images that choose texts.
    pub(crate) image: f64,
    /// Of texts that choose images.
    pub(crate) text: f64,
}

/// Everything but the features.
#[derive(Debug)]
pub(crate) struct Softmax<'a> {
    /// Natural logarithm of the scale, a scalar.
    pub(crate) log_scale: &'a Tensor,
    /// The anchors that are answered for.
    pub(crate) own: Range<i64>,
    /// Which answers are right beside the own pair.
    pub(crate) groups: &'a Groups,
    /// Whether right answers leave the denominator.
    pub(crate) decoupled: bool,
    /// The option `tile`.
    pub(crate) tile: i64,
}

impl Softmax<'_> {
    /// # Shapes
    /// - image, text: `[N, D]`, unit rows; returns the sum over the own rows as anchors, a scalar.
    pub(crate) fn sum_over_own(&self, image: &Tensor, text: &Tensor, weights: Weights) -> Tensor {
        match side(self.tile, image.size()[0], image.device()) {
            Some(tile) => tiled::sum_over_own(self, tile, image, text, weights),
            None => self.whole(image, text, weights),
        }
    }

    fn whole(&self, image: &Tensor, text: &Tensor, weights: Weights) -> Tensor {
        let total = image.size()[0];
        let scale = self.log_scale.exp();
        let own_rows = |of: &Tensor| of.narrow(0, self.own.start, self.own.end - self.own.start);
        let others = self.groups.others(&self.own, &(0..total));
        let mut sum = Tensor::zeros([], (image.kind(), image.device()));
        let mut shared = None;
        if weights.image != 0.0 {
            let logits = &scale * own_rows(image).matmul(&text.tr());
            sum += self.losses(&logits, 1, others.as_ref()) * weights.image;
            // The columns of the one matrix are the rows of the other: half the products.
            shared = (self.own == (0..total)).then_some(logits);
        }
        if weights.text != 0.0 {
            sum += weights.text
                * match shared {
                    Some(logits) => self.losses(&logits, 0, others.as_ref()),
                    None => self.losses(&(scale * own_rows(text).matmul(&image.tr())), 1, others.as_ref()),
                };
        }
        sum
    }

    /// Sum of the losses along `dim` of logits whose own pairs lie on the diagonal that starts in column `own.start`.
    fn losses(&self, logits: &Tensor, dim: i64, others: Option<&Tensor>) -> Tensor {
        if self.decoupled {
            return self.decoupled(logits, dim, others);
        }
        let Some(others) = others else { return diagonal_cross_entropy_sum(logits, dim, self.own.start) };
        let log_probs = logits.log_softmax(dim, logits.kind());
        let right = log_probs.diagonal(self.own.start, 0, 1) + sum_where(&log_probs, others, dim);
        -(right / right_answers(others, dim, logits.kind())).sum(logits.kind())
    }

    /// As [`Softmax::losses`], with a denominator of wrong answers alone. It may be negative. An anchor without a wrong answer has nothing to
    /// be told from, and loss 0.
    fn decoupled(&self, logits: &Tensor, dim: i64, others: Option<&Tensor>) -> Tensor {
        let apart = logits - logits.diagonal(self.own.start, 0, 1).unsqueeze(dim);
        let right = others.map_or_else(|| logits.zeros_like().to_kind(Kind::Bool), Tensor::copy);
        let _ = right.diagonal(self.own.start, 0, 1).fill_(1);
        let alone = right.all_dim(dim, true);
        // The log-sum-exp of nothing has no gradient, so these anchors keep their answers until their loss is struck out.
        let hidden = right.logical_and(&alone.logical_not());
        let denominators = apart.masked_fill(&hidden, f64::NEG_INFINITY).logsumexp([dim], false);
        let losses = match others {
            None => denominators,
            Some(others) => denominators - sum_where(&apart, others, dim) / right_answers(others, dim, logits.kind()),
        };
        losses.masked_fill(&alone.squeeze_dim(dim), 0.0).sum(logits.kind())
    }
}

/// Sums along `dim` over the places where `mask` is true.
pub(crate) fn sum_where(of: &Tensor, mask: &Tensor, dim: i64) -> Tensor {
    (of * mask.to_kind(of.kind())).sum_dim_intlist([dim].as_slice(), false, of.kind())
}

/// How many right answers each anchor has, the own pair included.
pub(crate) fn right_answers(others: &Tensor, dim: i64, kind: Kind) -> Tensor {
    others.sum_dim_intlist([dim].as_slice(), false, kind) + 1.0
}
