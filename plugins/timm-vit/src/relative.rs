//! Relative position bias: a number for each head and each pair of tokens that is added to their attention logit.

use vlhub_sdk::nn::{Init, Linear, Path, dropout, parameter};
use vlhub_sdk::prelude::*;

use crate::block::{Start, linear};

/// How relative positions become biases.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Positions {
    /// A learned table over distances, and three entries for pairs with the class token, as in BEiT.
    Table,
    /// An MLP of logarithmic distances (Swin v2, arXiv 2111.09883); pairs with one of the `prefix` tokens get 0.
    Mlp {
        /// Width inside the MLP.
        hidden: i64,
        /// Tokens before the patches.
        prefix: i64,
        /// Dropout: share of the MLP's inner elements that is zeroed while training.
        drop: f64,
    },
}

/// The biases of one block, or of all blocks.
#[derive(Debug)]
pub(crate) struct Relative {
    source: Source,
    /// For each pair of tokens its place among the distances.
    places: Tensor,
}

#[derive(Debug)]
enum Source {
    Table(Tensor),
    Mlp { coords: Tensor, fc1: Linear, fc2: Linear, prefix: i64, drop: f64 },
}

impl Relative {
    /// For `grid` · `grid` patches, and their [`places`]. A table's parameter is `relative_position_bias_table`; an MLP's are `mlp.fc1` and
    /// `mlp.fc2`.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, positions: Positions, grid: i64, heads: i64, places: &Tensor) -> Result<Self> {
        let source = match positions {
            Positions::Table => {
                let distances = (2 * grid - 1) * (2 * grid - 1) + 3;
                Source::Table(parameter(path, "relative_position_bias_table", &[distances, heads], Init::Const(0.0))?)
            }
            Positions::Mlp { hidden, prefix, drop } => {
                let mlp = path.sub("mlp");
                let fc1 = linear(&mlp.sub("fc1"), [2, hidden], true, Start::Torch)?;
                let fc2 = linear(&mlp.sub("fc2"), [hidden, heads], true, Start::Torch)?;
                Source::Mlp { coords: log_distances(grid).to_device(path.device()), fc1, fc2, prefix, drop }
            }
        };
        Ok(Self { source, places: places.shallow_clone() })
    }

    /// `[1, heads, T, T]`, or `[B, heads, T, T]` in training with dropout.
    pub fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        let (biases, prefix) = match &self.source {
            Source::Table(table) => (table.unsqueeze(0), 0),
            Source::Mlp { coords, fc1, fc2, prefix, drop } => {
                // The rectifier as a threshold: libtorch knows the shape of that one on paper.
                let inner = fc1.forward(&coords.to_device(x.device())).threshold(0.0, 0.0).unsqueeze(0);
                (fc2.forward(&dropout(inner, *drop, noise)), *prefix)
            }
        };
        let (size, side) = (biases.size(), (self.places.numel() as f64).sqrt() as i64);
        let of_pairs = biases.index_select(1, &self.places.to_device(x.device())).view([size[0], side, side, size[2]]);
        of_pairs.permute([0, 3, 1, 2]).constant_pad_nd([prefix, 0, prefix, 0]).contiguous()
    }
}

/// The places of all pairs, int64; blocks share them, for a large picture has a million.
pub(crate) fn places(positions: Positions, grid: i64, device: Device) -> Tensor {
    Tensor::from_slice(&pairs(grid, matches!(positions, Positions::Table))).to_device(device)
}

/// For each pair of patches (query, key) the place of their distance, row by row. The class token comes first: with it as the query the place
/// is the first behind all distances, with it as the key the second, and with both the third.
fn pairs(grid: i64, class_token: bool) -> Vec<i64> {
    let (side, first) = (2 * grid - 1, i64::from(class_token));
    let count = grid * grid + first;
    let place = |query: i64, key: i64| match (query < first, key < first) {
        (true, true) => side * side + 2,
        (true, false) => side * side,
        (false, true) => side * side + 1,
        (false, false) => {
            let (query, key) = (query - first, key - first);
            (query / grid - key / grid + grid - 1) * side + query % grid - key % grid + grid - 1
        }
    };
    (0..count * count).map(|pair| place(pair / count, pair % count)).collect()
}

/// `[(2 grid − 1)², 2]`: sign(d) · ln(1 + |d|) of each vertical and horizontal distance.
fn log_distances(grid: i64) -> Tensor {
    let side = 2 * grid - 1;
    let log = |distance: i64| (distance.signum() as f64 * (distance.abs() as f64).ln_1p()) as f32;
    let coords: Vec<f32> = (0..side * side).flat_map(|at| [log(at / side - grid + 1), log(at % side - grid + 1)]).collect();
    Tensor::from_slice(&coords).view([side * side, 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_one_distance_share_a_place_and_the_class_token_has_three_of_its_own() {
        assert_eq!(pairs(2, false), [4, 3, 1, 0, 5, 4, 2, 1, 7, 6, 4, 3, 8, 7, 5, 4]);
        let with_class = pairs(2, true);
        assert_eq!(with_class[..5], [11, 9, 9, 9, 9], "the class token looks");
        assert_eq!(with_class[5..10], [10, 4, 3, 1, 0], "the first patch looks");
    }
}
