//! Rotary position embeddings of a map's places.

use vlhub_sdk::prelude::*;

use crate::options::{EvaConfig, GridIndexing};

/// Sine and cosine of the angles by which the pairs of channels of queries and keys are turned (RoFormer, arXiv 2104.09864), one row for
/// each place of the map. Half of the pairs turn with one coordinate of the place, half with the other: timm's `RotaryEmbeddingCat`.
///
/// It is a table of numbers that the sizes determine, so checkpoints do not hold it.
#[derive(Debug)]
pub struct Rope {
    sin: Vec<f32>,
    cos: Vec<f32>,
    width: i64,
}

impl Rope {
    /// The table for a square map; a head's width is a multiple of 4.
    pub fn new(config: &EvaConfig) -> Self {
        let (grid, width) = (config.grid(), config.width / config.heads);
        let bands: Vec<f64> = (0..width / 4).map(|band| config.rope_temperature.powf(-4.0 * band as f64 / width as f64)).collect();
        // Of another size than in pretraining, the map is stretched over the coordinates of pretraining.
        let stretch = if config.ref_feat_shape > 0 { config.ref_feat_shape as f64 / grid as f64 } else { 1.0 };
        let coordinate = |place: i64| (place as f64 + config.rope_grid_offset) * stretch;
        let mut angles = Vec::new();
        for place in 0..grid * grid {
            let (row, column) = (coordinate(place / grid), coordinate(place % grid));
            let order = match config.rope_grid_indexing {
                GridIndexing::Ij => [row, column],
                GridIndexing::Xy => [column, row],
            };
            // Both channels of a pair turn by the same angle.
            angles.extend(order.iter().flat_map(|at| bands.iter().flat_map(move |band| [at * band; 2])));
        }
        let table = |function: fn(f64) -> f64| angles.iter().map(|angle| function(*angle) as f32).collect();
        Self { sin: table(f64::sin), cos: table(f64::cos), width }
    }

    /// Sines and cosines `[places, head]`, or `[B, 1, kept, head]` for the places `kept` `[B, kept]` of each row.
    pub fn angles(&self, device: Device, kept: Option<&Tensor>) -> Angles {
        let table = |numbers: &[f32]| {
            let whole = Tensor::from_slice(numbers).view([-1, self.width]).to_device(device);
            match kept {
                None => whole,
                Some(kept) => {
                    let size = kept.size();
                    whole.index_select(0, &kept.flatten(0, 1)).view([size[0], 1, size[1], self.width])
                }
            }
        };
        Angles { sin: table(&self.sin), cos: table(&self.cos) }
    }
}

/// What one forward pass turns queries and keys by.
#[derive(Debug)]
pub struct Angles {
    sin: Tensor,
    cos: Tensor,
}

impl Angles {
    /// The same tensors once more.
    pub fn shallow_clone(&self) -> Self {
        Self { sin: self.sin.shallow_clone(), cos: self.cos.shallow_clone() }
    }

    /// Turns all but the first `prefix` tokens of `[B, heads, T, head]`, channel 2i together with 2i + 1.
    pub fn turn(&self, x: &Tensor, prefix: i64) -> Tensor {
        let places = x.narrow(2, prefix, x.size()[2] - prefix);
        let pairs = places.unflatten(-1, [-1i64, 2].as_slice());
        let across = Tensor::stack(&[-pairs.select(-1, 1), pairs.select(-1, 0)], -1).flatten(-2, -1);
        let turned = (places * &self.cos + across * &self.sin).to_kind(x.kind());
        if prefix == 0 { turned } else { Tensor::cat(&[x.narrow(2, 0, prefix), turned], 2) }
    }
}
