//! The tokens that are compared: those that count, projected and of unit length.

use std::ops::Range;

use vlhub_sdk::ops::unit;
use vlhub_sdk::prelude::*;

/// The tokens of one view. Those of a row that count come first; behind them its first token is repeated, because a copy changes no maximum.
#[derive(Debug)]
pub(crate) struct Words {
    /// `[N, T, D]`, unit length, at least fp32, with their graph.
    pub values: Tensor,
    /// `[N, T]`: what a token weighs in the mean of its row; 0 for copies.
    share: Tensor,
    /// `[N]`: 1, or 0 for a row in which no token counts. Such a row is alike to nothing.
    some: Tensor,
    /// How many tokens of each row count.
    counts: Vec<i64>,
}

/// Some rows, cut to the longest of them, without graph.
#[derive(Debug)]
pub(crate) struct Block {
    /// `[R]` int64, the rows' places in the view.
    pub rows: Tensor,
    /// `[R, W, D]`.
    pub values: Tensor,
    /// `[R, W]`.
    pub share: Tensor,
    /// `[R]`.
    pub some: Tensor,
}

impl Words {
    /// Drops the `skip` first and last tokens that count and maps the others by `weight` `[D, width]`.
    ///
    /// # Errors
    /// Tokens `[N, T, width]` and mask `[N, T]` that do not fit together.
    pub fn new(tokens: &Tokens, skip: [i64; 2], weight: &Tensor) -> Result<Self> {
        let (size, mask) = (tokens.values.size(), tokens.mask.size());
        if size.len() != 3 || mask != size[..2] || size[1] < 1 {
            return Err(Error::invalid(format!("tokens [N, T, width] and mask [N, T] are wanted, not {size:?} and {mask:?}")));
        }
        let kept = kept(&tokens.mask, skip);
        let count = kept.sum_dim_intlist([1i64].as_slice(), false, Kind::Int64);
        let counts = Vec::<i64>::try_from(&count.to_device(Device::Cpu))?;
        let longest = counts.iter().copied().max().unwrap_or(1).max(1);
        let live = Tensor::arange(longest, (Kind::Int64, kept.device())).unsqueeze(0).lt_tensor(&count.unsqueeze(1));
        let all_count = counts.iter().all(|count| *count == size[1]);
        let packed = if all_count { tokens.values.shallow_clone() } else { pack(&tokens.values, &kept, &live) };
        let values = packed.to_kind(weight.kind()).linear(weight, None::<&Tensor>);
        let values = unit(&values);
        let kind = values.kind();
        let share = live.to_kind(kind) / count.clamp_min(1).to_kind(kind).unsqueeze(1);
        Ok(Self { values, share, some: count.gt(0).to_kind(kind), counts })
    }

    /// How many rows there are.
    pub fn rows(&self) -> i64 {
        self.counts.len() as i64
    }

    /// The rows in `range`, `tile` at a time, short ones first: a block is as wide as its longest row, so rows of one length belong together.
    pub fn blocks(&self, range: Range<i64>, tile: i64) -> Vec<Block> {
        let mut rows: Vec<i64> = range.collect();
        rows.sort_by_key(|row| self.counts[*row as usize]);
        let values = self.values.detach();
        let block = |rows: &[i64]| {
            let width = rows.iter().map(|row| self.counts[*row as usize]).max().unwrap_or(1).max(1);
            let rows = Tensor::from_slice(rows).to_device(values.device());
            let cut = |of: &Tensor| of.narrow(1, 0, width).index_select(0, &rows);
            Block { values: cut(&values), share: cut(&self.share), some: self.some.index_select(0, &rows), rows }
        };
        rows.chunks(tile.max(1) as usize).map(block).collect()
    }
}

/// The tokens of `mask` `[N, T]` without the `skip` first and last of each row. A row that would have none left keeps all.
fn kept(mask: &Tensor, [first, last]: [i64; 2]) -> Tensor {
    if (first, last) == (0, 0) {
        return mask.shallow_clone();
    }
    let place = mask.cumsum(1, Kind::Int64);
    let count = mask.sum_dim_intlist([1i64].as_slice(), true, Kind::Int64);
    let inner = mask.logical_and(&place.gt(first)).logical_and(&place.le_tensor(&(&count - last)));
    let nothing_left = (count - (first + last)).le(0);
    inner.logical_or(&mask.logical_and(&nothing_left))
}

