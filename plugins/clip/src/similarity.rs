//! Similarity regularisation (Sim-reg, arXiv 2309.08773): similarities inside of each modality should agree.

use std::ops::Range;

use vlhub_sdk::prelude::*;
use vlhub_sdk::tch;

use crate::tiles::{add_product, cut, rows, side, with_gradients};

/// The sum over the own rows of the mean squared difference between the cosines of a row's image with the other images and those of its text
/// with the other texts. One row alone has none: 0.
///
/// # Shapes
/// - image, text: `[N, D]` and `[N, E]`, unit rows; returns a scalar. `tile` is as in the softmax.
pub(crate) fn sum_over_own(image: &Tensor, text: &Tensor, own: &Range<i64>, tile: i64) -> Tensor {
    let total = image.size()[0];
    let others = (total - 1).max(1) as f64;
    if let Some(tile) = side(tile, total, image.device()) {
        return tiled(image, text, &cut(own, total, tile), own) / others;
    }
    difference(image, text, own, &(0..total)).square().sum(image.kind()) / others
}

/// Image cosines minus text cosines, `[rows, columns]`, 0 for a row with itself.
fn difference(image: &Tensor, text: &Tensor, anchors: &Range<i64>, others: &Range<i64>) -> Tensor {
    let cosines = |of: &Tensor| rows(of, anchors).matmul(&rows(of, others).tr());
    let difference = cosines(image) - cosines(text);
    let _ = difference.diagonal(anchors.start - others.start, 0, 1).fill_(0.0);
    difference
}

/// The sum of the squares, with its gradients, tile by tile.
fn tiled(image: &Tensor, text: &Tensor, tiles: &[Range<i64>], own: &Range<i64>) -> Tensor {
    let (value, by_image, by_text) = tch::no_grad(|| {
        let mut value = Tensor::zeros([], (image.kind(), image.device()));
        let (by_image, by_text) = (image.zeros_like(), text.zeros_like());
        for anchors in tiles.iter().filter(|tile| own.start <= tile.start && tile.end <= own.end) {
            for others in tiles {
                let difference = difference(image, text, anchors, others);
                value += difference.square().sum(difference.kind());
                let pull = difference * 2.0;
                for (of, by, pull) in [(image, &by_image, &pull), (text, &by_text, &-&pull)] {
                    add_product(by, anchors, pull, &rows(of, others));
                    add_product(by, others, &pull.tr(), &rows(of, anchors));
                }
            }
        }
        (value, by_image, by_text)
    });
    with_gradients(&value, &[(image, by_image), (text, by_text)])
}
