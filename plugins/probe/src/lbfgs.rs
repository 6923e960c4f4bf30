//! L-BFGS (Liu and Nocedal, 1989, "On the limited memory BFGS method for large scale optimization"): a minimum from gradients alone, without
//! any randomness.

use std::collections::VecDeque;

use vlhub_sdk::prelude::*;

/// Steps that are remembered.
const MEMORY: usize = 10;
/// Lengths that are tried in one direction.
const TRIES: usize = 40;
/// A step lowers the value by this share of what the slope promises (Wolfe's first condition) …
const DECREASE: f64 = 1e-4;
/// … and leaves at most this share of the slope (the second).
const CURVATURE: f64 = 0.9;

/// Where a search ended.
#[derive(Debug)]
pub(crate) struct Minimum {
    pub at: Tensor,
    /// The largest entry of the gradient there, without its sign.
    pub gradient: f64,
    pub iterations: usize,
}

/// When a search ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    /// No entry of the gradient is larger.
    pub tolerance: f64,
    /// Most steps.
    pub iterations: usize,
}

/// A step, and how it changed the gradient.
struct Pair {
    step: Tensor,
    change: Tensor,
    /// Their product, above 0.
    product: f64,
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    (a * b).sum(Kind::Double).double_value(&[])
}

/// Minimises a smooth convex function, which gives its value and its gradient, from `at` on. Ends as `stop` says, or when no step of the
/// search direction lowers the value any more, because the digits of a double are spent.
///
/// # Errors
/// What `function` refuses; a value at the start that is not finite.
pub(crate) fn minimise(mut at: Tensor, stop: Stop, function: impl Fn(&Tensor) -> Result<(f64, Tensor)>) -> Result<Minimum> {
    let (mut value, mut gradient) = function(&at)?;
    if !value.is_finite() {
        return Err(Error::invalid(format!("the loss starts at {value}")));
    }
    let largest = |gradient: &Tensor| gradient.abs().max().double_value(&[]);
    let mut memory = VecDeque::with_capacity(MEMORY);
    let mut iterations = 0;
    while iterations < stop.iterations && largest(&gradient) > stop.tolerance {
        let direction = direction(&gradient, &memory);
        // Nothing is known of the scale before the first step.
        let first = if memory.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt().max(1.0) } else { 1.0 };
        let Some(next) = search(&at, value, dot(&gradient, &direction), &direction, first, &function)? else { break };
        let (step, change) = (&next.at - &at, &next.gradient - &gradient);
        let product = dot(&step, &change);
        if product > 0.0 {
            memory.truncate(MEMORY - 1);
            memory.push_front(Pair { step, change, product });
        }
        (at, value, gradient) = (next.at, next.value, next.gradient);
        iterations += 1;
    }
    Ok(Minimum { gradient: largest(&gradient), at, iterations })
}

/// The gradient, turned round and stretched by what the remembered steps tell of the curvature; the newest step is the first.
fn direction(gradient: &Tensor, memory: &VecDeque<Pair>) -> Tensor {
    let mut rest = gradient.copy();
    let mut shares = Vec::with_capacity(memory.len());
    for pair in memory {
        let share = dot(&pair.step, &rest) / pair.product;
        rest -= &pair.change * share;
        shares.push(share);
    }
    if let Some(newest) = memory.front() {
        rest *= newest.product / dot(&newest.change, &newest.change);
    }
    for (pair, share) in memory.iter().zip(shares).rev() {
        rest += &pair.step * (share - dot(&pair.change, &rest) / pair.product);
    }
    -rest
}

/// A point of the search, with the value and the gradient there.
struct Point {
    at: Tensor,
    value: f64,
    gradient: Tensor,
}

/// A step that keeps Wolfe's conditions, by doubling and halving (Lewis and Overton, 2013, "Nonsmooth optimization via quasi-Newton methods").
/// `None` when none is found.
fn search(
    at: &Tensor,
    value: f64,
    slope: f64,
    direction: &Tensor,
    first: f64,
    function: &impl Fn(&Tensor) -> Result<(f64, Tensor)>,
) -> Result<Option<Point>> {
    let (mut short, mut long, mut length) = (0.0, f64::INFINITY, first);
    for _ in 0..TRIES {
        let there = at + direction * length;
        let (found, gradient) = function(&there)?;
        // Asked this way round, a value that is not a number counts as too far.
        if found < value + DECREASE * length * slope {
            if dot(&gradient, direction) >= CURVATURE * slope {
                return Ok(Some(Point { at: there, value: found, gradient }));
            }
            short = length;
        } else {
            long = length;
        }
        length = if long.is_finite() { (short + long) / 2.0 } else { 2.0 * length };
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: Stop = Stop { tolerance: 1e-9, iterations: 500 };

    fn at(values: &[f64]) -> Tensor {
        Tensor::from_slice(values)
    }

    /// Curvatures from 1 to 1e6 around (1, …, 1).
    fn bowl(at: &Tensor) -> Result<(f64, Tensor)> {
        let curvature = Tensor::from_slice(&[1.0, 1e2, 1e4, 1e6]);
        let off = at - 1.0;
        Ok((dot(&(&curvature * &off), &off) / 2.0, curvature * off))
    }

    #[test]
    fn a_badly_scaled_bowl_is_left_at_its_bottom() {
        let found = minimise(at(&[-3.0, 2.0, 0.0, 8.0]), STOP, bowl).expect("a minimum");
        assert!(found.gradient <= STOP.tolerance && found.iterations < 100, "{found:?}");
        assert!((found.at - 1.0).abs().max().double_value(&[]) < 1e-8);
    }

    #[test]
    fn it_ends_where_it_cannot_go_on() {
        let few = minimise(at(&[5.0; 4]), Stop { iterations: 2, ..STOP }, bowl).expect("two steps");
        assert_eq!(few.iterations, 2);
        let there = minimise(at(&[1.0; 4]), STOP, bowl).expect("no step");
        assert_eq!((there.iterations, there.gradient), (0, 0.0));
        // The tolerance is out of reach: the value has no more digits.
        let spent = minimise(at(&[1.7]), Stop { tolerance: 0.0, ..STOP }, |at| {
            let x = at.double_value(&[0]);
            Ok((x.cosh() + 1e3, Tensor::from_slice(&[x.sinh()])))
        });
        assert!(spent.expect("an end").gradient < 1e-4);
        // No minimum: e^-x. The steps grow until the gradient is small.
        let far = minimise(at(&[0.0]), STOP, |at| {
            let value = (-at.double_value(&[0])).exp();
            Ok((value, Tensor::from_slice(&[-value])))
        });
        assert!(far.expect("far out").gradient <= STOP.tolerance);
        let nan = minimise(at(&[0.0]), STOP, |at| Ok((f64::NAN, at.copy())));
        assert!(nan.is_err());
    }
}