/// The tokens of `[N, T, width]` that are kept come first, in their order, up to the width of `live` `[N, W]`; where that is false, the first
/// is repeated.
fn pack(values: &Tensor, kept: &Tensor, live: &Tensor) -> Tensor {
    let order = kept.to_kind(Kind::Int).argsort_stable(true, 1, true);
    let at = order.narrow(1, 0, live.size()[1]).where_self(live, &order.narrow(1, 0, 1));
    values.gather(1, &at.unsqueeze(-1).expand([-1, -1, values.size()[2]], false), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booleans(rows: &[[i64; 5]]) -> Tensor {
        Tensor::stack(&rows.iter().map(|row| Tensor::from_slice(row)).collect::<Vec<_>>(), 0).to_kind(Kind::Bool)
    }

    #[test]
    fn ends_are_dropped_where_something_else_remains() {
        let mask = booleans(&[[1, 1, 1, 1, 0], [0, 1, 0, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]);
        for (skip, expected, why) in [
            ([0, 0], [[1, 1, 1, 1, 0], [0, 1, 0, 1, 1], [1, 1, 0, 0, 0], [0; 5], [1; 5]], "nothing to drop"),
            ([1, 1], [[0, 1, 1, 0, 0], [0, 0, 0, 1, 0], [1, 1, 0, 0, 0], [0; 5], [0, 1, 1, 1, 0]], "an empty text keeps its ends"),
            ([0, 1], [[1, 1, 1, 0, 0], [0, 1, 0, 1, 0], [1, 0, 0, 0, 0], [0; 5], [1, 1, 1, 1, 0]], "the end alone"),
            ([9, 9], [[1, 1, 1, 1, 0], [0, 1, 0, 1, 1], [1, 1, 0, 0, 0], [0; 5], [1; 5]], "more than there are"),
        ] {
            assert_eq!(kept(&mask, skip), booleans(&expected), "{why}");
        }
    }

    #[test]
    fn what_counts_comes_first_and_copies_weigh_nothing() {
        let mask = booleans(&[[0, 1, 0, 1, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]);
        let angle = Tensor::arange(15, (Kind::Float, Device::Cpu)).view([3, 5]) * 0.1;
        let tokens = Tokens { values: Tensor::stack(&[angle.cos(), angle.sin()], 2), mask };
        let words = Words::new(&tokens, [0, 0], &Tensor::eye(2, (Kind::Float, Device::Cpu))).expect("they fit");
        let found = words.values.select(2, 1).atan2(&words.values.select(2, 0)) * 10.0;
        let expected = Tensor::from_slice(&[1f32, 3., 4., 5., 5., 5., 10., 10., 10.]).view([3, 3]);
        assert!(found.allclose(&expected, 1e-5, 1e-5, false), "the padding beyond the longest is gone");
        let third = 1.0f32 / 3.0;
        assert_eq!(words.share, Tensor::from_slice(&[third, third, third, 1., 0., 0., 0., 0., 0.]).view([3, 3]));
        assert_eq!(words.some, Tensor::from_slice(&[1f32, 1., 0.]));
        let blocks = words.blocks(0..3, 2);
        let rows: Vec<_> = blocks.iter().map(|block| Vec::<i64>::try_from(&block.rows).expect("int64")).collect();
        assert_eq!(rows, [vec![2, 1], vec![0]], "short rows first");
        assert_eq!(blocks[0].values.size(), [2, 1, 2], "as wide as the longest of the block");
        let error = Words::new(&Tokens { mask: tokens.mask.narrow(1, 0, 4), ..tokens }, [0, 0], &Tensor::new()).expect_err("refused");
        assert!(error.to_string().contains("[3, 5, 2] and [3, 4]"), "{error}");
    }
}
