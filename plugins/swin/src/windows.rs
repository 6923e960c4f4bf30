//! Window partitioning of maps, and the relative positions inside a window.

use vlhub_sdk::prelude::*;

/// How a map is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    /// Height and width of a window; the map is padded to a multiple of it.
    pub side: i64,
    /// By how many places the map is rolled first, so that windows lie across the borders of those of another block.
    pub shift: i64,
    /// A window is not a neighbourhood but a grid of places over the whole map, as far apart as there are windows.
    pub grid: bool,
}

impl Windows {
    /// Windows of Swin for a map of `size` places a side: where one window covers the map, it is cut to the map and nothing is rolled.
    pub fn within(size: i64, side: i64, shifted: bool) -> Self {
        let shift = if shifted && size > side { side / 2 } else { 0 };
        Self { side: side.min(size), shift, grid: false }
    }

    /// Cuts `[B, H, W, C]`, lets `work` change the windows `[B · windows, places, C]`, and puts them together. A rolled map has a mask
    /// `[windows, places, places]`: what came from opposite borders must not be mixed.
    pub fn apply(&self, x: &Tensor, work: impl FnOnce(&Tensor, Option<&Tensor>) -> Tensor) -> Tensor {
        let (size, Self { side, shift, .. }) = (x.size(), *self);
        let [rows, height, width] = [size[0], size[1], size[2]];
        let more = |length: i64| (side - length % side) % side;
        let mut map = if shift > 0 { x.roll([-shift, -shift], [1, 2]) } else { x.shallow_clone() };
        if more(height) + more(width) > 0 {
            map = map.constant_pad_nd([0, 0, 0, more(width), 0, more(height)]);
        }
        let (full_height, full_width) = (height + more(height), width + more(width));
        let mask = (shift > 0).then(|| self.mask(&map, full_height, full_width));
        let out = self.join(&work(&self.cut(&map), mask.as_ref()), rows, full_height, full_width);
        let out = out.narrow(1, 0, height).narrow(2, 0, width);
        if shift > 0 { out.roll([shift, shift], [1, 2]) } else { out }
    }

    /// `[B, H, W, C]` to `[B · windows, places, C]`.
    fn cut(&self, x: &Tensor) -> Tensor {
        let (size, side) = (x.size(), self.side);
        let (down, across) = (size[1] / side, size[2] / side);
        let windows = if self.grid {
            x.reshape([size[0], side, down, side, across, size[3]]).permute([0, 2, 4, 1, 3, 5])
        } else {
            x.reshape([size[0], down, side, across, side, size[3]]).permute([0, 1, 3, 2, 4, 5])
        };
        windows.reshape([size[0] * down * across, side * side, size[3]])
    }

    /// The inverse of [`Windows::cut`].
    fn join(&self, x: &Tensor, rows: i64, height: i64, width: i64) -> Tensor {
        let (side, channels) = (self.side, x.size()[2]);
        let windows = x.reshape([rows, height / side, width / side, side, side, channels]);
        let order = if self.grid { [0, 3, 1, 4, 2, 5] } else { [0, 1, 3, 2, 4, 5] };
        windows.permute(order).reshape([rows, height, width, channels])
    }

    /// `[windows, places, places]`: 0 where two places of a window were neighbours before the map was rolled, otherwise -100 as in timm.
    fn mask(&self, like: &Tensor, height: i64, width: i64) -> Tensor {
        // Along each axis there are three regions: the windows that nothing was rolled into, and the two parts of the last one.
        let region = |length: i64| {
            let at = Tensor::arange(length, (Kind::Int64, like.device()));
            at.ge(length - self.side).to_kind(Kind::Int64) + at.ge(length - self.shift).to_kind(Kind::Int64)
        };
        let regions = region(height).unsqueeze(1) * 3 + region(width).unsqueeze(0);
        let regions = self.cut(&regions.view([1, height, width, 1])).squeeze_dim(2);
        regions.unsqueeze(1).not_equal_tensor(&regions.unsqueeze(2)).to_kind(like.kind()) * -100.0
    }
}

