//! Similarities of images and texts as means over the best matches of their tokens, tile by tile.
//!
//! A tile has all products of the tokens of some images with the tokens of some texts, and only one tile exists at a time. Gradients come
//! from a second pass, which makes each tile anew: they pass through the best matches alone, so nothing of a tile has to be kept.

use std::ops::Range;

use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::no_grad;

use crate::words::{Block, Words};

/// One of the two similarities of an image and a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// For each image token the best match among the words; the mean over image tokens.
    ImageToText,
    /// For each word the best match among the image tokens; the mean over words.
    TextToImage,
}

/// Some images against some texts, in the directions that are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    /// Rows of the matrices.
    pub images: Range<i64>,
    /// Columns of the matrices.
    pub texts: Range<i64>,
    /// Which of the two similarities.
    pub directions: Vec<Direction>,
}

impl Grid {
    /// For each direction the cosines `[images, texts]`, without graph. Tiles are `tile` images by `tile` texts.
    pub fn similarities(&self, images: &Words, texts: &Words, tile: i64) -> Vec<Tensor> {
        no_grad(|| {
            let (rows, columns) = (images.blocks(self.images.clone(), tile), texts.blocks(self.texts.clone(), tile));
            let mut strips: Vec<Vec<Tensor>> = self.directions.iter().map(|_| Vec::new()).collect();
            for row in &rows {
                let mut cells: Vec<Vec<Tensor>> = self.directions.iter().map(|_| Vec::new()).collect();
                for column in &columns {
                    let products = products(row, column);
                    for (direction, cells) in self.directions.iter().zip(&mut cells) {
                        cells.push(direction.mean_of_best(&products, row, column));
                    }
                }
                for (cells, strips) in cells.iter().zip(&mut strips) {
                    strips.push(Tensor::cat(cells, 1));
                }
            }
            // Blocks are sorted by length.
            let (rows, columns) = (original_order(&rows), original_order(&columns));
            strips.iter().map(|strips| Tensor::cat(strips, 0).index_select(0, &rows).index_select(1, &columns)).collect()
        })
    }

    /// The gradients of [`Words::values`] of all images and all texts, for the gradient of each matrix that [`Grid::similarities`] gave.
    pub fn backward(&self, images: &Words, texts: &Words, tile: i64, gradients: &[Tensor]) -> [Tensor; 2] {
        no_grad(|| {
            let (rows, columns) = (images.blocks(self.images.clone(), tile), texts.blocks(self.texts.clone(), tile));
            let mut of_images = images.values.zeros_like();
            let mut of_texts = texts.values.zeros_like();
            for row in &rows {
                let strips: Vec<_> = gradients.iter().map(|all| all.index_select(0, &(&row.rows - self.images.start))).collect();
                let mut of_row = row.values.zeros_like().flatten(0, 1);
                for column in &columns {
                    let mut slope = products(row, column);
                    let best: Vec<_> = self.directions.iter().map(|direction| direction.best(&slope)).collect();
                    let _ = slope.zero_();
                    for ((direction, best), strip) in self.directions.iter().zip(&best).zip(&strips) {
                        let cell = strip.index_select(1, &(&column.rows - self.texts.start));
                        let _ = slope.scatter_add_(direction.searched(), best, &direction.spread(&cell, row, column));
                    }
                    let slope = slope.flatten(2, 3).flatten(0, 1);
                    of_row += slope.matmul(&column.values.flatten(0, 1));
                    add_rows(&mut of_texts, column, &slope.tr().matmul(&row.values.flatten(0, 1)));
                }
                add_rows(&mut of_images, row, &of_row);
            }
            [of_images, of_texts]
        })
    }
}

impl Direction {
    /// The dimension of `[R, Wi, C, Wt]` in which the best match lies.
    fn searched(self) -> i64 {
        match self {
            Self::ImageToText => 3,
            Self::TextToImage => 1,
        }
    }

    /// The places of the best matches, with a dimension of 1 where they were searched.
    fn best(self, products: &Tensor) -> Tensor {
        products.max_dim(self.searched(), true).1
    }

    /// What each best match weighs in the similarity of its pair: `[R, Wi, C]` or `[R, C, Wt]`.
    fn weights(self, image: &Block, text: &Block) -> Tensor {
        match self {
            Self::ImageToText => image.share.unsqueeze(2) * &text.some,
            Self::TextToImage => image.some.view([-1, 1, 1]) * text.share.unsqueeze(0),
        }
    }

    /// `[R, C]`.
    fn mean_of_best(self, products: &Tensor, image: &Block, text: &Block) -> Tensor {
        let best = products.amax([self.searched()].as_slice(), false) * self.weights(image, text);
        let tokens = if self == Self::ImageToText { 1 } else { 2 };
        best.sum_dim_intlist([tokens].as_slice(), false, products.kind())
    }

    /// The gradients of the best matches, for those of the similarities `[R, C]`; shaped as [`Direction::best`].
    fn spread(self, gradient: &Tensor, image: &Block, text: &Block) -> Tensor {
        let tokens = if self == Self::ImageToText { 1 } else { 2 };
        (gradient.unsqueeze(tokens) * self.weights(image, text)).unsqueeze(self.searched())
    }
}

/// `[R, Wi, C, Wt]`: every token of some images with every token of some texts.
fn products(image: &Block, text: &Block) -> Tensor {
    let (rows, columns) = (image.share.size(), text.share.size());
    let flat = image.values.flatten(0, 1).matmul(&text.values.flatten(0, 1).tr());
    flat.view([rows[0], rows[1], columns[0], columns[1]])
}

/// Adds `[R · W, D]` to the rows of a block in `[N, T, D]`.
fn add_rows(into: &mut Tensor, block: &Block, more: &Tensor) {
    let _ = into.narrow(1, 0, block.values.size()[1]).index_add_(0, &block.rows, &more.view_as(&block.values));
}

/// Where each row stands among the blocks.
fn original_order(blocks: &[Block]) -> Tensor {
    Tensor::cat(&blocks.iter().map(|block| &block.rows).collect::<Vec<_>>(), 0).argsort(0, false)
}
