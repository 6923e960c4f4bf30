//! Interval quasimetrics: distances that have a direction.

use vlhub_sdk::prelude::*;
use vlhub_sdk::tch;

/// The distance d(x, y) of two rows: each is cut into components of `component` numbers, and a component's distance is the length of the
/// union of the intervals [x_j, y_j] where x_j < y_j.
#[derive(Debug)]
pub(crate) struct Metric {
    /// Numbers in a component; it divides the width.
    pub(crate) component: i64,
    /// Tile size: rows whose distances to all others are computed at once.
    pub(crate) tile: i64,
    /// Components add up, or, where this is there, a convex combination of their mean and their maximum counts; the maximum's share is the
    /// sigmoid of this scalar.
    pub(crate) raw_alpha: Option<Tensor>,
}

/// `[R, D]` cut into components, `[component, R, C]`, and the order of the numbers of each. The places of a component lead, so that what is
/// done to one place of all pairs is one pass over memory.
struct Cut {
    values: Tensor,
    order: Tensor,
}

impl Cut {
    fn new(values: Tensor) -> Self {
        let order = tch::no_grad(|| values.argsort(0, false));
        Self { values, order }
    }

    /// Without a graph, and a leaf of the next one.
    fn leaf(&self) -> Self {
        Self { values: self.values.detach().set_requires_grad(true), order: self.order.shallow_clone() }
    }

    fn rows(&self, start: i64, count: i64) -> Self {
        Self { values: self.values.narrow(1, start, count), order: self.order.narrow(1, start, count) }
    }

    fn unsqueeze(&self, dim: i64) -> Self {
        Self { values: self.values.unsqueeze(dim), order: self.order.unsqueeze(dim) }
    }
}

impl Metric {
    /// The distance from each row to the row across from it.
    ///
    /// # Shapes
    /// - from, to: `[R, D]`; returns `[R]`.
    pub(crate) fn across(&self, from: &Tensor, to: &Tensor) -> Tensor {
        self.reduce(&union_lengths(&Cut::new(self.cut(from)), &self.cut(to)), self.raw_alpha.as_ref())
    }

    /// `loss` of the mean of both directions' distances, ½ d(x_i, y_j) + ½ d(y_j, x_i), for all rows x_i and y_j.
    ///
    /// The way from N rows of width D to the N² distances is N² D numbers long, several times over. So no graph is kept of it: the
    /// distances are computed tile by tile, `loss` is asked how it depends on them, and each tile is computed a second time to carry that
    /// back to the rows. What remains in memory are the distances; what is there for a moment, in single precision, is about 15 · tile · N
    /// · D bytes in the first pass and 75 in the second.
    ///
    /// # Shapes
    /// - x: `[R, D]`, y: `[N, D]`; `loss` takes `[R, N]` and gives a scalar, and it may depend on other parameters too.
    pub(crate) fn loss_of_both_ways(&self, x: &Tensor, y: &Tensor, loss: impl FnOnce(&Tensor) -> Tensor) -> Result<Tensor> {
        let (x, y) = (Cut::new(self.cut(x)), Cut::new(self.cut(y)));
        let count = x.values.size()[1];
        let tiles: Vec<_> = (0..count.max(1)).step_by(self.tile as usize).map(|start| (start, self.tile.min(count - start))).collect();
        let both_ways = |start, rows| self.both_ways(&x.rows(start, rows), &y, self.raw_alpha.as_ref());
        let distances = tch::no_grad(|| Tensor::cat(&tiles.iter().map(|&(start, rows)| both_ways(start, rows)).collect::<Vec<_>>(), 0));
        let distances = distances.detach().set_requires_grad(true);
        let value = loss(&distances);
        if !value.requires_grad() {
            return Ok(value);
        }
        // Of the distances alone: no parameter collects a gradient here.
        let pull = Tensor::f_run_backward(&[&value], &[&distances], true, false)?.swap_remove(0);

        let (x_leaf, y_leaf, alpha_leaf) = (x.leaf(), y.leaf(), self.raw_alpha.as_ref().map(|raw| raw.detach().set_requires_grad(true)));
        let mut leaves = vec![&x_leaf.values, &y_leaf.values];
        leaves.extend(&alpha_leaf);
        for &(start, rows) in &tiles {
            let tile = self.both_ways(&x_leaf.rows(start, rows), &y_leaf, alpha_leaf.as_ref());
            (tile * pull.narrow(0, start, rows)).sum(pull.kind()).f_backward()?;
        }
        let mut carried = value;
        let sources = [Some(&x.values), Some(&y.values), self.raw_alpha.as_ref()];
        for (source, leaf) in sources.into_iter().flatten().zip(leaves) {
            // Nothing but a gradient: its value is zero.
            let along = (source * leaf.grad()).sum(pull.kind());
            carried += &along - along.detach();
        }
        Ok(carried)
    }

    /// `[R, N]` for rows x and y.
    fn both_ways(&self, x: &Cut, y: &Cut, raw_alpha: Option<&Tensor>) -> Tensor {
        let (x, y) = (x.unsqueeze(2), y.unsqueeze(1));
        let (there, back) = (union_lengths(&x, &y.values), union_lengths(&y, &x.values));
        (self.reduce(&there, raw_alpha) + self.reduce(&back, raw_alpha)) * 0.5
    }

    /// `[…, C]` to `[…]`.
    fn reduce(&self, components: &Tensor, raw_alpha: Option<&Tensor>) -> Tensor {
        let mean = || components.mean_dim([-1i64].as_slice(), false, components.kind());
        match raw_alpha {
            Some(raw) => mean().lerp_tensor(&components.amax([-1i64].as_slice(), false), &raw.sigmoid()),
            None => components.sum_dim_intlist([-1i64].as_slice(), false, components.kind()),
        }
    }

    fn cut(&self, rows: &Tensor) -> Tensor {
        rows.unflatten(1, [-1, self.component].as_slice()).permute([2, 0, 1]).contiguous()
    }
}

/// Lengths of the unions of the intervals from `from` to `to`, over the first dimension.
///
/// Intervals are taken in the order of their starts. Each adds what lies behind its start and behind all earlier ends. An interval that ends
/// before it starts needs no care: it adds nothing, and its end is before the starts of those that follow. So the order depends on one side
/// alone, and no pair of rows is sorted.
///
/// # Shapes
/// - from, to: `[component, …]`, which broadcast; returns `[…]`.
fn union_lengths(from: &Cut, to: &Tensor) -> Tensor {
    let shape: Vec<i64> = from.values.size().iter().zip(to.size()).map(|(&a, b)| a.max(b)).collect();
    let starts = from.values.gather(0, &from.order, false).unbind(0);
    let ends = to.expand(&shape, false).gather(0, &from.order.expand(&shape, false), false).unbind(0);
    let (mut sum, mut reached): (Option<Tensor>, Option<Tensor>) = (None, None);
    for (start, end) in starts.iter().zip(&ends) {
        let added = match &reached {
            Some(reached) => (end - start.maximum(reached)).relu(),
            None => (end - start).relu(),
        };
        sum = Some(sum.map_or_else(|| added.shallow_clone(), |sum| sum + &added));
        reached = Some(reached.map_or_else(|| end.shallow_clone(), |reached| reached.maximum(end)));
    }
    sum.unwrap_or_default()
}