/// Attention biases `[1, heads, places, places]` of a window from a table `[heads, 2 · side − 1, 2 · side − 1]` that is read at the place of a
/// query minus that of a key.
pub(crate) fn query_minus_key(table: &Tensor, side: i64) -> Tensor {
    reversed(&every_offset(table, side), [3, 4]).reshape([1, -1, side * side, side * side])
}

/// As [`query_minus_key`], read at the place of a key minus that of a query.
pub(crate) fn key_minus_query(table: &Tensor, side: i64) -> Tensor {
    reversed(&every_offset(table, side), [1, 2]).reshape([1, -1, side * side, side * side])
}

/// `[heads, side, side, side, side]` whose element `h, a, b, c, d` is `table[h, a + c, b + d]`: a difference of two places is such a sum
/// where one of them is counted from the end, so no table of indices is needed.
fn every_offset(table: &Tensor, side: i64) -> Tensor {
    table.unfold(1, side, 1).unfold(2, side, 1)
}

/// Two axes of equal length from their end. libtorch's `flip` does not run on paper.
fn reversed(x: &Tensor, axes: [i64; 2]) -> Tensor {
    let last = x.size()[axes[0] as usize] - 1;
    let order = last - Tensor::arange(last + 1, (Kind::Int64, x.device()));
    x.index_select(axes[0], &order).index_select(axes[1], &order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(side: i64) -> Tensor {
        Tensor::arange(2 * side * side, (Kind::Float, Device::Cpu)).view([2, side, side, 1])
    }

    #[test]
    fn maps_come_back_as_they_were_whatever_the_windows() {
        for (size, side, shift, grid) in [(8, 4, 0, false), (8, 4, 2, false), (7, 3, 1, false), (8, 2, 0, true), (6, 3, 0, true)] {
            let x = map(size);
            let same = Windows { side, shift, grid }.apply(&x, |windows, _| {
                assert_eq!(windows.size()[1..], [side * side, 1]);
                windows.shallow_clone()
            });
            assert!(same.equal(&x), "{size} in {side}, shift {shift}, grid {grid}");
        }
    }

    #[test]
    fn a_grid_takes_places_from_all_over_the_map_and_a_window_neighbours() {
        for (grid, first) in [(false, [0.0f32, 1.0, 4.0, 5.0]), (true, [0.0, 2.0, 8.0, 10.0])] {
            let _ = Windows { side: 2, shift: 0, grid }.apply(&map(4), |windows, mask| {
                assert!(mask.is_none());
                assert_eq!(Vec::<f32>::try_from(windows.get(0).view([-1])).expect("four numbers"), first, "grid {grid}");
                windows.shallow_clone()
            });
        }
    }

    #[test]
    fn what_came_from_opposite_borders_is_masked() {
        let _ = Windows { side: 2, shift: 1, grid: false }.apply(&map(4), |windows, mask| {
            let mask = mask.expect("the map was rolled");
            assert_eq!(mask.size(), [4, 4, 4]);
            let masked: Vec<f64> = (0..4).map(|window| mask.get(window).ne(0.0).sum(Kind::Float).double_value(&[])).collect();
            assert_eq!(masked, [0.0, 8.0, 8.0, 12.0], "inside, across one border, across the other, across both");
            windows.shallow_clone()
        });
    }

    #[test]
    fn biases_are_read_at_the_difference_of_two_places() {
        let side = 3;
        let table = Tensor::arange(2 * 25, (Kind::Float, Device::Cpu)).view([2, 5, 5]);
        let (first, second) = (query_minus_key(&table, side), key_minus_query(&table, side));
        for query in 0..9 {
            for key in 0..9 {
                let (down, across) = (query / 3 - key / 3, query % 3 - key % 3);
                assert_eq!(first.double_value(&[0, 1, query, key]), table.double_value(&[1, down + 2, across + 2]));
                assert_eq!(second.double_value(&[0, 1, query, key]), table.double_value(&[1, 2 - down, 2 - across]));
            }
        }
    }
}
